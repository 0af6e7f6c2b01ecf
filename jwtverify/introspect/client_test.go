package introspect_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/introspect"
)

// RFC 6749 §2.3.1: identifier and secret are form-encoded before HTTP's Basic scheme
// encodes them once more.
func TestASecretIsSentByTheMethodThatTheConfigNames(t *testing.T) {
	e, i := world(t)
	_, err := i.Verify(t.Context(), opaque)
	require.NoError(t, err)
	r, form := e.request()
	user, password, ok := r.BasicAuth()
	require.True(t, ok)
	for encoded, want := range map[string]string{user: clientID, password: secret} {
		got, err := url.QueryUnescape(encoded)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	require.Equal(t, "orders+api%3A1", user)
	require.Len(t, form, 2, "no credential but in the header")

	e, i = world(t, func(c *introspect.Config) { c.SecretInForm = true })
	_, err = i.Verify(t.Context(), opaque)
	require.NoError(t, err)
	r, form = e.request()
	require.Empty(t, r.Header.Get("Authorization"))
	require.Equal(t, []string{clientID}, form["client_id"])
	require.Equal(t, []string{secret}, form["client_secret"])
}

func signers(t *testing.T) map[string]crypto.Signer {
	all := map[string]crypto.Signer{}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for _, alg := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"} {
		all[alg] = key
	}
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		all[alg], err = ecdsa.GenerateKey(curve, rand.Reader)
		require.NoError(t, err)
	}
	_, all["EdDSA"], err = ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	all["Ed25519"] = all["EdDSA"]
	return all
}

