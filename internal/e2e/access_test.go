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

// badTokens plays the client's tokens to an API, each with one thing wrong. The
// verifier has no leeway.
func badTokens(t *testing.T, as *provider, v *jwtverify.Verifier, api api, client string) {
	t.Helper()
	t.Run("a token for another API is refused", func(t *testing.T) {
		token := as.mustToken(t, client, billingAPI, "read:billing")
		requireInvalid(t, v, api, token, jwtverify.ErrAudience)
	})

	t.Run("an expired token is refused", func(t *testing.T) {
		as.order(t, "ttl 1")
		token := as.mustToken(t, client, ordersAPI, "read:orders")
		as.order(t, "ttl 300")
		// It was issued at most now, and exp is a whole second.
		time.Sleep(time.Second + 10*time.Millisecond)
		requireInvalid(t, v, api, token, jwtverify.ErrExpired)
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
	accepted, err := v.Verify(t.Context(), token)
	require.Nil(t, accepted)
	require.ErrorIs(t, err, reason)
	res := api.must(t, http.MethodGet, token)
	require.Equal(t, http.StatusUnauthorized, res.status)
	require.Contains(t, res.challenge, `error="invalid_token"`)
}

// read gets a token and says what the API's handler learnt from it.
func read(t *testing.T, as *provider, api api, scope string) seen {
	t.Helper()
	res := api.must(t, http.MethodGet, as.mustToken(t, as.client, ordersAPI, scope))
	require.Equal(t, http.StatusOK, res.status, res.challenge)
	var got seen
	require.NoError(t, json.Unmarshal(res.body, &got))
	require.NotEmpty(t, got.JTI)
	require.NotEmpty(t, got.Header.KeyID)
	return got
}

func TestAccessTokensOfZitadel(t *testing.T) {
	as := startProvider(t, zitadelOP)
	config := as.preset(as.Issuer, ordersAPI)
	config.Leeway = -1
	v := newVerifier(t, config)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			api := startAPI(t, v, kind)
			got := read(t, as, api, "openid")
			require.Equal(t, seen{
				Issuer: as.Issuer, Subject: "svc", ClientID: "svc",
				Audience: []string{"svc", ordersAPI}, Roles: []string{"orders.reader"},
				Header: jwtverify.Header{Algorithm: "RS256", KeyID: got.Header.KeyID, Type: "JWT"},
				JTI:    got.JTI,
			}, got)

			g, err := as.grant(t.Context(), "svc", url.Values{
				"grant_type": {"client_credentials"}, "scope": {"urn:zitadel:iam:org:project:id:" + ordersAPI + ":aud"},
			})
			require.NoError(t, err)
			require.Equal(t, http.StatusForbidden, api.must(t, http.MethodGet, g.AccessToken).status, "without the role")
		})
	}
	badTokens(t, as, v, startAPI(t, v, "net/http"), as.client)
}

func TestAccessTokensOfBetterAuth(t *testing.T) {
	as := startProvider(t, betterAuth)
	config := as.preset(as.Issuer, ordersAPI)
	config.Leeway = -1
	v := newVerifier(t, config)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			api := startAPI(t, v, kind)
			got := read(t, as, api, "read:orders write:orders")
			require.Equal(t, seen{
				Issuer: as.Issuer, Subject: "svc", ClientID: "svc",
				Audience: []string{ordersAPI}, Scopes: []string{"read:orders", "write:orders"},
				Header: jwtverify.Header{Algorithm: "EdDSA", KeyID: got.Header.KeyID, Type: "at+jwt"},
				Tenant: "acme", JTI: got.JTI,
			}, got)
		})
	}
	badTokens(t, as, v, startAPI(t, v, "net/http"), as.client)
}

// better-auth has no key for an algorithm before the first token needs one.
func TestAKeyThatIsMadeForTheFirstTokenIsFound(t *testing.T) {
	as := startProvider(t, betterAuth)
	v := newVerifier(t, as.preset(as.Issuer, billingAPI))
	require.Len(t, v.Status().Keys.Keys, 1)
	for range 2 {
		token, err := v.Verify(t.Context(), as.mustToken(t, as.client, billingAPI, "read:billing"))
		require.NoError(t, err)
		require.Equal(t, "ES256", token.Header.Algorithm)
		require.Len(t, v.Status().Keys.Keys, 2)
		require.EqualValues(t, 2, v.Status().Keys.Fetches)
	}
}
