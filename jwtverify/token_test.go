package jwtverify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
)

func TestATokenSaysWhatItsClaimsSay(t *testing.T) {
	s := newSigner(t)
	v := s.verifierOf(t, func(c *jwtverify.Config) {
		c.Leeway = time.Minute
		c.Roles = [][]string{{"realm_access", "roles"}, {"https://example.com/roles"}, {"role"}, {"none", "of", "these"}}
	})
	exp := signerTime.Add(time.Hour)
	token, err := v.Verify(t.Context(), s.sign(t, `{"alg":"ES256","typ":"at+JWT"}`, s.claims(t, map[string]any{
		"jti": "id", "sid": "session", "client_id": "client", "azp": "other", "iat": signerTime.Unix(), "nbf": float64(signerTime.Unix()) + .5,
		"exp": exp.Unix(), "aud": []string{"x", signerAudience}, "scope": "a  b", "scp": []string{"c"},
		"realm_access": map[string]any{"roles": []string{"admin", "user"}}, "https://example.com/roles": []string{"r w"}, "role": "one role", "none": 7,
	})))
	require.NoError(t, err)
	require.Equal(t, signerIssuer, token.Issuer)
	require.Equal(t, "alice", token.Subject)
	require.Equal(t, "id", token.ID)
	require.Equal(t, "session", token.SessionID)
	require.Equal(t, "client", token.ClientID)
	require.Equal(t, []string{"x", signerAudience}, token.Audience)
	require.ElementsMatch(t, []string{"a", "b", "c"}, token.Scopes)
	require.ElementsMatch(t, []string{"admin", "user", "r w", "one role"}, token.Roles)
	require.Equal(t, signerTime.UTC(), token.IssuedAt.UTC())
	require.Equal(t, signerTime.Add(500*time.Millisecond).UTC(), token.NotBefore.UTC())
	require.Equal(t, exp.UTC(), token.Expiry.UTC())
	require.Equal(t, exp.Add(time.Minute).UTC(), token.ValidUntil.UTC())
	require.Equal(t, jwtverify.Header{Algorithm: "ES256", Type: "at+JWT"}, token.Header)
}

func TestAClientIDIsTheFirstOfItsNames(t *testing.T) {
	s := newSigner(t)
	v := s.verifier(t)
	for _, c := range []struct {
		claims map[string]any
		want   string
	}{
		{map[string]any{"appid": "4", "cid": "3", "azp": "2", "client_id": "1"}, "1"},
		{map[string]any{"appid": "4", "cid": "3", "azp": "2"}, "2"},
		{map[string]any{"appid": "4", "cid": "3"}, "3"},
		{map[string]any{"appid": "4", "cid": 3}, "4"},
		{map[string]any{"cid": 3}, ""},
	} {
		token, err := v.Verify(t.Context(), s.sign(t, `{"alg":"ES256"}`, s.claims(t, c.claims)))
		require.NoError(t, err)
		require.Equal(t, c.want, token.ClientID)
	}
}

