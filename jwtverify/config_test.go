package jwtverify_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
)

func TestEveryFaultOfAConfigIsNamedAtOnceWithWhatToWrite(t *testing.T) {
	_, err := jwtverify.New(jwtverify.Config{
		Audience:    []string{"a", ""},
		Algorithms:  []string{"none", "RS265", "HS256"},
		Types:       []string{"at+jwt", "at jwt"},
		Required:    []string{""},
		Scopes:      [][]string{{}},
		Roles:       [][]string{{"realm_access", ""}},
		Leeway:      time.Hour,
		MaxLifetime: -1,
		Checks:      []func(context.Context, *jwtverify.Token) error{nil},
		JWKS:        jwks.Config{Issuer: "https://issuer.example.com", URL: "ftp://issuer.example.com/jwks", Refresh: -1},
	})
	for _, want := range []string{
		"Config.Issuer is required: write", "Audience has an empty element: remove", "Algorithms has none", `Algorithms has "RS265": write some of`,
		"Algorithms has HS256, which no fetched key serves: set Keys", `Types has "at jwt": write`, "Required has an empty element: remove",
		"Scopes or Roles has the path []", `Scopes or Roles has the path ["realm_access" ""]`, "Leeway is 1h0m0s: at most 5m0s",
		"MaxLifetime is negative: write", "Checks has a nil function at 0: remove", `JWKS.Issuer is "https://issuer.example.com" and Issuer ""`,
		"Issuer and Config.URL are both set: keep", "cannot be negative: leave them 0",
	} {
		require.ErrorContains(t, err, want)
	}
}

func TestAConfigThatCouldMeanAllOrNothingIsAFault(t *testing.T) {
	set := newSigner(t).set(t)
	good := func() jwtverify.Config {
		return jwtverify.Config{Issuer: signerIssuer, Audience: []string{signerAudience}, Keys: set}
	}
	v, err := jwtverify.New(good())
	require.NoError(t, err)
	require.NoError(t, v.Close())
	for want, change := range map[string]func(*jwtverify.Config){
		"Issuer is required":         func(c *jwtverify.Config) { c.Issuer = "" },
		"Audience is required":       func(c *jwtverify.Config) { c.Audience = nil },
		"Config.Audience is":         func(c *jwtverify.Config) { c.Audience = []string{} },
		"Algorithms is empty but":    func(c *jwtverify.Config) { c.Algorithms = []string{} },
		"Types is empty but":         func(c *jwtverify.Config) { c.Types = []string{} },
		"Required is empty but":      func(c *jwtverify.Config) { c.Required = []string{} },
		"Scopes is empty but":        func(c *jwtverify.Config) { c.Scopes = [][]string{} },
		"of the maker's":             func(c *jwtverify.Config) { c.Fault = errors.New("of the maker's") },
		"Values is empty but":        func(c *jwtverify.Config) { c.Values = map[string][]string{} },
		"Forbidden is empty but":     func(c *jwtverify.Config) { c.Forbidden = []string{} },
		`Values["a"] is []`:          func(c *jwtverify.Config) { c.Values = map[string][]string{"a": nil} },
		`Values["b"] is [""]`:        func(c *jwtverify.Config) { c.Values = map[string][]string{"b": {""}} },
		"Values has an empty el":     func(c *jwtverify.Config) { c.Values = map[string][]string{"": {"b"}} },
		"Forbidden has an empty":     func(c *jwtverify.Config) { c.Forbidden = []string{""} },
		`Forbidden has "aud", which`: func(c *jwtverify.Config) { c.Forbidden = []string{"aud"} },
		`Forbidden has "cl", which`:  func(c *jwtverify.Config) { c.AudienceClaim, c.Forbidden = "cl", []string{"cl"} },
		`Forbidden has "r", which`:   func(c *jwtverify.Config) { c.Forbidden, c.Required = []string{"r"}, []string{"r"} },
		`Forbidden has "v", which`: func(c *jwtverify.Config) {
			c.Forbidden, c.Values = []string{"v"}, map[string][]string{"v": {"1"}}
		},
		"Roles is empty but":        func(c *jwtverify.Config) { c.Roles = [][]string{} },
		"Checks is empty but":       func(c *jwtverify.Config) { c.Checks = []func(context.Context, *jwtverify.Token) error{} },
		"Keys is a nil *jwks.Cache": func(c *jwtverify.Config) { c.Keys = (*jwks.Cache)(nil) },
		"Keys is a nil *jwks.Set":   func(c *jwtverify.Config) { c.Keys = (*jwks.Set)(nil) },
		"nil jwtverify_test.source": func(c *jwtverify.Config) { c.Keys = sourceFunc(nil) },
		`Types has "application/"`:  func(c *jwtverify.Config) { c.Types = []string{"application/"} },
		"JWKS is set beside Keys":   func(c *jwtverify.Config) { c.JWKS.Cooldown = time.Second },
		"plain http":                func(c *jwtverify.Config) { c.Keys, c.Issuer = nil, "http://issuer.example.com" },
		"InsecureSkipVerify: set RootC": func(c *jwtverify.Config) {
			c.Keys = nil
			c.JWKS.URL = "nonsense://"
			c.JWKS.MaxStale = -1
			c.JWKS.TLS = insecureTLS
		},
	} {
		c := good()
		change(&c)
		v, err := jwtverify.New(c)
		require.ErrorContains(t, err, want)
		require.Nil(t, v, want)
	}
}

