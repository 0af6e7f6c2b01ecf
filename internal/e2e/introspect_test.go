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
	_, err := as.post(t.Context(), as.revocation, client, url.Values{"token": {token}, "token_type_hint": {"access_token"}}, nil)
	require.NoError(t, err)
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

// What HybridConfig.IntrospectJWTs is for. The API's client is one of the project that the
// token is for, as ZITADEL wants it.
func TestAJWTOfZitadelThatIsIntrospectedTooEndsWithItsRevocationOrItsSession(t *testing.T) {
	const ttl = time.Second
	rp := startRelyingParty(t)
	as := startProvider(t, zitadelOP, "--rp", rp.url)
	config := as.preset(as.Issuer, ordersAPI)
	config.Leeway = -1
	v := newVerifier(t, config)
	i := newIntrospector(t, as, introspect.Config{ClientID: "rs", ClientSecret: clientSecret, Roles: config.Roles, IssuerRequired: true, TTL: ttl})
	h, err := introspect.NewHybrid(introspect.HybridConfig{JWT: v, Opaque: i, IntrospectJWTs: true})
	require.NoError(t, err)

	for name, end := range map[string]func(t *testing.T, user *http.Client, g granted){
		"revoked": func(t *testing.T, _ *http.Client, g granted) { revoke(t, as, "web", g.AccessToken) },
		"logged out": func(t *testing.T, user *http.Client, g granted) {
			res, body := visit(t, user, http.MethodGet, as.Issuer+"end_session?id_token_hint="+g.IDToken, nil)
			require.Equal(t, "/logged-out 200 OK", res.Request.URL.Path+" "+res.Status, body)
		},
	} {
		for _, kind := range kinds {
			t.Run(name+", "+kind, func(t *testing.T) {
				api, user := startAPI(t, h, kind), browser(t)
				g := rp.login(t, user, as, "")
				before := i.Status().Exchanges
				res := api.must(t, http.MethodGet, g.AccessToken)
				require.Equal(t, http.StatusOK, res.status, res.challenge)
				var got seen
				require.NoError(t, json.Unmarshal(res.body, &got))
				require.Equal(t, seen{
					Issuer: as.Issuer, Subject: "id1", ClientID: "web", Audience: []string{"web", ordersAPI}, Roles: []string{"orders.reader"},
					Header: jwtverify.Header{Algorithm: "RS256", KeyID: got.Header.KeyID, Type: "JWT"}, JTI: got.JTI,
				}, got)
				require.Equal(t, before+1, i.Status().Exchanges, "both were asked")

				end(t, user, g)
				ended := time.Now()
				for api.must(t, http.MethodGet, g.AccessToken).status == http.StatusOK {
					require.Less(t, time.Since(ended), ttl+10*time.Second, "the token lives on")
					time.Sleep(10 * time.Millisecond)
				}
				res = api.must(t, http.MethodGet, g.AccessToken)
				require.Equal(t, http.StatusUnauthorized, res.status)
				require.Contains(t, res.challenge, `error="invalid_token"`)
				_, err := h.Verify(t.Context(), g.AccessToken)
				require.ErrorIs(t, err, jwtverify.ErrInactive)
				_, err = v.Verify(t.Context(), g.AccessToken)
				require.NoError(t, err, "a Verifier cannot know")
			})
		}
	}

	t.Run("what the Verifier refuses is not shown to the endpoint", func(t *testing.T) {
		as.order(t, "ttl 1")
		expired := rp.login(t, browser(t), as, "").AccessToken
		as.order(t, "ttl 300")
		good := rp.login(t, browser(t), as, "").AccessToken
		time.Sleep(time.Second + 10*time.Millisecond)
		before := i.Status().Exchanges
		head, rest, _ := strings.Cut(good, ".")
		payload, signature, _ := strings.Cut(rest, ".")
		for name, c := range map[string]struct {
			token  string
			reason jwtverify.Reason
		}{
			"expired":                 {expired, jwtverify.ErrExpired},
			"another's signature":     {head + "." + payload + "." + expired[strings.LastIndexByte(expired, '.')+1:], jwtverify.ErrSignature},
			"other claims":            {head + "." + payload[:len(payload)-8] + "." + signature, jwtverify.ErrMalformed},
			"unsigned":                {base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + rest, jwtverify.ErrAlgorithm},
			"of a service, elsewhere": {as.mustToken(t, "svc", billingAPI, "openid"), jwtverify.ErrAudience},
		} {
			for _, kind := range kinds {
				require.Equal(t, http.StatusUnauthorized, startAPI(t, h, kind).must(t, http.MethodGet, c.token).status, name)
			}
			_, err := h.Verify(t.Context(), c.token)
			require.ErrorIs(t, err, c.reason, name)
		}
		require.Equal(t, before, i.Status().Exchanges)
		_, err := h.Verify(t.Context(), good)
		require.NoError(t, err)
		require.Equal(t, before+1, i.Status().Exchanges)
	})

	t.Run("a client of another project is told nothing", func(t *testing.T) {
		elsewhere := newIntrospector(t, as, introspect.Config{ClientID: "rs-billing", ClientSecret: clientSecret})
		h, err := introspect.NewHybrid(introspect.HybridConfig{JWT: v, Opaque: elsewhere, IntrospectJWTs: true})
		require.NoError(t, err)
		_, err = h.Verify(t.Context(), rp.login(t, browser(t), as, "").AccessToken)
		require.ErrorIs(t, err, jwtverify.ErrInactive)
	})
	require.Zero(t, i.Status().Failures)
}