func TestClaimsOfTheWrongKindAreRefusedNotCoerced(t *testing.T) {
	s := newSigner(t)
	v := s.verifierOf(t, func(c *jwtverify.Config) {
		c.Required, c.Roles, c.MaxLifetime = []string{"tenant", "sub"}, [][]string{{"r", "roles"}}, time.Hour
	})
	good := map[string]any{"tenant": "t", "iat": signerTime.Unix()}
	with := func(name string, value any) map[string]any {
		claims := map[string]any{name: value}
		for n, v := range good {
			if _, ok := claims[n]; !ok {
				claims[n] = v
			}
		}
		return claims
	}
	_, err := v.Verify(t.Context(), s.sign(t, `{"alg":"ES256"}`, s.claims(t, good)))
	require.NoError(t, err)
	for name, values := range map[string][]any{
		"iss":       {nil, 1, []string{signerIssuer}},
		"aud":       {nil, 1, map[string]any{signerAudience: true}, []any{signerAudience, 1}, []any{signerAudience, nil}},
		"sub":       {nil, 1, ""},
		"jti":       {nil, 1, "", []string{"a"}},
		"exp":       {nil, "1767225700", true, 1767225700000, 1e300, -1},
		"nbf":       {nil, "0", -5, 1e18},
		"iat":       {nil, "0", true, signerTime.Add(-2 * time.Hour).Unix()},
		"sid":       {nil, 1},
		"client_id": {nil, 1, []string{"a"}},
		"azp":       {nil, 1},
		"scope":     {nil, 1, true, map[string]any{}, []any{"a", 1}},
		"scp":       {nil, []any{nil}},
		"r":         {map[string]any{"roles": nil}, map[string]any{"roles": []any{1}}},
		"tenant":    {nil},
	} {
		for _, value := range values {
			token, err := v.Verify(t.Context(), s.sign(t, `{"alg":"ES256"}`, s.claims(t, with(name, value))))
			require.ErrorIs(t, err, jwtverify.ErrClaims, "%s: %v", name, value)
			require.Nil(t, token)
		}
	}
	for _, missing := range []string{"tenant", "iat"} {
		claims := with("x", 1)
		delete(claims, missing)
		_, err := v.Verify(t.Context(), s.sign(t, `{"alg":"ES256"}`, s.claims(t, claims)))
		require.ErrorIs(t, err, jwtverify.ErrClaims)
		require.ErrorContains(t, err, missing+" is missing")
	}
}

func TestClaimsThatTheConfigNamesAreThereOrNotAsItSays(t *testing.T) {
	s := newSigner(t)
	v := s.verifierOf(t, func(c *jwtverify.Config) {
		c.Required = []string{"sub", "tid"}
		c.Values = map[string][]string{"tid": {"a", "b"}, "token_use": {"access"}, "typ": {"Bearer", "bearer"}}
		c.Forbidden = []string{"nonce", "idp"}
		c.Types = []string{""}
	})
	good := map[string]any{"tid": "b", "token_use": "access", "typ": "Bearer"}
	for _, c := range []struct {
		name  string
		value any
		want  jwtverify.Reason
	}{
		{"other", "x", ""},
		{"tid", "a", ""},
		{"tid", "c", jwtverify.ErrClaims},
		{"tid", "A", jwtverify.ErrClaims},
		{"tid", "", jwtverify.ErrClaims},
		{"tid", nil, jwtverify.ErrClaims},
		{"tid", []string{"a"}, jwtverify.ErrClaims},
		{"tid", absent, jwtverify.ErrClaims},
		{"token_use", "id", jwtverify.ErrType},
		{"token_use", absent, jwtverify.ErrClaims},
		{"typ", "ID", jwtverify.ErrType},
		{"typ", 1, jwtverify.ErrType},
		{"typ", "bearer", ""},
		{"sub", absent, jwtverify.ErrClaims},
		{"nonce", "n", jwtverify.ErrType},
		{"nonce", nil, jwtverify.ErrType},
		{"idp", map[string]any{}, jwtverify.ErrType},
		{"Nonce", "n", ""},
	} {
		claims := maps.Clone(good)
		claims[c.name] = c.value
		_, err := v.Verify(t.Context(), s.sign(t, `{"alg":"ES256"}`, s.claims(t, claims)))
		require.Equal(t, c.want, jwtverify.ReasonOf(err), "%s: %v: %v", c.name, c.value, err)
	}
}

func TestRolesAreNamesInAnArrayAStringOrAnObject(t *testing.T) {
	s := newSigner(t)
	v := s.verifierOf(t, func(c *jwtverify.Config) {
		c.Scopes = [][]string{{"scope"}, {"https://example.com/permissions"}}
		c.Roles = [][]string{{"roles"}, {"urn:zitadel:iam:org:project:roles"}, {"resource_access", "my.client", "roles"}, {"a.b"}}
	})
	token, err := v.Verify(t.Context(), s.sign(t, `{"alg":"ES256"}`, s.claims(t, map[string]any{
		"scope": "read write", "https://example.com/permissions": []string{"buy now"},
		"roles":                             "one whole",
		"urn:zitadel:iam:org:project:roles": map[string]any{"reader": map[string]any{"1": "acme.example.com"}, "wri\"ter": nil},
		"resource_access":                   map[string]any{"my.client": map[string]any{"roles": []string{"in"}}, "my": map[string]any{"client": map[string]any{"roles": []string{"out"}}}},
		"a":                                 map[string]any{"b": []string{"out"}},
		"a.b":                               []string{"dotted"},
	})))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"read", "write", "buy now"}, token.Scopes)
	require.ElementsMatch(t, []string{"one whole", "reader", "wri\"ter", "in", "dotted"}, token.Roles)
}

