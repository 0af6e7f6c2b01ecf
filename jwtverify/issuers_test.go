package jwtverify_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

// startIssuers starts two issuers whose keys have one kid, and Issuers that take
// both, each with another policy.
func startIssuers(t *testing.T, c jwtverify.IssuersConfig) (a, b *jwttest.Issuer, m *jwtverify.Issuers) {
	t.Helper()
	a, b = jwttest.NewIssuer("https://a.example.com"), jwttest.NewIssuer("https://b.example.com")
	t.Cleanup(a.Close)
	t.Cleanup(b.Close)
	ofB := b.Config()
	ofB.Scopes, ofB.Required = [][]string{{"permissions"}}, []string{"tenant"}
	c.Configs = append(c.Configs, a.Config(), ofB)
	m = newIssuers(t, c)
	require.NoError(t, m.Ready(t.Context()))
	return a, b, m
}

func newIssuers(t *testing.T, c jwtverify.IssuersConfig) *jwtverify.Issuers {
	t.Helper()
	m, err := jwtverify.NewIssuers(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func requireReason(t *testing.T, m *jwtverify.Issuers, token string, want jwtverify.Reason) {
	t.Helper()
	verified, err := m.Verify(t.Context(), token)
	require.Equal(t, want, jwtverify.ReasonOf(err), "%v", err)
	require.Equal(t, want == "", verified != nil)
}

func TestEachIssuersTokensAreJudgedByItsOwnConfigAlone(t *testing.T) {
	a, b, m := startIssuers(t, jwtverify.IssuersConfig{})
	good := jwttest.Claims{"tenant": "t", "scope": "x", "permissions": "y"}
	for range 2 { // first, and again
		fromA, err := m.Verify(t.Context(), a.Token(good))
		require.NoError(t, err)
		require.Equal(t, a.URL, fromA.Issuer)
		require.Equal(t, []string{"x"}, fromA.Scopes)
		fromB, err := m.Verify(t.Context(), b.Token(good))
		require.NoError(t, err)
		require.Equal(t, b.URL, fromB.Issuer)
		require.Equal(t, []string{"y"}, fromB.Scopes)
	}
	requireReason(t, m, a.Token(nil), "")
	requireReason(t, m, b.Token(nil), jwtverify.ErrClaims)
	requireReason(t, m, a.Token(jwttest.Claims{"aud": "https://b.example.com"}), jwtverify.ErrAudience)
}

func TestTheKeysOfOneIssuerNeverServeAnother(t *testing.T) {
	a, b, m := startIssuers(t, jwtverify.IssuersConfig{})
	// Both have a key-1: only the iss decides whose it is.
	requireReason(t, m, a.Token(jwttest.Claims{"iss": b.URL, "aud": "https://b.example.com", "tenant": "t"}), jwtverify.ErrSignature)
	requireReason(t, m, b.Token(jwttest.Claims{"iss": a.URL, "aud": "https://a.example.com"}), jwtverify.ErrSignature)
	// A key that only one of them has.
	kid := b.Rotate("ES256")
	require.NotEqual(t, "key-1", kid)
	requireReason(t, m, b.Token(jwttest.Claims{"tenant": "t"}), "")
	requireReason(t, m, b.Token(jwttest.Claims{"iss": a.URL, "aud": "https://a.example.com"}), jwtverify.ErrUnknownKey)
}

// Issuers behind one signer, as tenants of a service are: whose key it is does not
// tell them apart, so everything else has to.
func TestIssuersWithEqualKeysKeepTheirRules(t *testing.T) {
	s := newSigner(t)
	config := func(n int) jwtverify.Config {
		return jwtverify.Config{
			Issuer: fmt.Sprintf("https://%d.example.com", n), Audience: []string{fmt.Sprintf("api-%d", n)},
			Keys: s.set(t), Now: func() time.Time { return signerTime },
		}
	}
	m := newIssuers(t, jwtverify.IssuersConfig{Configs: []jwtverify.Config{config(1), config(2)}})
	token := func(iss, aud string) string {
		return s.sign(t, `{"alg":"ES256"}`, s.claims(t, map[string]any{"iss": iss, "aud": aud}))
	}
	for range 2 {
		requireReason(t, m, token("https://1.example.com", "api-1"), "")
		requireReason(t, m, token("https://2.example.com", "api-2"), "")
		requireReason(t, m, token("https://1.example.com", "api-2"), jwtverify.ErrAudience)
		requireReason(t, m, token("https://2.example.com", "api-1"), jwtverify.ErrAudience)
	}
}

func TestAnIssuerIsFoundByItsExactNameOnly(t *testing.T) {
	s := newSigner(t)
	var asked sync.Map
	m := newIssuers(t, jwtverify.IssuersConfig{
		Configs: []jwtverify.Config{{Issuer: signerIssuer, Audience: []string{signerAudience}, Keys: s.set(t), Now: func() time.Time { return signerTime }}},
		Resolve: func(_ context.Context, issuer string) (jwtverify.Config, error) {
			asked.Store(issuer, true)
			return jwtverify.Config{}, jwtverify.ErrIssuer
		},
	})
	sign := func(claims string) string { return s.sign(t, `{"alg":"ES256"}`, claims) }
	rest := fmt.Sprintf(`,"aud":%q,"exp":%d}`, signerAudience, signerTime.Add(time.Minute).Unix())
	requireReason(t, m, sign(`{"iss":"`+signerIssuer+`"`+rest), "")
	requireReason(t, m, sign(`{"iss":"https:\/\/issuer.example.com"`+rest), "") // the same name, by JSON's other spelling
	for _, iss := range []string{
		signerIssuer + "/", "HTTPS://issuer.example.com", "https://Issuer.example.com", " " + signerIssuer, signerIssuer + " ", signerIssuer + "\u0000",
		"http://issuer.example.com", "https://issuer.example.com:443", "https://issuer.example.com?", "https://ıssuer.example.com", "issuer.example.com",
	} {
		requireReason(t, m, sign(`{"iss":`+marshal(t, iss)+rest), jwtverify.ErrIssuer)
		_, there := asked.Load(iss)
		require.True(t, there, "%q: Resolve is asked for what came, to the letter", iss)
	}
	for claims, want := range map[string]jwtverify.Reason{
		`{"iss":"` + signerIssuer + `","iss":"https://evil.example.com"` + rest: jwtverify.ErrMalformed,
		`{"iss":"https://evil.example.com","iss":"` + signerIssuer + `"` + rest: jwtverify.ErrMalformed,
		`{"iss":"` + signerIssuer + `","\u0069ss":"x"` + rest:                   jwtverify.ErrMalformed,
		`{"ISS":"` + signerIssuer + `"` + rest:                                  jwtverify.ErrClaims,
		`{"iss":["` + signerIssuer + `"]` + rest:                                jwtverify.ErrClaims,
		`{"iss":null` + rest:                                                    jwtverify.ErrClaims,
		`{"iss":""` + rest:                                                      jwtverify.ErrIssuer,
		`{"sub":"x"` + rest:                                                     jwtverify.ErrClaims,
		`{"iss":"` + strings.Repeat("x", 513) + `"` + rest:                      jwtverify.ErrIssuer,
		`["iss"]`: jwtverify.ErrMalformed,
		`{"iss":"` + signerIssuer + `"` + rest + "{}": jwtverify.ErrMalformed,
	} {
		requireReason(t, m, sign(claims), want)
	}
	for iss := range asked.Range {
		require.NotEmpty(t, iss)
		require.LessOrEqual(t, len(iss.(string)), 512)
	}
	for _, token := range []string{"", "..", "a.b.c", "e30." + "!" + ".e30", "e30.e30.", strings.Repeat("a", 17<<10)} {
		requireReason(t, m, token, map[bool]jwtverify.Reason{true: jwtverify.ErrClaims, false: jwtverify.ErrMalformed}[token == "e30.e30."])
	}
}

func TestRefusalsOfIssuersAreLoggedForTheirIssuer(t *testing.T) {
	var log bytes.Buffer
	s := newSigner(t)
	m := newIssuers(t, jwtverify.IssuersConfig{
		Configs: []jwtverify.Config{{Issuer: signerIssuer, Audience: []string{signerAudience}, Keys: s.set(t), Now: func() time.Time { return signerTime }}},
		Logger:  slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	for claims, want := range map[string]string{
		s.claims(t, map[string]any{"aud": "x"}):                       "issuer=" + signerIssuer + " reason=audience",
		s.claims(t, map[string]any{"iss": strings.Repeat("\n", 400)}): `issuer="" reason=issuer`,
	} {
		token := s.sign(t, `{"alg":"ES256"}`, claims)
		log.Reset()
		_, err := m.Verify(t.Context(), token)
		require.Error(t, err)
		require.Contains(t, log.String(), want)
		require.Less(t, log.Len(), 300)
		require.NotContains(t, log.String(), token)
	}
}

func TestRefusalsOfIssuersAreExplained(t *testing.T) {
	a, b, m := startIssuers(t, jwtverify.IssuersConfig{})
	explain := func(token string) string {
		_, err := m.Verify(t.Context(), token)
		return jwtverify.Explain(err)
	}
	unknown := explain(a.Token(jwttest.Claims{"iss": a.URL + "/"}))
	for _, want := range []string{"issuer: iss is none of the issuers; expected one of ", strconv.Quote(a.URL), strconv.Quote(b.URL), `; came "` + a.URL + `/"`, "hint: they differ in the last slash only"} {
		require.Contains(t, unknown, want)
	}
	require.Contains(t, explain("Bearer "+a.Token(nil)), "hint: cut \"Bearer \" off")
	require.Contains(t, explain(a.Token(jwttest.Claims{"aud": "x"})), `expected "https://a.example.com"; came "x"`)
	for range 2 {
		explain(a.Token(nil))
	}
	require.Contains(t, explain(strings.Repeat("x", 20)+".e30."), "claims: iss is missing")
	require.LessOrEqual(t, len(explain(a.Token(jwttest.Claims{"iss": strings.Repeat("\n", 5000)}))), 2<<10)
}

func TestWhatIsClosedStaysClosed(t *testing.T) {
	a, _, m := startIssuers(t, jwtverify.IssuersConfig{})
	token := a.Token(nil)
	requireReason(t, m, token, "")
	require.NoError(t, m.Close())
	requireReason(t, m, token, jwtverify.ErrUnavailable)
	requireReason(t, m, a.Token(nil), jwtverify.ErrUnavailable)
	require.ErrorIs(t, m.Ready(t.Context()), jwtverify.ErrUnavailable)
	require.NoError(t, m.Close())
}

func TestEveryFaultOfIssuersIsReported(t *testing.T) {
	set := newSigner(t).set(t)
	good := jwtverify.Config{Issuer: signerIssuer, Audience: []string{signerAudience}, Keys: set}
	bad, cached := good, good
	bad.Issuer, bad.Audience = "https://bad.example.com", nil
	cached.CacheBytes = 1 << 20
	_, err := jwtverify.NewIssuers(jwtverify.IssuersConfig{Configs: []jwtverify.Config{good, good, bad, cached}, MaxResolved: 5, CacheBytes: 5})
	for _, want := range []string{
		`Configs has the issuer "https://issuer.example.com" twice`, `Configs[2], issuer "https://bad.example.com"`, "Audience is required: write",
		"Configs[3]", "set IssuersConfig.CacheBytes", "MaxResolved is set without Resolve", "CacheBytes is 5",
	} {
		require.ErrorContains(t, err, want)
	}
	_, err = jwtverify.NewIssuers(jwtverify.IssuersConfig{MaxResolved: -1})
	require.ErrorContains(t, err, "write whose tokens to take")
	require.ErrorContains(t, err, "MaxResolved is negative")
	for _, m := range []*jwtverify.Issuers{nil, {}} {
		requireReason(t, m, "a.b.c", jwtverify.ErrUnavailable)
		require.ErrorIs(t, m.Ready(t.Context()), jwtverify.ErrUnavailable)
		require.Zero(t, m.Status())
		m.Forget("x")
		require.NoError(t, m.Close())
	}
}

// Two issuers share a kid and each has one more key. Whatever a token says, Issuers
// takes it exactly if the Verifier of the issuer that it names takes it alone.
func FuzzIssuers(f *testing.F) {
	f.Add(uint8(0), uint8(0), "1", "https://0.example.com", "api-0", `"x":1`)
	f.Add(uint8(1), uint8(0), "1", "https://0.example.com", "api-0", `"iss":"https://1.example.com"`)
	f.Add(uint8(1), uint8(1), "2", "https://1.example.com/", "api-1", `"Iss":"https://0.example.com"`)
	f.Add(uint8(0), uint8(2), "", "HTTPS://0.example.com", "api-1", `"aud":"api-0"`)
	f.Fuzz(func(t *testing.T, signs, algs uint8, kid, iss, aud, more string) {
		signers := fuzzSigners()
		header := fmt.Sprintf(`{"alg":%q,"kid":%s}`, []string{"ES256", "ES384", "none"}[algs%3], marshal(t, kid))
		claims := fmt.Sprintf(`{"iss":%s,"aud":%s,"exp":%d,%s}`, marshal(t, iss), marshal(t, aud), signerTime.Unix()+60, more)
		token := signers.of[signs%2].sign(t, header, claims)
		for range 2 {
			got, err := signers.issuers.Verify(t.Context(), token)
			accepted := 0
			for n, v := range signers.alone {
				alone, aloneErr := v.Verify(t.Context(), token)
				if aloneErr != nil {
					continue
				}
				accepted++
				require.NoError(t, err)
				require.Equal(t, alone, got)
				require.Equal(t, fmt.Sprintf("https://%d.example.com", n), got.Issuer)
				require.EqualValues(t, n, signs%2, "the key of another issuer")
			}
			if accepted == 0 {
				require.Error(t, err)
			}
		}
	})
}

type fuzzed struct {
	of      [2]signer
	alone   [2]*jwtverify.Verifier
	issuers *jwtverify.Issuers
}

var fuzzSigners = sync.OnceValue(func() *fuzzed {
	var all fuzzed
	var configs []jwtverify.Config
	for n := range all.of {
		all.of[n] = newSigner(new(testing.T))
		var keys []*jwks.Key
		for _, kid := range []string{"1", fmt.Sprint(2 + n)} {
			key, err := jwks.NewKey(kid, "ES256", &all.of[n].key.PublicKey)
			if err != nil {
				panic(err)
			}
			keys = append(keys, key)
		}
		set, err := jwks.NewSet(keys...)
		if err != nil {
			panic(err)
		}
		configs = append(configs, jwtverify.Config{
			Issuer: fmt.Sprintf("https://%d.example.com", n), Audience: []string{fmt.Sprintf("api-%d", n)},
			Keys: set, Now: func() time.Time { return signerTime },
		})
		if all.alone[n], err = jwtverify.New(configs[n]); err != nil {
			panic(err)
		}
	}
	var err error
	if all.issuers, err = jwtverify.NewIssuers(jwtverify.IssuersConfig{Configs: configs}); err != nil {
		panic(err)
	}
	return &all
})
