package introspect_test

import (
	"context"
	"encoding/base64"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/introspect"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

// both is an issuer of JWTs and opaque tokens, whose endpoint takes everything for
// active.
type both struct {
	*endpoint
	issuer *jwttest.Issuer
	jwt    *jwtverify.Verifier
	opaque *introspect.Introspector
}

func newBoth(t *testing.T) *both {
	b := &both{issuer: jwttest.NewIssuer(audience)}
	t.Cleanup(b.issuer.Close)
	b.endpoint = newEndpoint(t, says(active(b.issuer.URL, claims{"sub": "test-subject", "client_id": "test-client", "jti": nil})))
	c := b.config()
	c.Issuer = b.issuer.URL
	b.opaque = start(t, c)
	config := b.issuer.Config()
	config.Logger = c.Logger
	v, err := jwtverify.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	require.NoError(t, v.Ready(t.Context()))
	b.jwt = v
	return b
}

func (b *both) hybrid(t *testing.T, introspectJWTs bool) *introspect.Hybrid {
	h, err := introspect.NewHybrid(introspect.HybridConfig{JWT: b.jwt, Opaque: b.opaque, IntrospectJWTs: introspectJWTs})
	require.NoError(t, err)
	return h
}

func TestAHybridSendsEachTokenToWhomItIsFor(t *testing.T) {
	b := newBoth(t)
	h := b.hybrid(t, false)
	for range 2 {
		token, err := h.Verify(t.Context(), b.issuer.Token(nil))
		require.NoError(t, err)
		require.Equal(t, "at+jwt", token.Header.Type)
	}
	require.Zero(t, b.asked.Load())
	token, err := h.Verify(t.Context(), opaque)
	require.NoError(t, err)
	require.Zero(t, token.Header)
	require.EqualValues(t, 1, b.asked.Load())
}

// What a Verifier refused must not come in by way of an endpoint that is less strict:
// whatever its maker does to a JWT, it does not reach the issuer. The Verifier's Checks,
// a list of revoked tokens say, would count for nothing otherwise.
func TestAJWTIsNeverIntrospectedInsteadOfVerified(t *testing.T) {
	b := newBoth(t)
	jwt := b.issuer.Token(nil)
	header, rest, _ := strings.Cut(jwt, ".")
	std := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	raw := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	for name, token := range map[string]string{
		"expired":                    b.issuer.Token(jwttest.Claims{"exp": 1}),
		"for another API":            b.issuer.Token(jwttest.Claims{"aud": "other"}),
		"unsigned":                   b.issuer.Mint(jwttest.Header{"alg": "none"}, nil),
		"an ID token":                b.issuer.Mint(jwttest.Header{"typ": "JWT"}, jwttest.Claims{"nonce": "x"}),
		"a touched signature":        jwt[:len(jwt)-4] + "AAAA",
		"without a signature":        jwt[:strings.LastIndexByte(jwt, '.')],
		"with a fourth segment":      jwt + ".e30",
		"with five segments":         raw(`{"alg":"dir","enc":"A256GCM"}`) + "..a.b.c",
		"without claims":             header + ".",
		"padded at the end":          jwt + "=",
		"a header with padding":      std(`{"alg":"ES256" }`) + "." + rest,
		"a header, other alphabet":   std(`{"alg":"ES256","x":"??>>"}`) + "." + rest,
		"a header, spare bits":       raw(`{"alg":"RS256"}  `) + "J." + rest,
		"a header, one too many":     raw(`{"alg":"RS256"}`) + "A." + rest,
		"a header, ignored letters":  header[:8] + "~" + header[8:] + "." + rest,
		"a header behind spaces":     raw("\r\n\t {\"alg\":\"ES256\"}") + "." + rest,
		"a header behind a BOM":      raw("\ufeff{\"alg\":\"ES256\"}") + "." + rest,
		"a header with more":         raw(`{"alg":"ES256"}x`) + "." + rest,
		"a header that is cut short": raw(`{"alg":"ES256"`) + "." + rest,
		"a header with alg twice":    raw(`{"alg":"none","alg":"ES256"}`) + "." + rest,
		"alg in another case":        raw(`{"Alg":"ES256"}`) + "." + rest,
		"alg escaped":                raw(`{"\u0061lg":"ES256"}`) + "." + rest,
		"alg that is no string":      raw(`{"alg":null}`) + "." + rest,
		"not UTF-8":                  raw("{\"alg\":\"ES256\",\"x\":\"\xff\"}") + "." + rest,
		"alg escaped, with more":     raw(`{"\u0061lg":"ES256"}x`) + "." + rest,
		"alg escaped, with a comma":  raw(`{"\u0061lg":"none",}`) + "." + rest,
		"alg escaped, nested deep":   raw(`{"\u0061lg":"ES256","x":`+strings.Repeat("[", 10001)) + "." + rest,
		"single quotes":              raw(`{'alg':'ES256'}`) + "." + rest,
		"spaces around it":           " " + jwt,
		"a line break in it":         header[:8] + "\n" + header[8:] + "." + rest,
		"too large":                  jwt + strings.Repeat("A", 16<<10),
		"a huge header":              raw(`{"alg":"ES256","x":"`+strings.Repeat("x", 8<<10)+`"}`) + "." + rest,
	} {
		for _, also := range []bool{false, true} {
			h := b.hybrid(t, also)
			_, _ = h.Verify(t.Context(), b.issuer.Token(nil)) // so that the usual header is known
			asked := b.asked.Load()
			accepted, err := h.Verify(t.Context(), token)
			require.Nil(t, accepted, name)
			require.ErrorIs(t, err, jwtverify.ErrInvalidToken, name)
			require.Equal(t, asked, b.asked.Load(), name)
		}
	}
}

func TestAnOpaqueTokenMayLookAlmostLikeAJWT(t *testing.T) {
	b := newBoth(t)
	h := b.hybrid(t, true)
	raw := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	for n, token := range []string{
		"a.b.c", "..", "v2.local.QAxIpVe", "abc.def", "eyJ", "e30.e30.e30", "eyJ.x.y", "ory_at_A.B.C",
		raw(`{"user":1}`) + ".Zk3x.c2ln", // a cookie of Flask's
		raw(`["alg"]`) + ".b.c", raw(`"alg"`) + ".b.c", raw("{\x00\x9f") + ".b.c",
		raw(`{"alg":"ES256","kid":"1"}`), "x." + raw(`{"alg":"ES256"}`) + ".y",
	} {
		_, err := h.Verify(t.Context(), token)
		require.NoError(t, err, token)
		require.EqualValues(t, n+1, b.asked.Load(), token)
	}

	// Nor is the first segment one that has been seen before where nothing follows it.
	h = b.hybrid(t, false)
	jwt := b.issuer.Token(nil)
	_, err := h.Verify(t.Context(), jwt)
	require.NoError(t, err)
	header, _, _ := strings.Cut(jwt, ".")
	asked := b.asked.Load()
	_, err = h.Verify(t.Context(), header)
	require.NoError(t, err)
	require.Equal(t, asked+1, b.asked.Load())
}

// The policy for routes where a revocation must bite at once: two must accept, and speak
// of the same.
func TestAJWTThatIsIntrospectedTooNeedsBothToAgree(t *testing.T) {
	own := claims{"sub": "test-subject", "client_id": "test-client", "jti": "1"}
	for name, c := range map[string]struct {
		answer claims
		reason jwtverify.Reason
	}{
		"the same":             {},
		"no more than active":  {answer: claims{"sub": nil, "client_id": nil, "jti": nil, "iss": nil}},
		"inactive":             {answer: claims{"active": false}, reason: jwtverify.ErrInactive},
		"another issuer":       {answer: claims{"iss": "https://other.example"}, reason: jwtverify.ErrIssuer},
		"another subject":      {answer: claims{"sub": "mallory"}, reason: jwtverify.ErrClaims},
		"another client":       {answer: claims{"client_id": "mallory"}, reason: jwtverify.ErrClaims},
		"another token's jti":  {answer: claims{"jti": "2"}, reason: jwtverify.ErrClaims},
		"another API":          {answer: claims{"aud": "other"}, reason: jwtverify.ErrAudience},
		"no boolean":           {answer: claims{"active": "true"}, reason: jwtverify.ErrUnavailable},
		"an exp that has past": {answer: claims{"exp": 1}, reason: jwtverify.ErrExpired},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoth(t)
			answer := active(b.issuer.URL, own)
			for name, value := range c.answer {
				if answer[name] = value; value == nil {
					delete(answer, name)
				}
			}
			b.say(says(answer))
			h := b.hybrid(t, true)
			jwt := b.issuer.Token(jwttest.Claims{"jti": "1"})
			for range 2 {
				if c.reason != "" {
					requireReason(t, h, jwt, c.reason)
					continue
				}
				token, err := h.Verify(t.Context(), jwt)
				require.NoError(t, err)
				require.Equal(t, "at+jwt", token.Header.Type, "the Token is the Verifier's")
			}
			require.EqualValues(t, 1, b.asked.Load(), "answers are kept for JWTs too")
		})
	}

	b := newBoth(t)
	h := b.hybrid(t, true)
	b.Close()
	requireReason(t, h, b.issuer.Token(nil), jwtverify.ErrUnavailable)
	token, err := b.hybrid(t, false).Verify(t.Context(), b.issuer.Token(nil))
	require.NoError(t, err, "without the policy the Verifier does without the issuer")
	require.NotNil(t, token)
}