type sourceFunc func() (*jwks.Key, error)

func (f sourceFunc) Key(context.Context, string, string) (*jwks.Key, error) { return f() }

func TestNewCopiesEverySlice(t *testing.T) {
	s := newSigner(t)
	c := jwtverify.Config{
		Issuer: signerIssuer, Audience: []string{signerAudience}, Keys: s.set(t), Algorithms: []string{"ES256"}, Types: []string{"JWT"},
		Values: map[string][]string{"use": {"access"}}, Forbidden: []string{"nonce"},
		Required: []string{"sub"}, Scopes: [][]string{{"scope"}}, Roles: [][]string{{"r", "roles"}}, Now: func() time.Time { return signerTime },
		Checks: []func(context.Context, *jwtverify.Token) error{func(context.Context, *jwtverify.Token) error { return nil }},
	}
	v, err := jwtverify.New(c)
	require.NoError(t, err)
	c.Audience[0], c.Algorithms[0], c.Types[0], c.Required[0], c.Scopes[0][0], c.Roles[0][1] = "x", "RS256", "x", "x", "x", "x"
	c.Checks[0] = func(context.Context, *jwtverify.Token) error { return errors.New("no") }
	c.Values["use"][0], c.Forbidden[0] = "x", "use"
	delete(c.Values, "use")
	token, err := v.Verify(t.Context(), s.sign(t, `{"alg":"ES256","typ":"JWT"}`, s.claims(t, map[string]any{"use": "access", "scope": "a b", "r": map[string]any{"roles": []string{"c"}}})))
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, token.Scopes)
	require.Equal(t, []string{"c"}, token.Roles)
}

func TestASecretServesOnlyWhereItIsNamed(t *testing.T) {
	secret, err := jwks.NewSecret("", "HS256", make([]byte, 32))
	require.NoError(t, err)
	set, err := jwks.NewSet(secret)
	require.NoError(t, err)
	token := hs256(make([]byte, 32), `{"alg":"HS256"}`, newSigner(t).claims(t, nil))
	c := jwtverify.Config{Issuer: signerIssuer, Audience: []string{signerAudience}, Keys: set, Now: func() time.Time { return signerTime }}
	v, err := jwtverify.New(c)
	require.NoError(t, err)
	_, err = v.Verify(t.Context(), token)
	require.ErrorIs(t, err, jwtverify.ErrAlgorithm)
	c.Algorithms = []string{"HS256"}
	v, err = jwtverify.New(c)
	require.NoError(t, err)
	_, err = v.Verify(t.Context(), token)
	require.NoError(t, err)
}

func TestALeewayOfFiveMinutesIsTheMost(t *testing.T) {
	c := jwtverify.Config{Issuer: signerIssuer, Audience: []string{signerAudience}, Keys: newSigner(t).set(t), Leeway: 5 * time.Minute}
	v, err := jwtverify.New(c)
	require.NoError(t, err)
	require.NoError(t, v.Close())
	c.Leeway++
	_, err = jwtverify.New(c)
	require.ErrorContains(t, err, "Leeway is")
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A goroutine that were left behind would fail the bubble.
func TestAFaultLeavesNothingRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := roundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		v, err := jwtverify.New(jwtverify.Config{
			Issuer: signerIssuer, Audience: []string{signerAudience}, Leeway: time.Hour,
			JWKS: jwks.Config{Client: &http.Client{Transport: hang}, Logger: slog.New(slog.DiscardHandler)},
		})
		require.ErrorContains(t, err, "Leeway is")
		require.Nil(t, v)
	})
}

func TestTheLoggerIsTheKeysToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		fail := roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") })
		v, err := jwtverify.New(jwtverify.Config{
			Issuer: signerIssuer, Audience: []string{signerAudience}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			JWKS: jwks.Config{Client: &http.Client{Transport: fail}},
		})
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, v.Close())
		require.Contains(t, log.String(), "no route")
	})
}
