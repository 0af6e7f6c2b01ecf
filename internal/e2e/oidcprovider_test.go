//go:build e2e

package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
)

func TestAccessTokensOfOIDCProvider(t *testing.T) {
	as := startProvider(t, oidcProvider)
	// RS256 and PS256 share a key that names no algorithm: each API names its own.
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			config := as.preset(as.Issuer, ordersAPI)
			config.Algorithms, config.Leeway = []string{alg}, -1
			v := newVerifier(t, config)
			for _, kind := range kinds {
				t.Run(kind, func(t *testing.T) { accessTokens(t, as, v, startAPI(t, v, kind), alg) })
			}
		})
	}
}

// accessTokens plays one algorithm's tokens to one API.
func accessTokens(t *testing.T, as *provider, v *jwtverify.Verifier, api api, alg string) {
	client := strings.ToLower(alg)
	t.Run("the right token opens the API and its claims are read", func(t *testing.T) {
		token := as.mustToken(t, client, ordersAPI, "read:orders write:orders")
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			res := api.must(t, method, token)
			require.Equal(t, http.StatusOK, res.status, "%s: %s", method, res.challenge)
			var got seen
			require.NoError(t, json.Unmarshal(res.body, &got))
			require.NotEmpty(t, got.JTI)
			require.NotEmpty(t, got.Header.KeyID)
			require.Equal(t, seen{
				Issuer: as.Issuer, Subject: client, ClientID: client,
				Audience: []string{ordersAPI}, Scopes: []string{"read:orders", "write:orders"},
				Header: jwtverify.Header{Algorithm: alg, KeyID: got.Header.KeyID, Type: "at+jwt"},
				Tenant: "acme", JTI: got.JTI,
			}, got)
		}
	})

	t.Run("no token is asked for one", func(t *testing.T) {
		res := api.must(t, http.MethodGet, "")
		require.Equal(t, http.StatusUnauthorized, res.status)
		require.Regexp(t, `^Bearer\b`, res.challenge)
		require.NotContains(t, res.challenge, "error=")
	})

	t.Run("a token without the scope is told which", func(t *testing.T) {
		token := as.mustToken(t, client, ordersAPI, "read:orders")
		require.Equal(t, http.StatusOK, api.must(t, http.MethodGet, token).status)
		res := api.must(t, http.MethodPost, token)
		require.Equal(t, http.StatusForbidden, res.status)
		require.Contains(t, res.challenge, `error="insufficient_scope"`)
		require.Contains(t, res.challenge, `scope="write:orders"`)
	})

	t.Run("a token signed otherwise is refused", func(t *testing.T) {
		other := map[string]string{"RS256": "ps256", "PS256": "rs256", "ES256": "rs256", "EdDSA": "es256"}[alg]
		token := as.mustToken(t, other, ordersAPI, "read:orders")
		requireInvalid(t, v, api, token, jwtverify.ErrAlgorithm)
	})

	badTokens(t, as, v, api, client)
}
