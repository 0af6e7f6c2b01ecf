package providers_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/jwtverify/providers"
)

// presets are made as their golden tokens want them. The first accepted token of
// a preset is the one that the tests of all presets change.
var presets = map[string]preset{
	"Auth0": {access, func() jwtverify.Config { return providers.Auth0("tenant.eu.auth0.com", "https://api.example.com") }},
	"Cognito": {access, func() jwtverify.Config {
		return providers.Cognito("eu-central-1", "eu-central-1_AbCdEfGhI", "1example23456789")
	}},
	"Entra": {access, func() jwtverify.Config { return providers.Entra(tenant, application) }},
	"EntraV1": {access, func() jwtverify.Config {
		return providers.EntraV1(tenant, application, "api://"+application)
	}},
	"Keycloak": {access, func() jwtverify.Config {
		return providers.Keycloak("https://keycloak.example.com/realms/shop", "orders-api")
	}},
	"OIDCProvider": {access, func() jwtverify.Config {
		return providers.OIDCProvider("https://op.example.com", "https://api.example.com/orders")
	}},
	"Okta": {access, func() jwtverify.Config {
		return providers.Okta("https://org.okta.com/oauth2/default", "api://default")
	}},
	"RFC9068": {access, func() jwtverify.Config {
		return providers.RFC9068("https://issuer.example.com", "https://api.example.com")
	}},
	"Google": {id, func() jwtverify.Config {
		return providers.Google("1234987819200.apps.googleusercontent.com", "https://api.example.com")
	}},
	"IAP": {id, func() jwtverify.Config {
		return providers.IAP("/projects/1234567890/global/backendServices/1234567890123456789", "/projects/1234567890/locations/us-east4/services/example")
	}},
	"Kubernetes": {access, func() jwtverify.Config {
		c := providers.Kubernetes("", "https://api.example.com")
		c.Fault = nil // no pod runs this
		return c
	}},
	"GitHubActions": {id, func() jwtverify.Config {
		return providers.GitHubActions("https://deploy.example.com", "octo-org/octo-repo", "hooli/*")
	}},
	"Zitadel": {access, func() jwtverify.Config {
		return providers.Zitadel("https://instance.zitadel.cloud", "170086305576714497")
	}},
	"Dex": {id, func() jwtverify.Config {
		return providers.Dex("https://dex.example.com/dex", "example-app")
	}},
	"Hydra": {access, func() jwtverify.Config {
		return providers.Hydra("https://hydra.example.com", "https://api.example.com")
	}},
}

type preset struct {
	takes  string // access or id: the kind of token
	config func() jwtverify.Config
}

const (
	access, id = "access", "id"

	tenant      = "5f0bd1c1-6f6e-4b0c-9d3a-2b8f4f1f6a11" // of Entra
	application = "6e74172b-be56-4843-9ff4-e66a39bb12e3"
)

// golden is testdata/<preset>.json.
type golden struct {
	Provider string
	Sources  map[string]string // where to read it, by a short name: a page, or "real server: …"
	Accept   []sample
	Reject   []sample
}

// sample is a token in the issuer's own shape.
type sample struct {
	Name           string
	Kind           string // of kinds_test.go, where it is not the one that the preset takes
	Like           string // the accepted sample that this one changes; a null removes
	Header, Claims map[string]any
	Raw            string            // a token that is no JWT, in place of a header and claims
	Shown          map[string]string // by claim, or header.member, or *: a source, or unverified
	Want           *want             // of an accepted one
	Reason         jwtverify.Reason  // of a refused one
}

type want struct {
	Subject, Client string
	Scopes, Roles   []string
}

// now is the time at which every token is judged.
var now = time.Unix(1767225600, 0)

func TestGoldenTokens(t *testing.T) {
	for name, p := range presets {
		t.Run(name, func(t *testing.T) {
			g := load(t, name)
			v := p.verifier(t)
			for _, s := range g.Accept {
				t.Run(s.Name, func(t *testing.T) {
					tok, err := v.Verify(t.Context(), s.token(t))
					require.NoError(t, err)
					if s.Want != nil {
						require.Equal(t, *s.Want, want{tok.Subject, tok.ClientID, tok.Scopes, tok.Roles})
					}
				})
			}
			for _, s := range g.Reject {
				t.Run(s.Name, func(t *testing.T) {
					require.NotEmpty(t, s.Reason)
					_, err := v.Verify(t.Context(), s.token(t))
					require.Equal(t, string(s.Reason), string(jwtverify.ReasonOf(err)), "%v", err)
				})
			}
		})
	}
}

func TestEveryPresetHasGoldenTokens(t *testing.T) {
	var exported []string
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.IsExported() {
				exported = append(exported, f.Name.Name)
			}
		}
	}
	require.ElementsMatch(t, exported, slices.Collect(maps.Keys(presets)), "each preset has a line in the table")

	var found []string
	require.NoError(t, fs.WalkDir(os.DirFS("testdata"), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, path)
		}
		return err
	}))
	var expected []string
	for name := range presets {
		expected = append(expected, strings.ToLower(name)+".json")
		g := load(t, name)
		require.NotEmpty(t, g.Accept, name)
		require.NotEmpty(t, g.Reject, name)
	}
	require.ElementsMatch(t, expected, found, "each file of tokens has a preset")
}