func TestAnIntrospectedJWTAllowsNoMoreThanBothSay(t *testing.T) {
	b := newBoth(t)
	soon := time.Now().Add(time.Minute).Truncate(time.Second)
	b.say(says(active(b.issuer.URL, claims{"sub": nil, "client_id": nil, "jti": nil, "scope": "read:orders admin", "exp": soon.Unix()})))
	jwt := b.issuer.Token(jwttest.Claims{"scope": "read:orders write:orders"})
	token, err := b.hybrid(t, true).Verify(t.Context(), jwt)
	require.NoError(t, err)
	require.Equal(t, []string{"read:orders"}, token.Scopes)
	require.True(t, token.ValidUntil.Equal(soon.Add(30*time.Second)))

	b = newBoth(t)
	b.say(says(active(b.issuer.URL, claims{"sub": nil, "client_id": nil, "jti": nil, "scope": nil, "exp": nil})))
	jwt = b.issuer.Token(jwttest.Claims{"scope": "read:orders write:orders"})
	token, err = b.hybrid(t, true).Verify(t.Context(), jwt)
	require.NoError(t, err)
	require.Equal(t, []string{"read:orders", "write:orders"}, token.Scopes)
	require.True(t, token.ValidUntil.After(token.Expiry))
}

// A scope that is there and empty allows nothing; one that is missing says nothing. Roles
// are no different.
func TestAnAnswerThatNamesNoScopesOrRolesLeavesAJWTNone(t *testing.T) {
	scopes, roles := []string{"a", "b"}, []string{"clerk", "admin"}
	for name, c := range map[string]struct {
		answer        claims
		scopes, roles []string
	}{
		"neither":               {claims{}, scopes, roles},
		"an empty scope":        {claims{"scope": ""}, nil, roles},
		"a scope of spaces":     {claims{"scope": "  "}, nil, roles},
		"an empty scp":          {claims{"scp": []string{}}, nil, roles},
		"other scopes":          {claims{"scope": "c"}, nil, roles},
		"fewer scopes":          {claims{"scope": "b c"}, []string{"b"}, roles},
		"fewer roles":           {claims{"roles": []string{"clerk", "x"}}, scopes, []string{"clerk"}},
		"an empty list of them": {claims{"roles": []string{}}, scopes, nil},
		"an empty object":       {claims{"roles": claims{}}, scopes, nil},
	} {
		for _, paths := range [][][]string{nil, {{"scope"}, {"scp"}, {"nested", "scope"}}} {
			t.Run(name, func(t *testing.T) {
				e := newEndpoint(t, nil)
				answer := claims{"active": true, "aud": audience}
				maps.Copy(answer, c.answer)
				e.say(says(answer))
				ask := e.config()
				ask.Scopes, ask.Roles = paths, [][]string{{"roles"}}
				h, err := introspect.NewHybrid(introspect.HybridConfig{
					JWT: verifierFunc(func() (*jwtverify.Token, error) {
						return &jwtverify.Token{Issuer: e.URL, Scopes: slices.Clone(scopes), Roles: slices.Clone(roles)}, nil
					}),
					Opaque: start(t, ask), IntrospectJWTs: true,
				})
				require.NoError(t, err)
				for range 2 { // kept or not
					token, err := h.Verify(t.Context(), shapedLikeAJWT)
					require.NoError(t, err)
					require.ElementsMatch(t, c.scopes, token.Scopes)
					require.ElementsMatch(t, c.roles, token.Roles)
				}
				require.EqualValues(t, 1, e.asked.Load())
			})
		}
	}
}