// RFC 7523 §3: what an authorization server checks of an assertion.
func TestAnAssertionIsOneThatAnAuthorizationServerTakes(t *testing.T) {
	for alg, key := range signers(t) {
		t.Run(alg, func(t *testing.T) {
			e, i := world(t, func(c *introspect.Config) {
				c.ClientSecret, c.ClientKey, c.KeyAlgorithm, c.KeyID = "", key, alg, "key-1"
			})
			public, err := jwks.NewKey("key-1", alg, key.Public())
			require.NoError(t, err)
			ids := map[string]bool{}
			for _, token := range []string{"one", "two"} {
				_, err = i.Verify(t.Context(), token)
				require.NoError(t, err)
				r, form := e.request()
				require.Empty(t, r.Header.Get("Authorization"))
				require.Empty(t, form["client_secret"])
				require.Equal(t, []string{clientID}, form["client_id"])
				require.Equal(t, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", form.Get("client_assertion_type"))
				parts := strings.Split(form.Get("client_assertion"), ".")
				require.Len(t, parts, 3)
				var segments [3][]byte
				for n := range parts {
					segments[n], err = base64.RawURLEncoding.DecodeString(parts[n])
					require.NoError(t, err)
				}
				require.NoError(t, public.Verify(alg, []byte(parts[0]+"."+parts[1]), segments[2]))
				require.JSONEq(t, `{"alg":"`+alg+`","kid":"key-1","typ":"JWT"}`, string(segments[0]))
				var claims struct {
					Iss, Sub, Aud, JTI string
					Iat, Exp           int64
				}
				require.NoError(t, json.Unmarshal(segments[1], &claims))
				require.Equal(t, []string{clientID, clientID, e.URL}, []string{claims.Iss, claims.Sub, claims.Aud})
				require.Equal(t, int64(60), claims.Exp-claims.Iat)
				require.InDelta(t, time.Now().Unix(), claims.Iat, 5)
				require.NotEmpty(t, claims.JTI)
				ids[claims.JTI] = true
			}
			require.Len(t, ids, 2, "each request has one of its own")
		})
	}
}

func TestAClientKeySignsWithTheAlgorithmOfItsKindByDefault(t *testing.T) {
	all := signers(t)
	for _, alg := range []string{"RS256", "ES256", "ES384", "ES512", "EdDSA"} {
		e, i := world(t, func(c *introspect.Config) { c.ClientSecret, c.ClientKey = "", all[alg] })
		_, err := i.Verify(t.Context(), opaque)
		require.NoError(t, err)
		_, form := e.request()
		header, _, _ := strings.Cut(form.Get("client_assertion"), ".")
		text, err := base64.RawURLEncoding.DecodeString(header)
		require.NoError(t, err)
		require.JSONEq(t, `{"alg":"`+alg+`","typ":"JWT"}`, string(text), "and no kid")
	}
}

type brokenSigner struct {
	crypto.Signer
	sign func() ([]byte, error)
}

func (b brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return b.sign() }

func TestAKeyThatDoesNotSignIsAnOutage(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for name, sign := range map[string]func() ([]byte, error){
		"an error":         func() ([]byte, error) { return nil, errors.New("the token is " + opaque) },
		"no DER":           func() ([]byte, error) { return []byte("no DER"), nil },
		"an empty one":     func() ([]byte, error) { return nil, nil },
		"a negative point": func() ([]byte, error) { return []byte{0x30, 6, 2, 1, 0xff, 2, 1, 1}, nil },
		"a panic":          func() ([]byte, error) { panic("no") },
	} {
		t.Run(name, func(t *testing.T) {
			var log journal
			e, i := world(t, func(c *introspect.Config) {
				c.ClientSecret, c.ClientKey, c.Logger = "", brokenSigner{key, sign}, log.logger()
			})
			requireReason(t, i, opaque, jwtverify.ErrUnavailable)
			require.Zero(t, e.asked.Load())
			require.NotContains(t, log.String(), "refuses to be asked", "it was not asked")
			requireNoSecret(t, log.String()+fmt.Sprintf("%+v", i.Status()))
		})
	}
}

func TestTheEndpointIsFoundInTheMetadataOfTheVeryIssuer(t *testing.T) {
	e, i := world(t, func(c *introspect.Config) { c.Endpoint = "" })
	require.Empty(t, i.Status().Endpoint)
	_, err := i.Verify(t.Context(), opaque)
	require.NoError(t, err)
	require.Equal(t, e.URL+"/introspect", i.Status().Endpoint)

	// The document names its issuer without the slash.
	other := start(t, func() introspect.Config { c := e.config(); c.Endpoint, c.Issuer = "", e.URL+"/"; return c }())
	failed := requireReason(t, other, opaque, jwtverify.ErrUnavailable)
	require.Contains(t, failed.Detail, "its issuer is not the one that was asked for")
}

// The endpoint gets tokens and this client's secret: metadata leads them nowhere that a
// name may not lead to, and never from https to plain http.
func TestMetadataLeadsATokenNowhereElse(t *testing.T) {
	for name, c := range map[string]struct{ document, detail string }{
		"no endpoint":            {`{"issuer":"ISSUER"}`, "it names no introspection_endpoint"},
		"another issuer's":       {`{"issuer":"ISSUER/","introspection_endpoint":"ISSUER/introspect"}`, "its issuer is not"},
		"the issuer twice":       {`{"issuer":"ISSUER","issuer":"ISSUER","introspection_endpoint":"ISSUER/introspect"}`, "duplicate"},
		"cloud metadata":         {`{"issuer":"ISSUER","introspection_endpoint":"https://169.254.169.254/"}`, "neither names nor documents may lead to"},
		"plain http":             {`{"issuer":"ISSUER","introspection_endpoint":"http://issuer.example/"}`, "plain http"},
		"credentials":            {`{"issuer":"ISSUER","introspection_endpoint":"https://a:b@issuer.example/"}`, "it holds credentials"},
		"a public address":       {`{"issuer":"ISSUER","introspection_endpoint":"https://192.0.2.1/"}`, "it leads from a loopback address to a public one"},
		"no URL":                 {`{"issuer":"ISSUER","introspection_endpoint":7}`, "it names no introspection_endpoint"},
		"a page":                 {`<title>Welcome</title>`, "not a JSON object"},
		"larger than any can be": {strings.Repeat(" ", 300<<10), "larger than 256 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			var s *httptest.Server
			s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet {
					t.Error("a token was sent")
				}
				_, _ = io.WriteString(w, strings.ReplaceAll(c.document, "ISSUER", s.URL))
			}))
			defer s.Close()
			i := start(t, introspect.Config{
				Issuer: s.URL, Audience: []string{audience}, ClientID: clientID, ClientSecret: secret, Logger: slog.New(slog.DiscardHandler),
			})
			failed := requireReason(t, i, opaque, jwtverify.ErrUnavailable)
			require.Contains(t, failed.Detail, c.detail)
		})
	}
}

