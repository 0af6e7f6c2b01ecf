//go:build e2e

package e2e_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
)

func TestAccessTokensOfOIDCProvider(t *testing.T) {
	as := startProvider(t)
	// RS256 and PS256 share a key that names no algorithm: each API names its own.
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			v := newVerifier(t, jwtverify.Config{
				Issuer:     as.Issuer,
				Audience:   []string{ordersAPI},
				Algorithms: []string{alg},
				Types:      []string{"at+jwt"},
				Leeway:     -1,
			})
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

	t.Run("a token for another API is refused", func(t *testing.T) {
		token := as.mustToken(t, client, billingAPI, "read:billing")
		requireInvalid(t, v, api, token, jwtverify.ErrAudience)
	})

	t.Run("a token without the scope is told which", func(t *testing.T) {
		token := as.mustToken(t, client, ordersAPI, "read:orders")
		require.Equal(t, http.StatusOK, api.must(t, http.MethodGet, token).status)
		res := api.must(t, http.MethodPost, token)
		require.Equal(t, http.StatusForbidden, res.status)
		require.Contains(t, res.challenge, `error="insufficient_scope"`)
		require.Contains(t, res.challenge, `scope="write:orders"`)
	})

	t.Run("an expired token is refused", func(t *testing.T) {
		as.order(t, "ttl 1")
		token := as.mustToken(t, client, ordersAPI, "read:orders")
		as.order(t, "ttl 300")
		// It was issued at most now, and exp is a whole second.
		time.Sleep(time.Second + 10*time.Millisecond)
		requireInvalid(t, v, api, token, jwtverify.ErrExpired)
	})

	t.Run("a token signed otherwise is refused", func(t *testing.T) {
		other := map[string]string{"RS256": "ps256", "PS256": "rs256", "ES256": "rs256", "EdDSA": "es256"}[alg]
		token := as.mustToken(t, other, ordersAPI, "read:orders")
		requireInvalid(t, v, api, token, jwtverify.ErrAlgorithm)
	})

	t.Run("a token whose signature was touched is refused", func(t *testing.T) {
		token := as.mustToken(t, client, ordersAPI, "read:orders")
		dot := strings.LastIndexByte(token, '.')
		first := "A"
		if token[dot+1] == 'A' {
			first = "B"
		}
		requireInvalid(t, v, api, token[:dot+1]+first+token[dot+2:], jwtverify.ErrSignature)
	})
}

// requireInvalid holds the API's answer and the reason for the operator together.
func requireInvalid(t *testing.T, v *jwtverify.Verifier, api api, token string, reason jwtverify.Reason) {
	t.Helper()
	res := api.must(t, http.MethodGet, token)
	require.Equal(t, http.StatusUnauthorized, res.status)
	require.Contains(t, res.challenge, `error="invalid_token"`)
	accepted, err := v.Verify(t.Context(), token)
	require.Nil(t, accepted)
	require.ErrorIs(t, err, reason)
}

// An issuer with a path has two metadata documents in two places: OpenID's after
// the path and RFC 8414's before it. Each must do alone.
func TestAnIssuerWithAPathIsFoundByEitherDocument(t *testing.T) {
	documents := map[string]string{
		"openid-configuration":       "/tenant/a/.well-known/openid-configuration",
		"oauth-authorization-server": "/.well-known/oauth-authorization-server/tenant/a",
	}
	for document := range documents {
		t.Run(document, func(t *testing.T) {
			as := startProvider(t, "--path", "/tenant/a", "--metadata", document)
			issuer, err := url.Parse(as.Issuer)
			require.NoError(t, err)
			require.Equal(t, "/tenant/a", issuer.Path)
			for name, path := range documents {
				want := http.StatusNotFound
				if name == document {
					want = http.StatusOK
				}
				res, err := call(t.Context(), http.MethodGet, "http://"+issuer.Host+path, "")
				require.NoError(t, err)
				require.Equal(t, want, res.status, path)
			}

			v := newVerifier(t, jwtverify.Config{Issuer: as.Issuer, Audience: []string{ordersAPI}})
			api := startAPI(t, v, "net/http")
			for _, client := range []string{"rs256", "ps256", "es256", "eddsa"} {
				token := as.mustToken(t, client, ordersAPI, "read:orders")
				res := api.must(t, http.MethodGet, token)
				require.Equal(t, http.StatusOK, res.status, "%s: %s", client, res.challenge)
			}
		})
	}
}