const shapedLikeAJWT = "eyJhbGciOiJFUzI1NiJ9.e30.c2ln" // {"alg":"ES256"}

// A set of Issuers takes the JWTs of several. A live one is its own issuer's secret.
func TestAJWTIsNotShownToAnIssuerThatDidNotMakeIt(t *testing.T) {
	b, other := newBoth(t), newBoth(t)
	discard := slog.New(slog.DiscardHandler)
	ofB, ofOther := b.issuer.Config(), other.issuer.Config()
	ofB.Logger, ofOther.Logger = discard, discard
	issuers, err := jwtverify.NewIssuers(jwtverify.IssuersConfig{Configs: []jwtverify.Config{ofB, ofOther}, Logger: discard})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, issuers.Close()) })
	require.NoError(t, issuers.Ready(t.Context()))
	h, err := introspect.NewHybrid(introspect.HybridConfig{JWT: issuers, Opaque: b.opaque, IntrospectJWTs: true})
	require.NoError(t, err)

	requireReason(t, h, other.issuer.Token(nil), jwtverify.ErrIssuer)
	require.Zero(t, b.asked.Load())
	_, err = h.Verify(t.Context(), b.issuer.Token(nil))
	require.NoError(t, err)
	require.EqualValues(t, 1, b.asked.Load())
}

