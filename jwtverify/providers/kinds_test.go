package providers_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// kinds are the kinds of tokens that an issuer may sign with one and the same key,
// beside the one that a preset takes, with shapes that any issuer's may have. An
// issuer's own shapes are samples with that Kind in its golden file: one that is
// among the accepted cannot be told apart, and its preset says so.
var kinds = map[string][]shape{
	id: {
		{"the least that there can be, typ is JWT", map[string]any{"typ": "JWT"}, nil, idToken, notOurs},
		{"the least that there can be, no typ", map[string]any{"typ": nil}, nil, idToken, notOurs},
	},
	access: {
		{"RFC 9068", map[string]any{"typ": "at+jwt"}, nil, nil, byType},
		{"RFC 9068, long form", map[string]any{"typ": "application/at+jwt"}, nil, nil, byType},
	},
	"refresh": {
		{"typ in the claims, typ is JWT", map[string]any{"typ": "JWT"}, map[string]any{"typ": "Refresh"}, nil, byType},
		{"typ in the claims, no typ", map[string]any{"typ": nil}, map[string]any{"typ": "Refresh"}, nil, byType},
		{"token_use, typ is JWT", map[string]any{"typ": "JWT"}, map[string]any{"token_use": "refresh"}, nil, byType},
		{"token_use, no typ", map[string]any{"typ": nil}, map[string]any{"token_use": "refresh"}, nil, byType},
	},
	"logout": {
		{"Back-Channel Logout", map[string]any{"typ": "logout+jwt"}, logout, nil, byType},
		{"as before it had a typ", map[string]any{"typ": "JWT"}, logout, nil, byType},
		{"as before it had a typ, none", map[string]any{"typ": nil}, logout, nil, byType},
	},
	"security event": {
		{"RFC 8417", map[string]any{"typ": "secevent+jwt"}, event, nil, byType},
		{"typ is JWT", map[string]any{"typ": "JWT"}, event, nil, byType},
		{"no typ", map[string]any{"typ": nil}, event, nil, byType},
	},
	"DPoP proof": {
		{"RFC 9449", map[string]any{"typ": "dpop+jwt"}, proof, nil, byType},
		{"typ is JWT", map[string]any{"typ": "JWT"}, proof, nil, byType},
		{"no typ", map[string]any{"typ": nil}, proof, nil, byType},
	},
	"client assertion": {
		{"with its typ", map[string]any{"typ": "client-authentication+jwt"}, nil, nil, byType},
		{"RFC 7523", map[string]any{"typ": "JWT"}, map[string]any{"iss": "the-client", "sub": "the-client"}, nil,
			[]jwtverify.Reason{jwtverify.ErrIssuer, jwtverify.ErrType}},
		{"RFC 7523, no typ", map[string]any{"typ": nil}, map[string]any{"iss": "the-client", "sub": "the-client"}, nil,
			[]jwtverify.Reason{jwtverify.ErrIssuer, jwtverify.ErrType}},
	},
	"introspection answer": {
		{"RFC 9701", map[string]any{"typ": "token-introspection+jwt"}, introspection, nil, byType},
		{"typ is JWT", map[string]any{"typ": "JWT"}, introspection, nil, byType},
		{"no typ", map[string]any{"typ": nil}, introspection, nil, byType},
	},
}

// shape is how it differs from the preset's first accepted token, so that all that
// the preset asks for is right, but for the kind.
type shape struct {
	name           string
	header, claims map[string]any
	only           []string // the claims that are left; nil: all
	reasons        []jwtverify.Reason
}

