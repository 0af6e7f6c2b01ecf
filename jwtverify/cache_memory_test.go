//go:build !race

// The race detector has memory of its own, and takes buffers out of their pools
// to see who uses them afterwards.

package jwtverify_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
)

// heap is what is alive, in bytes.
func heap() int64 {
	for range 3 { // pools let go of what they hold at the second
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestTheCacheTakesTheMemoryThatItSays(t *testing.T) {
	const limit = 8 << 20
	list := func(name, element string, n int) string {
		return `,"` + name + `":["` + strings.Repeat(element+`","`, n-1) + element + `"]`
	}
	ofLength := func(length int) string {
		return padding((length - len(tokenMint.token(0, 0, padding(0)))) * 3 / 4)
	}
	for name, more := range map[string]string{
		"tokens of 0.5 KiB": ofLength(512),
		"tokens of 1 KiB":   ofLength(1 << 10),
		"tokens of 4 KiB":   ofLength(4 << 10),
		"tokens of 16 KiB":  ofLength(16<<10 - 8),
		"tokens just too long for what the runtime hands out": ofLength(6950*4/3 + 81),
		"tokens with long headers of their own":               "header",
		"7 scopes":                                            list("scp", "r", 7),
		"10 scopes":                                           list("scp", "orders:read", 10),
		"100 scopes":                                          list("scp", "orders:read", 100),
		"500 scopes in a string":                              `,"scope":"` + strings.Repeat("a ", 500) + `"`,
		"3000 scopes without letters":                         list("scp", "", 3000),
		"a hundred escaped scopes":                            list("scp", `orders\/read`, 100),
		"an escaped issuer, as PHP writes it": `,"scope":"a","aud":["` + strings.Repeat(
			strings.ReplaceAll(signerAudience, "/", `\/`)+`","`, 2) + strings.ReplaceAll(signerAudience, "/", `\/`) + `"]`,
	} {
		t.Run(name, func(t *testing.T) {
			before := heap()
			v := tokenMint.verifier(t, cacheBytes(limit))
			for n := 0; n%500 > 0 || n < 50_000 && v.Status().Cache.Evictions <= uint64(v.Status().Cache.Entries/2); n++ {
				token := tokenMint.token(n, 0, more)
				switch {
				case strings.Contains(more, `"aud"`):
					token = tokenMint.tokenWith(n, more)
				case more == "header":
					token = tokenMint.headed(n, fmt.Sprintf(`,"x":"%s %d"`, strings.Repeat("x", 2900), n))
				}
				requireAccepted(t, v, token)
			}
			after := heap()
			said := v.Status().Cache.Bytes
			t.Logf("%d bytes, said to be %d", after-before, said)
			require.InEpsilon(t, said, after-before, .1)
			require.Greater(t, said, int64(limit*9/10))
			runtime.KeepAlive(v)
		})
	}
}

// headed is a token with more members in its header.
func (m mint) headed(n int, more string) string {
	return hs256(m.secret, `{"alg":"HS256","kid":"k"`+more+`}`, fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":"user-%d","exp":%d}`,
		signerIssuer, signerAudience, n, signerTime.Unix()+60))
}

// tokenWith is a token whose audience is among the claims given.
func (m mint) tokenWith(n int, more string) string {
	return hs256(m.secret, `{"alg":"HS256","kid":"k"}`, fmt.Sprintf(`{"iss":"%s","sub":"user-%d","exp":%d%s}`,
		strings.ReplaceAll(signerIssuer, "/", `\/`), n, signerTime.Unix()+60, more))
}

// What the memory holds is looked for where nothing can hide: in a dump of it.
// Signatures are looked for, in the form in which they came and in bytes: who
// has claims without their signature has no token.
func TestNoSignatureStaysInMemory(t *testing.T) {
	v := tokenMint.verifier(t, nil)
	const tokens = 20
	// needle is no part of the memory as long as it is searched, other than as
	// something else.
	needle := make([]string, tokens)
	var kept string
	done := make(chan struct{})
	go func() { // whose stack is gone when it is searched for
		defer close(done)
		for n := range needle {
			token := tokenMint.headed(n, fmt.Sprintf(`,"x":"%d"`, n)) // a header of its own, to be remembered
			for range 2 {
				requireAccepted(t, v, token)
			}
			signature := token[strings.LastIndexByte(token, '.')+1:]
			needle[n] = inverted(signature)
			if n == 0 {
				kept = strings.Clone(token)
			}
		}
	}()
	<-done
	require.Equal(t, tokens, v.Status().Cache.Entries)
	heap()

	file, err := os.Create(filepath.Join(t.TempDir(), "heap"))
	require.NoError(t, err)
	debug.WriteHeapDump(file.Fd())
	require.NoError(t, file.Close())
	dump, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	for i, c := range dump {
		dump[i] = ^c
	}
	for n, signature := range needle {
		found := bytes.Contains(dump, []byte(signature))
		require.Equal(t, n == 0, found, "token %d", n) // and the one that is kept shows that it would be seen
	}
	require.True(t, bytes.Contains(dump, []byte(inverted(`"sub":"user-7"`))), "the claims stay")
	runtime.KeepAlive(kept)
	runtime.KeepAlive(v)
}

func inverted(text string) string {
	all := []byte(text)
	for i, c := range all {
		all[i] = ^c
	}
	return string(all)
}

func TestAVerificationAllocatesLittle(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	digest := func(input string) []byte {
		sum := sha256.Sum256([]byte(input))
		return sum[:]
	}
	for _, c := range []struct {
		alg    string
		public crypto.PublicKey
		first  float64 // the signature's own included
		sign   func(input string) ([]byte, error)
	}{
		{"RS256", &rsaKey.PublicKey, 14, func(input string) ([]byte, error) {
			return rsa.SignPKCS1v15(rand.Reader, rsaKey, crypto.SHA256, digest(input))
		}},
		{"ES256", &ecKey.PublicKey, 16, func(input string) ([]byte, error) {
			r, s, err := ecdsa.Sign(rand.Reader, ecKey, digest(input))
			if err != nil {
				return nil, err
			}
			return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
		}},
		{"EdDSA", edPublic, 5, func(input string) ([]byte, error) { return ed25519.Sign(edKey, []byte(input)), nil }},
	} {
		t.Run(c.alg, func(t *testing.T) {
			key, err := jwks.NewKey("2026-01", c.alg, c.public)
			require.NoError(t, err)
			set, err := jwks.NewSet(key)
			require.NoError(t, err)
			// A token as authorization servers make them.
			input := encodeSegment(`{"alg":"`+c.alg+`","typ":"at+jwt","kid":"2026-01"}`) + "." + encodeSegment(marshal(t, map[string]any{
				"iss": signerIssuer, "aud": []string{"https://other.example.com", signerAudience}, "sub": "auth0|64f1c0ffee", "client_id": "web",
				"exp": signerTime.Unix() + 300, "iat": signerTime.Unix(), "nbf": signerTime.Unix(), "jti": "01J0ZK3V5Q6W7E8R9T", "sid": "session",
				"scope": "openid profile orders:read", "realm_access": map[string]any{"roles": []string{"user", "auditor"}},
				"email": "alice@example.com", "tenant": map[string]any{"id": 7, "name": "ünïcode \" quoted"},
			}))
			signature, err := c.sign(input)
			require.NoError(t, err)
			token := input + "." + encodeSegment(string(signature))

			for _, size := range []int{-1, 0} {
				v, err := jwtverify.New(tokenMint.config(t, func(config *jwtverify.Config) {
					config.Keys, config.CacheBytes, config.Algorithms = set, size, nil
					config.Roles = [][]string{{"realm_access", "roles"}}
				}))
				require.NoError(t, err)
				requireAccepted(t, v, token)
				most := c.first
				if size == 0 {
					most = 4
				}
				ctx := t.Context()
				got := testing.AllocsPerRun(200, func() {
					if _, err := v.Verify(ctx, token); err != nil {
						t.Error(err)
					}
				})
				t.Logf("CacheBytes %d: %v allocations", size, got)
				require.LessOrEqual(t, got, most)
				require.NoError(t, v.Close())
			}
		})
	}
}

// Anyone can send these in a flood.
func TestARefusalAllocatesLittle(t *testing.T) {
	s := newSigner(t)
	v := s.verifier(t)
	more := map[string]any{"client_id": "web", "scope": "openid profile", "iat": signerTime.Unix(), "name": strings.Repeat("x", 500)}
	token := func(header, name string, value any) string {
		changed := maps.Clone(more)
		changed[name] = value
		return s.sign(t, header, s.claims(t, changed))
	}
	for name, c := range map[string]struct {
		token string
		most  float64
	}{
		"iss":           {token(headerJWT, "iss", "https://other.example.com/"), 5},
		"aud":           {token(headerJWT, "aud", []string{"https://other.example.com", "account"}), 6},
		"no aud":        {token(headerJWT, "aud", absent), 6},
		"exp":           {token(headerJWT, "exp", 1), 5},
		"alg":           {token(`{"alg":"none"}`, "sub", "alice"), 3},
		"typ":           {token(`{"alg":"ES256","typ":"dpop+jwt"}`, "sub", "alice"), 3},
		"kid":           {token(`{"alg":"ES256","kid":"unknown"}`, "sub", "alice"), 4},
		"two segments":  {"a.b", 1},
		"five segments": {"a.b.c.d.e", 1},
		"no segments":   {"opaque", 1},
		"the scheme":    {"Bearer " + token(headerJWT, "sub", "alice"), 2},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			got := testing.AllocsPerRun(200, func() {
				if _, err := v.Verify(ctx, c.token); err == nil {
					t.Error("it was taken")
				}
			})
			t.Logf("%v allocations", got)
			require.LessOrEqual(t, got, c.most)
		})
	}
}
