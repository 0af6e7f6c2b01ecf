package main

import (
	"os"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

const plainModule = "module github.com/bearerguard/bearerguard\n\ngo 1.26.0\n"

// TestRulesFire holds that each rule names the place where it is broken, and
// that its exceptions stay silent.
func TestRulesFire(t *testing.T) {
	const (
		jwxAlone     = "github.com/lestrrat-go/jwx may be imported by internal/jose alone"
		jwxParts     = "internal/jose may use jwa, jwk and jws of jwx/v2 alone"
		jwkImport    = "package p\nimport _ \"github.com/lestrrat-go/jwx/v2/jwk\"\n"
		internalUse  = "package main\nimport _ \"github.com/bearerguard/bearerguard/internal/jose\"\n"
		undocumented = " is not documented"
	)
	tests := map[string]struct {
		gomod string // plainModule if empty
		files map[string]string
		want  []string
	}{
		"jwx outside jose": {
			files: map[string]string{"jwks/cache.go": jwkImport},
			want:  []string{"jwks/cache.go:2: " + jwxAlone},
		},
		"jwx in a test outside jose": {
			files: map[string]string{"jwks/cache_test.go": jwkImport},
			want:  []string{"jwks/cache_test.go:2: " + jwxAlone},
		},
		"another major version of jwx": {
			files: map[string]string{"jwks/cache.go": "package p\nimport _ \"github.com/lestrrat-go/jwx/v3/jwk\"\n"},
			want:  []string{"jwks/cache.go:2: " + jwxAlone},
		},
		"jwx beside jose": {
			files: map[string]string{"internal/josephine/a.go": jwkImport},
			want:  []string{"internal/josephine/a.go:2: " + jwxAlone},
		},
		"jwx in jose and bench": {
			files: map[string]string{
				"internal/jose/key.go":      jwkImport,
				"internal/jose/key_test.go": jwkImport,
				"internal/bench/main.go":    "package main\nimport _ \"github.com/lestrrat-go/jwx/v2/jwt\"\n",
			},
		},
		"jwt of jwx in jose": {
			files: map[string]string{"internal/jose/key.go": "package p\nimport _ \"github.com/lestrrat-go/jwx/v2/jwt\"\n"},
			want:  []string{"internal/jose/key.go:2: " + jwxParts},
		},
		"internal package in a module for users": {
			files: map[string]string{"examples/go.mod": "module m\n", "examples/quickstart/main.go": internalUse},
			want:  []string{"examples/quickstart/main.go:2: module examples may not import the root's internal packages"},
		},
		"internal package in our own modules": {
			files: map[string]string{"internal/e2e/go.mod": "module m\n", "internal/e2e/main.go": internalUse, "jwks/main.go": internalUse},
		},
		"new requirement": {
			gomod: plainModule + "require (\n\tgolang.org/x/sync v0.24.0\n\texample.com/a v1.0.0\n\texample.com/b v1.0.0 // indirect\n)\nrequire example.com/c v1.0.0\n",
			want:  []string{"go.mod:6: the root module may not require example.com/a", "go.mod:9: the root module may not require example.com/c"},
		},
		"directive that users would inherit or miss": {
			gomod: plainModule + "toolchain go1.26.1\ntool (\n\texample.com/a\n)\n",
			want:  []string{"go.mod:4: the root module may not have a toolchain directive", "go.mod:6: the root module may not have a tool directive"},
		},
		"undocumented names": {
			files: map[string]string{"p/a.go": `package p

type T struct {
	A int

	// B is documented and speaks for C.
	B int
	C int

	D int // D is documented.
	E int
}

type I interface{ M(); N() }

type hidden struct{ F int }

const X = 1

func F()            {}
func (t *T) M()     {}
func (h hidden) M() {}
func g()            {}
`},
			want: []string{
				"p/a.go:3: exported T" + undocumented,
				"p/a.go:4: exported T.A" + undocumented,
				"p/a.go:11: exported T.E" + undocumented,
				"p/a.go:14: exported I" + undocumented,
				"p/a.go:14: exported I.M" + undocumented,
				"p/a.go:14: exported I.N" + undocumented,
				"p/a.go:18: exported X" + undocumented,
				"p/a.go:20: exported F" + undocumented,
				"p/a.go:21: exported M" + undocumented,
			},
		},
		"documented names": {
			files: map[string]string{"p/a.go": `package p

// T is a type.
type T[P any] struct{
	Kind
	hidden int
}

// U is a type with a kind.
type U struct{ Kind Kind }

// Kind is a type.
type Kind interface { Kind() }

// M is a method.
func (t *T[P]) M() {}

// Some numbers.
const (
	X = iota
	Y
)

var Z = 1 // Z is another.
`},
		},
		"fields inside internal": {
			files: map[string]string{"internal/p/a.go": "package p\n\n// T is a type.\ntype T struct{ F int }\n\nfunc G() {}\n"},
			want:  []string{"internal/p/a.go:6: exported G" + undocumented},
		},
		"names that nobody can import": {
			files: map[string]string{
				"cmd/main.go":       "package main\nfunc F() {}\n",
				"p/a_test.go":       "package p\nfunc F() {}\n",
				"p/testdata/a.go":   "package p\nfunc F() {}\n",
				"node_modules/a.go": "package p\nfunc F() {}\n",
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.gomod == "" {
				test.gomod = plainModule
			}
			repo := fstest.MapFS{
				"go.mod":  {Data: []byte(test.gomod)},
				"main.go": {Data: []byte("package main\n")},
			}
			for file, text := range test.files {
				repo[file] = &fstest.MapFile{Data: []byte(text)}
			}
			findings, err := check(repo)
			require.NoError(t, err)
			require.Equal(t, test.want, findings)
		})
	}
}

// TestNothingToCheckIsAnError holds that a run in the wrong place cannot pass.
func TestNothingToCheckIsAnError(t *testing.T) {
	_, err := check(fstest.MapFS{})
	require.ErrorIs(t, err, os.ErrNotExist)

	_, err = check(fstest.MapFS{"go.mod": {Data: []byte(plainModule)}})
	require.ErrorContains(t, err, "no Go files")

	_, err = check(fstest.MapFS{"go.mod": {Data: []byte(plainModule)}, "a.go": {Data: []byte("package")}})
	require.ErrorContains(t, err, "a.go:1")
}
