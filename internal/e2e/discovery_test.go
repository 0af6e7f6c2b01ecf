//go:build e2e

package e2e_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// An issuer with a path has two metadata documents in two places: OpenID's after
// the path and RFC 8414's before it. Each must do alone.
func TestAnIssuerWithAPathIsFoundByEitherDocument(t *testing.T) {
	documents := map[string]string{
		"openid-configuration":       "/tenant/a/.well-known/openid-configuration",
		"oauth-authorization-server": "/.well-known/oauth-authorization-server/tenant/a",
	}
	for document := range documents {
		t.Run(document, func(t *testing.T) {
			as := startProvider(t, oidcProvider, "--path", "/tenant/a", "--metadata", document)
			require.Equal(t, "/tenant/a", pathOf(t, as.Issuer))
			for name, path := range documents {
				want := http.StatusNotFound
				if name == document {
					want = http.StatusOK
				}
				requireDocument(t, as, path, want)
			}

			v := newVerifier(t, as.preset(as.Issuer, ordersAPI))
			api := startAPI(t, v, "net/http")
			for _, client := range []string{"rs256", "ps256", "es256", "eddsa"} {
				token := as.mustToken(t, client, ordersAPI, "read:orders")
				res := api.must(t, http.MethodGet, token)
				require.Equal(t, http.StatusOK, res.status, "%s: %s", client, res.challenge)
			}
		})
	}
}

// An issuer is found under the name that its tokens have in iss, and under no name
// that differs from it as a hurried reader overlooks, although the document there
// is the same.
func TestAnIssuerIsFoundUnderItsExactNameOnly(t *testing.T) {
	slash := func(issuer string) string { return issuer + "/" }
	noSlash := func(issuer string) string { return strings.TrimSuffix(issuer, "/") }
	for name, test := range map[string]struct {
		server *server
		flags  []string
		path   string              // of the issuer
		other  func(string) string // name
	}{
		"oidc-provider":                        {oidcProvider, nil, "", slash},
		"oidc-provider with a path":            {oidcProvider, []string{"--path", "/tenant/a"}, "/tenant/a", slash},
		"zitadel-op, which ends in a slash":    {zitadelOP, nil, "/", noSlash},
		"zitadel-op with a path, which does":   {zitadelOP, []string{"--path", "/tenant/a/"}, "/tenant/a/", noSlash},
		"better-auth, which always has a path": {betterAuth, nil, "/api/auth", slash},
	} {
		t.Run(name, func(t *testing.T) {
			as := startProvider(t, test.server, test.flags...)
			require.Equal(t, test.path, pathOf(t, as.Issuer))
			requireDocument(t, as, noSlash(test.path)+"/.well-known/openid-configuration", http.StatusOK)
			token := as.mustToken(t, as.client, ordersAPI, "read:orders")
			v := newVerifier(t, as.preset(as.Issuer, ordersAPI))
			_, err := v.Verify(t.Context(), token)
			require.NoError(t, err)

			for _, issuer := range []string{test.other(as.Issuer), strings.Replace(as.Issuer, "127.0.0.1", "localhost", 1)} {
				config := as.preset(issuer, ordersAPI)
				wrong, err := jwtverify.New(config)
				require.NoError(t, err)
				require.ErrorIs(t, wrong.Refresh(t.Context()), jwtverify.ErrUnavailable)
				require.Contains(t, wrong.Status().Keys.LastError, "its issuer is not the one that was asked for")
				_, err = wrong.Verify(t.Context(), token)
				require.ErrorIs(t, err, jwtverify.ErrIssuer)
				require.NoError(t, wrong.Close())

				// The right keys do not make up for it.
				config.JWKS.URL = v.Status().Keys.URL
				_, err = newVerifier(t, config).Verify(t.Context(), token)
				require.ErrorIs(t, err, jwtverify.ErrIssuer)
			}
		})
	}
}

func pathOf(t *testing.T, issuer string) string {
	t.Helper()
	u, err := url.Parse(issuer)
	require.NoError(t, err)
	return u.Path
}

// requireDocument asks the server itself.
func requireDocument(t *testing.T, as *provider, path string, status int) {
	t.Helper()
	u, err := url.Parse(as.Issuer)
	require.NoError(t, err)
	res, err := call(t.Context(), http.MethodGet, u.Scheme+"://"+u.Host+path, "")
	require.NoError(t, err)
	require.Equal(t, status, res.status, path)
}
