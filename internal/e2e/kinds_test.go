//go:build e2e

package e2e_test

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// A login at a real server brings its access token, which is taken, and other
// kinds of token, which are signed with the same keys and refused. Only the kind
// is wrong with them as far as this can be arranged: the API goes by the client's
// name too, which is what their aud says.
func TestOfAllKindsThatARealServerSignsOnlyAccessTokensAreTaken(t *testing.T) {
	// Nothing in such a token tells it from an access token that does not keep to
	// RFC 9068 either, so that without a preset it is taken.
	const taken jwtverify.Reason = "taken"
	type kind struct {
		token  string
		reason jwtverify.Reason // by the preset
		// where the Config is no preset, if that differs
		byDefault jwtverify.Reason
	}
	type login struct {
		as   *provider
		rp   *relyingParty
		user *http.Client
		granted
	}
	for _, test := range []struct {
		server *server
		plain  jwtverify.Reason // of an ID token that has no nonce, by default
		more   func(*testing.T, login) map[string]kind
	}{
		{oidcProvider, taken, func(t *testing.T, in login) map[string]kind {
			introspection, err := in.as.post(t.Context(), "/token/introspection", "web", url.Values{"token": {in.RefreshToken}},
				http.Header{"Accept": {"application/token-introspection+jwt"}})
			require.NoError(t, err)
			_, page := visit(t, in.user, http.MethodGet, in.as.Issuer+"/session/end?id_token_hint="+in.IDToken, nil)
			hidden := regexp.MustCompile(`name="xsrf" value="([^"]+)"`).FindStringSubmatch(page)
			require.NotNil(t, hidden, page)
			visit(t, in.user, http.MethodPost, in.as.Issuer+"/session/end/confirm", url.Values{"xsrf": {hidden[1]}, "logout": {"yes"}})
			return map[string]kind{
				"introspection answer": {token: string(introspection), reason: jwtverify.ErrType},
				"logout token":         {token: in.rp.logoutToken(t), reason: jwtverify.ErrType},
				"opaque token":         {token: in.as.mustToken(t, "es256", "", ""), reason: jwtverify.ErrMalformed},
			}
		}},
		{zitadelOP, jwtverify.ErrType, func(t *testing.T, in login) map[string]kind {
			const urn = "urn:ietf:params:oauth:"
			exchanged, err := in.as.post(t.Context(), in.as.server.token, "web", url.Values{
				"grant_type": {urn + "grant-type:token-exchange"}, "requested_token_type": {urn + "token-type:id_token"},
				"subject_token": {in.AccessToken}, "subject_token_type": {urn + "token-type:access_token"},
				"audience": {ordersAPI}, "scope": {"openid"},
			}, nil)
			require.NoError(t, err)
			var answer granted
			require.NoError(t, json.Unmarshal(exchanged, &answer))
			return map[string]kind{
				// RFC 8693: a client may name any audience, the API itself too.
				"ID token by exchange": {answer.AccessToken, jwtverify.ErrType, taken},
				// What the package calls opaque is a JWE, in five parts. It has no logout tokens.
				"opaque token": {token: in.as.mustToken(t, "svc-opaque", ordersAPI, "openid"), reason: jwtverify.ErrMalformed},
			}
		}},
		{betterAuth, jwtverify.ErrType, func(t *testing.T, in login) map[string]kind {
			_, body := visit(t, in.user, http.MethodGet, in.as.Issuer+"/token", nil)
			var session struct{ Token string }
			require.NoError(t, json.Unmarshal([]byte(body), &session), body)
			visit(t, in.user, http.MethodPost, in.as.Issuer+"/sign-out", nil)
			return map[string]kind{
				// For whoever is logged in, and of an issuer without the path.
				"session token": {session.Token, jwtverify.ErrType, jwtverify.ErrIssuer},
				"logout token":  {token: in.rp.logoutToken(t), reason: jwtverify.ErrType},
				"opaque token":  {token: in.as.mustToken(t, "svc", "", "read:orders"), reason: jwtverify.ErrMalformed},
			}
		}},
	} {
		t.Run(test.server.name, func(t *testing.T) {
			rp := startRelyingParty(t)
			in := login{as: startProvider(t, test.server, "--rp", rp.url), rp: rp, user: browser(t)}
			plain := rp.login(t, in.user, in.as, "")
			in.granted = rp.login(t, in.user, in.as, "a nonce")
			others := test.more(t, in)
			others["ID token"] = kind{token: in.IDToken, reason: jwtverify.ErrType}
			others["ID token without a nonce"] = kind{plain.IDToken, jwtverify.ErrType, test.plain}
			others["refresh token"] = kind{token: in.RefreshToken, reason: jwtverify.ErrMalformed}

			t.Run("by the preset", func(t *testing.T) {
				v := newVerifier(t, in.as.preset(in.as.Issuer, ordersAPI, "web"))
				api := startAPI(t, v, "net/http")
				token, err := v.Verify(t.Context(), in.AccessToken)
				require.NoError(t, err)
				require.Equal(t, "web", token.ClientID)
				require.NotEqual(t, "web", token.Subject)
				for name, other := range others {
					t.Run(name, func(t *testing.T) {
						require.NotEmpty(t, other.token)
						requireInvalid(t, v, api, other.token, other.reason)
					})
				}
			})
			t.Run("by default", func(t *testing.T) {
				v := newVerifier(t, jwtverify.Config{Issuer: in.as.Issuer, Audience: []string{ordersAPI, "web"}})
				_, err := v.Verify(t.Context(), in.AccessToken)
				require.NoError(t, err)
				for name, other := range others {
					_, err := v.Verify(t.Context(), other.token)
					if reason := cmp.Or(other.byDefault, other.reason); reason != taken {
						require.ErrorIs(t, err, reason, name)
					} else {
						require.NoError(t, err, "%s: it can be told now, so say so here and in the documentation", name)
					}
				}
			})
		})
	}
}