func TestTimeIsJudgedWithTheLeeway(t *testing.T) {
	s := newSigner(t)
	const second = time.Second
	for _, c := range []struct {
		leeway time.Duration
		claim  string
		offset time.Duration // from now
		want   jwtverify.Reason
	}{
		{0, "exp", -29 * second, ""},
		{0, "exp", -30 * second, jwtverify.ErrExpired},
		{-1, "exp", 1 * second, ""},
		{-1, "exp", 0, jwtverify.ErrExpired},
		{time.Minute, "exp", -59 * second, ""},
		{time.Minute, "exp", -60 * second, jwtverify.ErrExpired},
		{0, "nbf", 30 * second, ""},
		{0, "nbf", 31 * second, jwtverify.ErrNotYetValid},
		{-1, "nbf", 0, ""},
		{-1, "nbf", 1 * second, jwtverify.ErrNotYetValid},
		{0, "iat", 30 * second, ""},
		{0, "iat", 31 * second, jwtverify.ErrNotYetValid},
		{-1, "iat", 1 * second, jwtverify.ErrNotYetValid},
	} {
		v := s.verifierOf(t, func(cfg *jwtverify.Config) { cfg.Leeway = c.leeway })
		_, err := v.Verify(t.Context(), s.sign(t, `{"alg":"ES256"}`, s.claims(t, map[string]any{c.claim: signerTime.Add(c.offset).Unix()})))
		require.Equal(t, c.want, jwtverify.ReasonOf(err), "%+v: %v", c, err)
	}
}

func TestTheAudienceClaimIsComparedAsStrictly(t *testing.T) {
	s := newSigner(t)
	v := s.verifierOf(t, func(c *jwtverify.Config) { c.AudienceClaim, c.Audience = "client_id", []string{"app"} })
	for _, c := range []struct {
		claims map[string]any
		want   jwtverify.Reason
	}{
		{map[string]any{"client_id": "app", "aud": "whatever"}, ""},
		{map[string]any{"client_id": "other", "aud": "app"}, jwtverify.ErrAudience},
		{map[string]any{"aud": "app"}, jwtverify.ErrClaims},
		{map[string]any{"client_id": nil, "aud": "app"}, jwtverify.ErrClaims},
	} {
		token, err := v.Verify(t.Context(), s.sign(t, `{"alg":"ES256"}`, s.claims(t, c.claims)))
		require.Equal(t, c.want, jwtverify.ReasonOf(err))
		if err == nil {
			require.Equal(t, []string{"app"}, token.Audience)
		}
	}
}

func TestASenderConstrainedTokenIsRefusedOnlyIfAskedFor(t *testing.T) {
	s := newSigner(t)
	token := s.sign(t, `{"alg":"ES256"}`, s.claims(t, map[string]any{"cnf": map[string]any{"jkt": "x"}}))
	_, err := s.verifier(t).Verify(t.Context(), token)
	require.NoError(t, err)
	_, err = s.verifierOf(t, func(c *jwtverify.Config) { c.RefuseSenderConstrained = true }).Verify(t.Context(), token)
	require.ErrorIs(t, err, jwtverify.ErrClaims)
}

func TestAnEmptyKidIsNoAbsentKid(t *testing.T) {
	s := newSigner(t)
	_, err := s.verifier(t).Verify(t.Context(), s.sign(t, `{"alg":"ES256"}`, s.claims(t, nil)))
	require.NoError(t, err)
	_, err = s.verifier(t).Verify(t.Context(), s.sign(t, `{"alg":"ES256","kid":""}`, s.claims(t, nil)))
	require.ErrorIs(t, err, jwtverify.ErrUnknownKey)
}