func TestEveryClaimOfAGoldenTokenHasASource(t *testing.T) {
	for name := range presets {
		t.Run(name, func(t *testing.T) {
			g := load(t, name)
			require.Equal(t, name, g.Provider)
			used := map[string]bool{}
			for _, s := range g.Accept {
				there := map[string]bool{}
				for member := range s.Header {
					there["header."+member] = true
				}
				for claim := range s.Claims {
					there[claim] = true
				}
				for member, source := range s.Shown {
					used[source] = true
					if source != "unverified" {
						require.Contains(t, g.Sources, source, "%s: %s", s.Name, member)
					}
					if member != "*" {
						require.True(t, there[member], "%s: shown is %s, which the token has not", s.Name, member)
					}
					delete(there, member)
				}
				if _, rest := s.Shown["*"]; !rest {
					require.Empty(t, slices.Sorted(maps.Keys(there)), "%s: nothing shows these", s.Name)
				}
			}
			for source, where := range g.Sources {
				require.True(t, used[source], "nothing is shown by %s", source)
				require.True(t, strings.HasPrefix(where, "https://") || strings.HasPrefix(where, "real server: "), where)
			}
		})
	}
}

// verifier is the preset's, with the keys and the time of the tests.
func (p preset) verifier(t *testing.T) *jwtverify.Verifier {
	t.Helper()
	c := p.config()
	require.NoError(t, c.Fault)
	set, err := jwks.Parse(signers().JWKS())
	require.NoError(t, err)
	c.Keys, c.JWKS = set, jwks.Config{}
	c.Now = func() time.Time { return now }
	v, err := jwtverify.New(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	return v
}

// load reads a preset's golden tokens, with what each is like put into it.
func load(t *testing.T, name string) golden {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", strings.ToLower(name)+".json"))
	require.NoError(t, err)
	defer file.Close()
	dec := json.NewDecoder(file)
	dec.DisallowUnknownFields()
	var g golden
	require.NoError(t, dec.Decode(&g))
	for _, list := range [][]sample{g.Accept, g.Reject} {
		for i := range list {
			s := &list[i]
			if s.Like == "" {
				continue
			}
			at := slices.IndexFunc(g.Accept, func(a sample) bool { return a.Name == s.Like })
			require.GreaterOrEqual(t, at, 0, "%s is like %q, which is not accepted", s.Name, s.Like)
			like := g.Accept[at]
			s.Header, s.Claims, s.Shown = changed(like.Header, s.Header), changed(like.Claims, s.Claims), changed(like.Shown, s.Shown)
			for member := range s.Shown {
				h, isHeader := strings.CutPrefix(member, "header.")
				_, inHeader := s.Header[h]
				_, inClaims := s.Claims[member]
				if member != "*" && !(isHeader && inHeader) && !(!isHeader && inClaims) {
					delete(s.Shown, member)
				}
			}
		}
	}
	return g
}

// changed is a copy of m with changes; one to nil removes.
func changed[V any](m, changes map[string]V) map[string]V {
	m = maps.Clone(m)
	if m == nil {
		m = map[string]V{}
	}
	for name, value := range changes {
		if m[name] = value; any(value) == nil {
			delete(m, name)
		}
	}
	return m
}

// signers is an issuer with a key for each algorithm, whose kid is in keyIDs. It is
// never asked for its keys, and so it is closed.
var signers = sync.OnceValue(func() *jwttest.Issuer {
	issuer := jwttest.NewIssuer("")
	issuer.Close()
	for _, alg := range []string{"RS256", "PS256", "EdDSA"} {
		issuer.AddKey(alg)
	}
	return issuer
})

var keyIDs = map[string]string{"ES256": "key-1", "RS256": "key-2", "PS256": "key-3", "EdDSA": "key-4"}

func (s *sample) token(t *testing.T) string {
	if s.Raw != "" {
		return s.Raw
	}
	return sign(t, s.Header, s.Claims)
}

// sign makes a token of just that header and those claims. In them "$kid" is the
// id of the key of the header's alg, and "$now+60" a date, 60 s from now.
func sign(t *testing.T, header, claims map[string]any) string {
	t.Helper()
	alg, _ := header["alg"].(string)
	kid := keyIDs[alg]
	if kid != "" {
		signers().Use(kid)
	}
	h := jwttest.Header{"alg": nil, "kid": nil, "typ": nil}
	for name, value := range header {
		if h[name] = value; value == "$kid" {
			h[name] = kid
		}
	}
	c := jwttest.Claims{"iss": nil, "aud": nil, "sub": nil, "client_id": nil, "iat": nil, "exp": nil, "jti": nil}
	for name, value := range claims {
		c[name] = dated(t, value)
	}
	return signers().Mint(h, c)
}

// dated is a value of a claim with its dates put in, however deep they are.
func dated(t *testing.T, value any) any {
	t.Helper()
	switch value := value.(type) {
	case string:
		after, isDate := strings.CutPrefix(value, "$now")
		switch {
		case !isDate:
			return value
		case after == "":
			return now.Unix()
		}
		seconds, err := strconv.ParseInt(after, 10, 64)
		require.NoError(t, err)
		return now.Unix() + seconds
	case map[string]any:
		all := map[string]any{}
		for name, member := range value {
			all[name] = dated(t, member)
		}
		return all
	default:
		return value
	}
}