var (
	byType  = []jwtverify.Reason{jwtverify.ErrType}
	notOurs = []jwtverify.Reason{jwtverify.ErrType, jwtverify.ErrClaims, jwtverify.ErrRejected}

	// what OpenID Connect Core §2 requires, without any mark of an ID token
	idToken = []string{"iss", "aud", "sub", "iat", "exp"}

	logout = map[string]any{"sid": "08a5019c", "events": map[string]any{
		"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}
	event = map[string]any{"events": map[string]any{
		"https://schemas.openid.net/secevent/risc/event-type/account-disabled": map[string]any{"reason": "hijacking"}}}
	proof         = map[string]any{"htm": "GET", "htu": "https://api.example.com/orders"}
	introspection = map[string]any{"token_introspection": map[string]any{"active": true}}
)

func TestNoPresetTakesAnotherKindOfToken(t *testing.T) {
	for name, p := range presets {
		t.Run(name, func(t *testing.T) {
			g := load(t, name)
			v := p.verifier(t)
			for kind, shapes := range kinds {
				if kind == p.takes {
					continue
				}
				for _, shape := range shapes {
					t.Run(kind+", "+shape.name, func(t *testing.T) {
						claims := changed(g.Accept[0].Claims, shape.claims)
						maps.DeleteFunc(claims, func(claim string, _ any) bool {
							return shape.only != nil && !slices.Contains(shape.only, claim) && claim != p.config().AudienceClaim
						})
						tok, err := v.Verify(t.Context(), sign(t, changed(g.Accept[0].Header, shape.header), claims))
						require.Nil(t, tok)
						require.Contains(t, shape.reasons, jwtverify.ReasonOf(err), "%v", err)
					})
				}
			}
			t.Run("refresh, opaque", func(t *testing.T) {
				_, err := v.Verify(t.Context(), "v1.MRrtXaVyVHj6Yw5o4Q")
				require.ErrorIs(t, err, jwtverify.ErrMalformed)
			})
		})
	}
}

// TestEveryGoldenFileHasTheKindThatIsEasilyMistaken holds that an ID token, and
// where ID tokens are taken an access token, was tried in the issuer's own shape.
func TestEveryGoldenFileHasTheKindThatIsEasilyMistaken(t *testing.T) {
	for name, p := range presets {
		other := id
		if p.takes == id {
			other = access
		}
		g := load(t, name)
		all := slices.Concat(g.Accept, g.Reject)
		require.True(t, slices.ContainsFunc(all, func(s sample) bool { return s.Kind == other }), "%s: no sample of the kind %q", name, other)
		for _, s := range all {
			require.True(t, s.Kind == "" || len(kinds[s.Kind]) > 0 && s.Kind != p.takes, "%s: %s: kind is %q", name, s.Name, s.Kind)
		}
	}
}

func TestNoPresetTakesWhatIsNotForIt(t *testing.T) {
	for name, p := range presets {
		t.Run(name, func(t *testing.T) {
			g := load(t, name)
			v := p.verifier(t)
			c := p.config()
			audience := "aud"
			if c.AudienceClaim != "" {
				audience = c.AudienceClaim
			}
			for wrong, s := range map[string]struct {
				header, claims map[string]any
				reason         jwtverify.Reason
			}{
				"another issuer":       {nil, map[string]any{"iss": "https://attacker.example.com"}, jwtverify.ErrIssuer},
				"no issuer":            {nil, map[string]any{"iss": nil}, jwtverify.ErrClaims},
				"another audience":     {nil, map[string]any{audience: "https://other.example.com"}, jwtverify.ErrAudience},
				"an empty audience":    {nil, map[string]any{audience: ""}, jwtverify.ErrAudience},
				"no audience":          {nil, map[string]any{audience: nil}, jwtverify.ErrClaims},
				"expired":              {nil, map[string]any{"exp": "$now-31"}, jwtverify.ErrExpired},
				"no end":               {nil, map[string]any{"exp": nil}, jwtverify.ErrClaims},
				"no signature":         {map[string]any{"alg": "none"}, nil, jwtverify.ErrAlgorithm},
				"a secret's signature": {map[string]any{"alg": "HS256"}, nil, jwtverify.ErrAlgorithm},
				"a made-up type":       {map[string]any{"typ": "made-up"}, nil, jwtverify.ErrType},
			} {
				t.Run(wrong, func(t *testing.T) {
					_, err := v.Verify(t.Context(), sign(t, changed(g.Accept[0].Header, s.header), changed(g.Accept[0].Claims, s.claims)))
					require.Equal(t, string(s.reason), string(jwtverify.ReasonOf(err)), "%v", err)
				})
			}
		})
	}
}