func TestClaimsAreDecodedExactly(t *testing.T) {
	token, err := jwtverify.TrustedToken(jwtverify.Header{}, []byte(
		`{"sub":"a","Sub":"b","big":12345678901234567890123,"n":9007199254740993,"half":1.5,"list":[1,{"x":2.50}],"s":"t","no":null}`))
	require.NoError(t, err)

	all, err := jwtverify.Claims[map[string]any](token)
	require.NoError(t, err)
	require.Equal(t, map[string]any{
		"sub": "a", "Sub": "b", "big": json.Number("12345678901234567890123"), "n": json.Number("9007199254740993"), "half": json.Number("1.5"),
		"list": []any{json.Number("1"), map[string]any{"x": json.Number("2.50")}}, "s": "t", "no": nil,
	}, all)

	some, err := jwtverify.Claims[struct {
		Sub string      `json:"sub"`
		N   int64       `json:"n"`
		Big json.Number `json:"big"`
		Any any         `json:"half"`
	}](token)
	require.NoError(t, err)
	require.Equal(t, "a", some.Sub)
	require.Equal(t, int64(9007199254740993), some.N)
	require.Equal(t, json.Number("12345678901234567890123"), some.Big)
	require.Equal(t, json.Number("1.5"), some.Any)

	_, err = jwtverify.Claims[struct {
		Half int `json:"half"`
	}](token)
	require.Error(t, err, "an integer takes no fraction")
	none, err := jwtverify.Claims[struct {
		Sub string `json:"sub"`
		S   int    `json:"s"`
	}](token)
	require.Error(t, err)
	require.Zero(t, none, "nothing comes beside an error")
	_, err = jwtverify.Claims[struct {
		S json.Number `json:"s"`
	}](token)
	require.Error(t, err, "a string is no number")
}

func TestOnlyAVerifiedTokenHasClaims(t *testing.T) {
	for _, token := range []*jwtverify.Token{nil, {}, {Subject: "alice"}} {
		_, err := jwtverify.Claims[map[string]any](token)
		require.Error(t, err)
	}
	for _, claims := range []string{"", "null", "[]", `{"sub":1}`, `{"sub":"a","sub":"b"}`, `{"exp":"1"}`, `{"scope":1}`, `{}{}`} {
		token, err := jwtverify.TrustedToken(jwtverify.Header{}, []byte(claims))
		require.ErrorIs(t, err, jwtverify.ErrInvalidToken, claims)
		require.Nil(t, token)
	}
	text := []byte(`{"sub":"alice","aud":"x","exp":1,"scope":"a b"}`)
	token, err := jwtverify.TrustedToken(jwtverify.Header{Algorithm: "ES256"}, text)
	require.NoError(t, err)
	clear(text)
	claims, err := jwtverify.Claims[struct {
		Sub string `json:"sub"`
	}](token)
	require.NoError(t, err)
	require.Equal(t, "alice", claims.Sub, "the claims are a copy")
	require.Equal(t, time.Unix(1, 0), token.ValidUntil)
	require.Equal(t, jwtverify.Header{Algorithm: "ES256"}, token.Header)
	require.True(t, token.HasScope("a", "b"))
	require.False(t, token.HasScope("a", "c"))
	require.False(t, token.HasScope())
	require.False(t, (*jwtverify.Token)(nil).HasScope("a"))
}

func TestATokenBelongsToItsCaller(t *testing.T) {
	s := newSigner(t)
	v := s.verifier(t)
	text := s.sign(t, `{"alg":"ES256"}`, s.claims(t, map[string]any{"scope": "a"}))
	first, err := v.Verify(t.Context(), text)
	require.NoError(t, err)
	first.Scopes[0], first.Audience[0], first.Subject = "admin", "evil", "mallory"
	second, err := v.Verify(t.Context(), text)
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, second.Scopes)
	require.Equal(t, []string{signerAudience}, second.Audience)
	require.Equal(t, "alice", second.Subject)
}