func TestFaultsOfAConfigAreNamedAtOnce(t *testing.T) {
	_, err := introspect.New(introspect.Config{})
	for _, field := range []string{"Issuer", "Audience", "ClientID", "ClientSecret and ClientKey"} {
		require.ErrorContains(t, err, "introspect: Config."+field)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil { // where the standard library makes none
		weak = &rsa.PrivateKey{}
	}
	good := func() introspect.Config {
		return introspect.Config{
			Issuer: "https://issuer.example", Audience: []string{audience}, ClientID: "id", ClientSecret: "not-to-be-shown",
		}
	}
	i, err := introspect.New(good())
	require.NoError(t, err)
	require.NoError(t, i.Close())
	for fault, change := range map[string]func(*introspect.Config){
		`Issuer is "http://issuer.example"`:              func(c *introspect.Config) { c.Issuer = "http://issuer.example" },
		"an issuer identifier has no query":              func(c *introspect.Config) { c.Issuer += "?x=1" },
		`Endpoint is "http://issuer.example/"`:           func(c *introspect.Config) { c.Endpoint = "http://issuer.example/" },
		`Endpoint is "https://issuer.example/"`:          func(c *introspect.Config) { c.Endpoint = "https://user:not-to-be-shown@issuer.example/" },
		"Audience has an empty element":                  func(c *introspect.Config) { c.Audience = []string{""} },
		"ClientSecret and ClientKey are both set":        func(c *introspect.Config) { c.ClientKey = key },
		"SecretInForm is set without a ClientSecret":     func(c *introspect.Config) { c.ClientSecret, c.ClientKey, c.SecretInForm = "", key, true },
		"KeyAlgorithm or KeyID is set without":           func(c *introspect.Config) { c.KeyID = "a" },
		`KeyAlgorithm is "RS256": write one of ["ES256"`: func(c *introspect.Config) { c.ClientSecret, c.ClientKey, c.KeyAlgorithm = "", key, "RS256" },
		"ClientKey is a nil *ecdsa.PrivateKey":           func(c *introspect.Config) { c.ClientSecret, c.ClientKey = "", (*ecdsa.PrivateKey)(nil) },
		"ClientKey: ":                                    func(c *introspect.Config) { c.ClientSecret, c.ClientKey = "", weak },
		"Keys is set without Signed":                     func(c *introspect.Config) { c.Keys = new(jwks.Set) },
		"Keys is a nil *jwks.Set":                        func(c *introspect.Config) { c.Keys, c.Signed = (*jwks.Set)(nil), true },
		"Leeway is 1h0m0s":                               func(c *introspect.Config) { c.Leeway = time.Hour },
		"TTL is 6m0s: at most 5m0s":                      func(c *introspect.Config) { c.TTL = 6 * time.Minute },
		"TTL is 30ns: write a unit":                      func(c *introspect.Config) { c.TTL = 30 },
		"TTL is negative":                                func(c *introspect.Config) { c.TTL = -1 },
		"NegativeTTL is 1m0s: at most 30s":               func(c *introspect.Config) { c.NegativeTTL = time.Minute },
		"CacheBytes is 8":                                func(c *introspect.Config) { c.CacheBytes = 8 },
		"Scopes is empty but not nil":                    func(c *introspect.Config) { c.Scopes = [][]string{} },
		"Scopes or Roles has the path [":                 func(c *introspect.Config) { c.Roles = [][]string{{"a", ""}} },
		"Checks has a nil function at 0":                 func(c *introspect.Config) { c.Checks = []func(context.Context, *jwtverify.Token) error{nil} },
		"TLS is set beside Config.Client":                func(c *introspect.Config) { c.TLS, c.Client = &tls.Config{}, &http.Client{} },
		"TLS has InsecureSkipVerify":                     func(c *introspect.Config) { c.TLS = &tls.Config{InsecureSkipVerify: true} },
		"KeyID is longer":                                func(c *introspect.Config) { c.ClientSecret, c.ClientKey, c.KeyID = "", key, strings.Repeat("k", 513) },
		"Checks is empty but not nil":                    func(c *introspect.Config) { c.Checks = []func(context.Context, *jwtverify.Token) error{} },
	} {
		c := good()
		change(&c)
		_, err := introspect.New(c)
		require.ErrorContains(t, err, fault)
		require.NotContains(t, err.Error(), "not-to-be-shown")
	}
}

func TestAConfigThatIsChangedLaterChangesNothing(t *testing.T) {
	config := introspect.Config{
		Audience: []string{audience}, Scopes: [][]string{{"scope"}}, Roles: [][]string{{"roles"}},
		Checks: []func(context.Context, *jwtverify.Token) error{func(context.Context, *jwtverify.Token) error { return nil }},
	}
	e, i := world(t, func(c *introspect.Config) {
		c.Audience, c.Scopes, c.Roles, c.Checks = config.Audience, config.Scopes, config.Roles, config.Checks
	})
	e.say(says(active(e.URL, claims{"scope": "own", "roles": "own", "other": "other"})))
	config.Audience[0] = "https://other.example.com"
	config.Scopes[0][0], config.Roles[0][0] = "other", "other"
	config.Checks[0] = func(context.Context, *jwtverify.Token) error { return jwtverify.ErrRejected }
	token, err := i.Verify(t.Context(), opaque)
	require.NoError(t, err)
	require.Equal(t, [][]string{{"own"}, {"own"}}, [][]string{token.Scopes, token.Roles})
}

func TestAnIntrospectorThatNewDidNotMakeIsAnOutage(t *testing.T) {
	for _, i := range []*introspect.Introspector{nil, new(introspect.Introspector)} {
		requireReason(t, i, opaque, jwtverify.ErrUnavailable)
		require.Zero(t, i.Status())
		require.NoError(t, i.Close())
	}
	_, i := world(t)
	_, err := i.Verify(t.Context(), opaque)
	require.NoError(t, err)
	require.NoError(t, i.Close())
	require.NoError(t, i.Close())
	requireReason(t, i, opaque, jwtverify.ErrUnavailable)
}