// What wraps an Introspector is asked first and compared then.
func TestAnAnswerOfAnotherIssuerSaysNothingOfAJWT(t *testing.T) {
	b, other := newBoth(t), newBoth(t)
	other.say(says(active("", claims{"iss": nil, "sub": nil, "client_id": nil, "jti": nil})))
	h, err := introspect.NewHybrid(introspect.HybridConfig{
		JWT: b.jwt, IntrospectJWTs: true,
		Opaque: verifierFunc(func() (*jwtverify.Token, error) { return other.opaque.Verify(t.Context(), opaque) }),
	})
	require.NoError(t, err)
	requireReason(t, h, b.issuer.Token(nil), jwtverify.ErrClaims)
}

// Verifiers of the user's may be less careful.
func TestAHybridShowsNobodyWhatIsNoToken(t *testing.T) {
	nobody := verifierFunc(func() (*jwtverify.Token, error) {
		t.Error("it was shown")
		return &jwtverify.Token{}, nil
	})
	h, err := introspect.NewHybrid(introspect.HybridConfig{JWT: nobody, Opaque: nobody})
	require.NoError(t, err)
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256"}`))
	for _, token := range []string{"", "a b", "a\n", header + ".a.b\n", header + "." + strings.Repeat("a", 16<<10), strings.Repeat("a", 16<<10+1)} {
		_, err := h.Verify(t.Context(), token)
		require.ErrorIs(t, err, jwtverify.ErrMalformed)
	}
}

type verifierFunc func() (*jwtverify.Token, error)

func (f verifierFunc) Verify(context.Context, string) (*jwtverify.Token, error) { return f() }

func TestAHybridWithoutAVerdictAcceptsNothing(t *testing.T) {
	nothing := verifierFunc(func() (*jwtverify.Token, error) { return nil, nil })
	b := newBoth(t)
	for _, c := range []introspect.HybridConfig{
		{JWT: nothing, Opaque: b.opaque}, {JWT: nothing, Opaque: b.opaque, IntrospectJWTs: true}, {JWT: b.jwt, Opaque: nothing, IntrospectJWTs: true},
	} {
		h, err := introspect.NewHybrid(c)
		require.NoError(t, err)
		token, err := h.Verify(t.Context(), b.issuer.Token(nil))
		require.Nil(t, token)
		require.NoError(t, err) // which every adapter answers with 503
	}
	requireReason(t, new(introspect.Hybrid), opaque, jwtverify.ErrUnavailable)
	requireReason(t, (*introspect.Hybrid)(nil), opaque, jwtverify.ErrUnavailable)
	_, err := introspect.NewHybrid(introspect.HybridConfig{Opaque: (*introspect.Introspector)(nil)})
	require.ErrorContains(t, err, "HybridConfig.JWT is required")
	require.ErrorContains(t, err, "HybridConfig.Opaque is required")
}