func TestTheContextCarriesAtMostOneToken(t *testing.T) {
	_, ok := jwtverify.FromContext(t.Context())
	require.False(t, ok)
	token := &jwtverify.Token{}
	ctx := jwtverify.NewContext(t.Context(), token)
	got, ok := jwtverify.FromContext(ctx)
	require.True(t, ok)
	require.Same(t, token, got)
	_, ok = jwtverify.FromContext(jwtverify.NewContext(ctx, nil))
	require.False(t, ok, "nil hides what is outside")
	type contextKey struct{} // the name that the package's own key has
	_, ok = jwtverify.FromContext(context.WithValue(t.Context(), contextKey{}, token))
	require.False(t, ok)
}

// Tokens are taken apart in buffers that are used again.
func TestATokenKeepsWhatItSaysWhileOthersAreVerified(t *testing.T) {
	s := newSigner(t)
	v := s.verifier(t)
	claimsOf := func(n int) (sub, scope string) { return fmt.Sprintf("user-%03d", n), fmt.Sprintf("scope-%03d", n) }
	texts := make([]string, 64)
	for n := range texts {
		sub, scope := claimsOf(n)
		texts[n] = s.sign(t, `{"alg":"ES256","typ":"JWT"}`, s.claims(t, map[string]any{"sub": sub, "scope": scope}))
	}
	var work sync.WaitGroup
	for worker := range 4 {
		work.Go(func() {
			tokens := make([]*jwtverify.Token, len(texts))
			for i := range texts {
				n := (i + worker*16) % len(texts)
				tokens[n], _ = v.Verify(t.Context(), texts[n])
			}
			for n, token := range tokens {
				sub, scope := claimsOf(n)
				claims, err := jwtverify.Claims[map[string]any](token)
				if err != nil || token.Subject != sub || !slices.Equal(token.Scopes, []string{scope}) || token.Header.Type != "JWT" ||
					claims["sub"] != sub || claims["scope"] != scope {
					t.Errorf("the token of %s says %+v, %v, %v", sub, token, claims, err)
				}
			}
		})
	}
	work.Wait()
}

func TestTheLifetimeIsMeasuredFromIssuance(t *testing.T) {
	s := newSigner(t)
	v := s.verifierOf(t, func(c *jwtverify.Config) { c.MaxLifetime = time.Hour })
	verify := func(iat, exp time.Duration) jwtverify.Reason {
		_, err := v.Verify(t.Context(), s.sign(t, `{"alg":"ES256"}`, s.claims(t, map[string]any{
			"iat": signerTime.Add(iat).Unix(), "exp": signerTime.Add(exp).Unix(),
		})))
		return jwtverify.ReasonOf(err)
	}
	require.Empty(t, verify(0, time.Hour))
	require.Equal(t, jwtverify.ErrClaims, verify(0, time.Hour+time.Second))
	require.Equal(t, jwtverify.ErrClaims, verify(-time.Hour, time.Second), "though it ends soon")
}

func TestAMissingClaimIsNamed(t *testing.T) {
	s := newSigner(t)
	v := s.verifier(t)
	for _, name := range []string{"iss", "aud", "exp"} {
		var claims map[string]any
		require.NoError(t, json.Unmarshal([]byte(s.claims(t, nil)), &claims))
		delete(claims, name)
		_, err := v.Verify(t.Context(), s.sign(t, `{"alg":"ES256"}`, marshal(t, claims)))
		require.ErrorIs(t, err, jwtverify.ErrClaims)
		require.ErrorContains(t, err, name+" is missing")
	}
}

func TestScopesAreSeparatedBySpacesAlone(t *testing.T) {
	s := newSigner(t)
	token, err := s.verifier(t).Verify(t.Context(), s.sign(t, `{"alg":"ES256"}`, s.claims(t, map[string]any{
		"scope": " a\tadmin  b\u00a0admin\nadmin ", "scp": []string{"c admin"},
	})))
	require.NoError(t, err)
	require.Equal(t, []string{"a\tadmin", "b\u00a0admin\nadmin", "c admin"}, token.Scopes)
	require.False(t, token.HasScope("admin"))
}
