//go:build e2e

package e2e_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// relyingParty is the client web, which logs users in.
type relyingParty struct {
	url     string
	logouts chan string // the logout tokens that it is sent
}

func startRelyingParty(t *testing.T) *relyingParty {
	t.Helper()
	rp := &relyingParty{logouts: make(chan string, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /cb", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /logout", func(_ http.ResponseWriter, r *http.Request) { rp.logouts <- r.FormValue("logout_token") })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	rp.url = s.URL
	return rp
}

// browser is a user's, with cookies.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &http.Client{Jar: jar, Timeout: 30 * time.Second}
}

// login gets the tokens of a user for the orders API: the authorization code flow
// with PKCE, from the browser's first redirect to the code's exchange.
func (rp *relyingParty) login(t *testing.T, user *http.Client, as *provider, nonce string) granted {
	t.Helper()
	verifier, state := rand.Text()+rand.Text(), rand.Text()
	challenge := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"client_id": {"web"}, "response_type": {"code"}, "redirect_uri": {rp.url + "/cb"},
		"scope": {"openid offline_access read:orders"}, "state": {state},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	if nonce != "" {
		query.Set("nonce", nonce)
	}
	if as.server == oidcProvider {
		query.Set("prompt", "consent") // OpenID Connect Core §11: without it there is no refresh token
	}
	as.resource(query, ordersAPI)
	res, body := visit(t, user, http.MethodGet, as.Issuer+as.authorize+"?"+query.Encode(), nil)
	back := res.Request.URL
	require.Equal(t, rp.url+"/cb", "http://"+back.Host+back.Path, "%s: %s", res.Status, body)
	require.Equal(t, state, back.Query().Get("state"))

	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")},
		"redirect_uri": {rp.url + "/cb"}, "code_verifier": {verifier},
	}
	if as.server != zitadelOP { // whose scope is with the code
		as.resource(form, ordersAPI)
	}
	g, err := as.grant(t.Context(), "web", form)
	require.NoError(t, err)
	return g
}

// logoutToken is what the client is sent in the background when the user logs out.
func (rp *relyingParty) logoutToken(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	select {
	case token := <-rp.logouts:
		return token
	case <-ctx.Done():
		t.Fatal("no logout token comes")
		return ""
	}
}

// visit is what a browser does, redirects included.
func visit(t *testing.T, user *http.Client, method, url string, form url.Values) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	req.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", req.URL.Scheme+"://"+req.URL.Host)
	}
	res, err := user.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res, string(body)
}
