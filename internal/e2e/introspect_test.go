//go:build e2e

package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/introspect"
)

// The ways in which an API authenticates at the provider.
func introspectors(t *testing.T) (key string, configs map[string]introspect.Config) {
	t.Helper()
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	point, err := signer.PublicKey.Bytes() // SEC 1: 4, x, y
	require.NoError(t, err)
	b64 := base64.RawURLEncoding.EncodeToString
	jwk, err := json.Marshal(map[string]string{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "rs-1", "x": b64(point[1:33]), "y": b64(point[33:]),
	})
	require.NoError(t, err)
	return string(jwk), map[string]introspect.Config{
		"client_secret_basic": {ClientID: "rs", ClientSecret: clientSecret},
		"client_secret_post":  {ClientID: "rs-post", ClientSecret: clientSecret, SecretInForm: true},
		"private_key_jwt":     {ClientID: "rs-key", ClientKey: signer, KeyID: "rs-1"},
		"signed answers":      {ClientID: "rs-signed", ClientSecret: clientSecret, Signed: true},
	}
}

func newIntrospector(t *testing.T, as *provider, c introspect.Config) *introspect.Introspector {
	t.Helper()
	c.Issuer = as.Issuer
	if c.Audience == nil {
		c.Audience = []string{ordersAPI}
	}
	i, err := introspect.New(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, i.Close()) })
	return i
}

// revoke ends a token at the provider's endpoint of RFC 7009.
func revoke(t *testing.T, as *provider, client, token string) {
	t.Helper()
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, as.Issuer+"/token/revocation", strings.NewReader(form.Encode()))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(client, clientSecret)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
}

func TestOpaqueTokensOfOIDCProviderAreGoodUntilTheyAreRevoked(t *testing.T) {
	const ttl = time.Second
	key, configs := introspectors(t)
	as := startProvider(t, oidcProvider, "--rs-key", key)
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			config.TTL = ttl
			i := newIntrospector(t, as, config)
			for _, kind := range kinds {
				t.Run(kind, func(t *testing.T) {
					api := startAPI(t, i, kind)
					token := as.mustToken(t, "opaque", ordersAPI, "read:orders")
					require.NotContains(t, token, ".")
					res := api.must(t, http.MethodGet, token)
					require.Equal(t, http.StatusOK, res.status, res.challenge)
					var got seen
					require.NoError(t, json.Unmarshal(res.body, &got))
					require.Equal(t, seen{
						Issuer: as.Issuer, ClientID: "opaque", Audience: []string{ordersAPI}, Scopes: []string{"read:orders"}, Tenant: "acme",
					}, got)
					require.Equal(t, http.StatusForbidden, api.must(t, http.MethodPost, token).status)
					require.Equal(t, http.StatusUnauthorized, api.must(t, http.MethodGet, token+"x").status)
					for range 10 {
						require.Equal(t, http.StatusOK, api.must(t, http.MethodGet, token).status)
					}

					before := i.Status().Exchanges
					revoke(t, as, "opaque", token)
					revoked := time.Now()
					for api.must(t, http.MethodGet, token).status == http.StatusOK {
						require.Less(t, time.Since(revoked), ttl+10*time.Second, "a revoked token lives on")
						time.Sleep(10 * time.Millisecond)
					}
					res = api.must(t, http.MethodGet, token)
					require.Equal(t, http.StatusUnauthorized, res.status)
					require.Contains(t, res.challenge, `error="invalid_token"`)
					_, err := i.Verify(t.Context(), token)
					require.ErrorIs(t, err, jwtverify.ErrInactive)
					require.LessOrEqual(t, i.Status().Exchanges-before, uint64(2), "asked again when TTL has passed, and no more often")
					t.Logf("refused %v after it was revoked", time.Since(revoked).Round(time.Millisecond))
				})
			}
			require.Zero(t, i.Status().Failures)
		})
	}
}

func TestAnOpaqueTokenForAnotherAPIIsRefused(t *testing.T) {
	as := startProvider(t, oidcProvider)
	i := newIntrospector(t, as, introspect.Config{ClientID: "rs", ClientSecret: clientSecret})
	_, err := i.Verify(t.Context(), as.mustToken(t, "opaque", billingAPI, "read:billing"))
	require.ErrorIs(t, err, jwtverify.ErrAudience)
}

func TestAWrongSecretIsAnOutageOfTheAPIAndNotABadToken(t *testing.T) {
	as := startProvider(t, oidcProvider)
	i := newIntrospector(t, as, introspect.Config{ClientID: "rs", ClientSecret: "wrong"})
	api := startAPI(t, i, "net/http")
	require.Equal(t, http.StatusServiceUnavailable, api.must(t, http.MethodGet, as.mustToken(t, "opaque", ordersAPI, "read:orders")).status)
	require.Contains(t, i.Status().LastError, "401")
}

func TestJWTsAndOpaqueTokensAtOneAPI(t *testing.T) {
	as := startProvider(t, oidcProvider)
	v := newVerifier(t, jwtverify.Config{Issuer: as.Issuer, Audience: []string{ordersAPI}})
	i := newIntrospector(t, as, introspect.Config{ClientID: "rs", ClientSecret: clientSecret})
	h, err := introspect.NewHybrid(introspect.HybridConfig{JWT: v, Opaque: i})
	require.NoError(t, err)
	for _, kind := range kinds {
		api := startAPI(t, h, kind)
		for _, client := range []string{"opaque", "es256"} {
			token := as.mustToken(t, client, ordersAPI, "read:orders")
			require.Equal(t, http.StatusOK, api.must(t, http.MethodGet, token).status, "%s, %s", kind, client)
		}
		jwt := as.mustToken(t, "es256", billingAPI, "read:billing")
		before := i.Status().Exchanges
		require.Equal(t, http.StatusUnauthorized, api.must(t, http.MethodGet, jwt).status)
		require.Equal(t, before, i.Status().Exchanges, "what the Verifier refused is not introspected")
	}

	// This provider introspects no JWT: where both are asked for it is an outage, and a
	// fault of the Config's, but no bad token.
	strict, err := introspect.NewHybrid(introspect.HybridConfig{JWT: v, Opaque: i, IntrospectJWTs: true})
	require.NoError(t, err)
	_, err = strict.Verify(t.Context(), as.mustToken(t, "es256", ordersAPI, "read:orders"))
	require.ErrorIs(t, err, jwtverify.ErrUnavailable)
	require.Contains(t, i.Status().LastError, "400")
}
