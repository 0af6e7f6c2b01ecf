package httpauth_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/middleware/bearer"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

// all does one thing after the other to a request.
func all(changes ...func(*http.Request)) func(*http.Request) {
	return func(r *http.Request) {
		for _, change := range changes {
			change(r)
		}
	}
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Add(name, value) }
}

func query(raw string) func(*http.Request) { return func(r *http.Request) { r.URL.RawQuery = raw } }

// form posts a body.
func form(contentType, body string) func(*http.Request) {
	return func(r *http.Request) {
		r.Method = http.MethodPost
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Type", contentType)
	}
}

const urlencoded = "application/x-www-form-urlencoded"

func TestARequestCarriesExactlyOneCredential(t *testing.T) {
	issuer, v := setup(t)
	plain := newAuth(t, httpauth.Config{Verifier: v}).Handler(whoami)
	named := newAuth(t, httpauth.Config{Verifier: v, Header: "x-goog-iap-jwt-assertion", Cookie: "__Host-token"}).Handler(whoami)
	open := newAuth(t, httpauth.Config{Verifier: v, Cookie: "__Host-token", AllowAnonymous: true}).Handler(whoami)
	good := issuer.Token(jwttest.Claims{"sub": "alice"})
	bad := issuer.Token(jwttest.Claims{"exp": 1})
	bearerToken := header("Authorization", "Bearer "+good)
	cookie := header("Cookie", "a=b; __Host-token="+good)
	assertion := header("X-Goog-Iap-Jwt-Assertion", good)
	for name, c := range map[string]struct {
		handler http.Handler
		change  func(*http.Request)
		status  int
	}{
		"in the header":                          {plain, bearerToken, 200},
		"in a cookie that nobody named":          {plain, cookie, 401},
		"in a header that nobody named":          {plain, assertion, 401},
		"beside a cookie that nobody named":      {plain, all(bearerToken, cookie), 200},
		"in the query":                           {plain, query("access_token=" + good), 401},
		"in the query too":                       {plain, all(bearerToken, query("access_token="+good)), 400},
		"in the query too, escaped":              {plain, all(bearerToken, query("x&%61ccess_token=")), 400},
		"in a form":                              {plain, form(urlencoded, "access_token="+good), 401},
		"in a form too":                          {plain, all(bearerToken, form(urlencoded, "a=b&access_token="+good)), 400},
		"in a form too, with parameters":         {plain, all(bearerToken, form("Application/X-WWW-Form-Urlencoded ; charset=utf-8", "access_token=x")), 400},
		"in a form too, but the token is bad":    {plain, all(with(bad), form(urlencoded, "access_token="+good)), 401},
		"a form without one":                     {plain, all(bearerToken, form(urlencoded, "accesstoken=x&a=access_token")), 200},
		"in a form too, far behind":              {plain, all(bearerToken, form(urlencoded, "a="+strings.Repeat("x", 32<<10-20)+"&access_token=x")), 400},
		"another credential and the query":       {plain, all(header("Authorization", "Basic dTpw"), query("access_token="+good)), 400},
		"a body that is no form":                 {plain, all(bearerToken, form("application/json", "access_token="+good)), 200},
		"in the cookie":                          {named, cookie, 200},
		"in the named header":                    {named, assertion, 200},
		"still in the header":                    {named, bearerToken, 200},
		"none in any of three":                   {named, nil, 401},
		"in the cookie and in the header":        {named, all(cookie, bearerToken), 400},
		"in the cookie and in the named header":  {named, all(cookie, assertion), 400},
		"in the named header and in the header":  {named, all(assertion, bearerToken), 400},
		"in the cookie and another credential":   {named, all(cookie, header("Authorization", "Basic dTpw")), 400},
		"in the cookie and in the query":         {named, all(cookie, query("access_token=x")), 400},
		"in the cookie and in a form":            {named, all(cookie, form(urlencoded, "access_token=x")), 400},
		"in the cookie twice":                    {named, all(cookie, cookie), 400},
		"in the named header twice":              {named, all(assertion, assertion), 400},
		"with a scheme in the named header":      {named, header("X-Goog-IAP-JWT-Assertion", "Bearer "+good), 400},
		"an empty named header":                  {named, header("X-Goog-IAP-JWT-Assertion", ""), 400},
		"an empty cookie":                        {named, header("Cookie", "__Host-token="), 400},
		"a bad one in the cookie":                {named, header("Cookie", "__Host-token="+bad), 401},
		"anonymous":                              {open, nil, 200},
		"not anonymous with a bad cookie":        {open, header("Cookie", "__Host-token="+bad), 401},
		"not anonymous with a malformed cookie":  {open, header("Cookie", "__Host-token=a b"), 400},
		"nor with one that net/http leaves out":  {open, header("Cookie", `__Host-token=a"b`), 400},
		"nor with one that has no value":         {open, header("Cookie", "a; __Host-token"), 400},
		"a malformed cookie and the header":      {named, all(header("Cookie", "__Host-token=a\x80b"), bearerToken), 400},
		"a malformed cookie and a good one":      {named, all(header("Cookie", `__Host-token=a\b; __Host-token=`+good)), 400},
		"a cookie is named with its case":        {open, header("Cookie", "__host-token="+bad), 200},
		"in one of two lines of cookies":         {named, all(header("Cookie", "a=b;c=d"), header("Cookie", "__Host-token="+good+" ;e=f")), 200},
		"another malformed cookie":               {named, all(header("Cookie", `a="b`), cookie), 200},
		"anonymous with a token in a form alone": {open, form(urlencoded, "access_token="+good), 200},
	} {
		t.Run(name, func(t *testing.T) {
			got := request(t, c.handler, c.change)
			require.Equal(t, c.status, got.status)
			require.Equal(t, c.status >= 400, len(got.header.Values("WWW-Authenticate")) == 1)
		})
	}
}

// Whoever looked into a form must not take anything away from the handler.
func TestAFormIsWholeForTheHandler(t *testing.T) {
	issuer, v := setup(t)
	var got string
	var size int
	handler := newAuth(t, httpauth.Config{Verifier: v}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		got, size = r.PostForm.Get("a"), len(r.PostForm.Get("long"))
	}))
	token := with(issuer.Token(nil))
	for _, length := range []int{0, 10, 32 << 10, 100_000} {
		body := url.Values{"a": {"b c"}, "long": {strings.Repeat("x", length)}}.Encode()
		require.Equal(t, 200, request(t, handler, all(token, form(urlencoded, body))).status)
		require.Equal(t, "b c", got)
		require.Equal(t, length, size)
	}
	limited := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 10)
		handler.ServeHTTP(w, r)
	})
	require.Equal(t, 413, request(t, limited, all(token, form(urlencoded, "a=0123456789"))).status, "an error of the body's is the handler's to see")

	// A client that says 20 bytes and goes after 3.
	server := httptest.NewServer(handler)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: 20\r\nAuthorization: Bearer %s\r\n\r\na=1", urlencoded, issuer.Token(nil))
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 413, res.StatusCode, "a body that was cut off is not taken for a whole one")

	parsed := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		handler.ServeHTTP(w, r)
	})
	require.Equal(t, 200, request(t, parsed, all(token, form(urlencoded, "a=b"))).status)
	require.Equal(t, 400, request(t, parsed, all(token, form(urlencoded, "access_token=b"))).status, "also where somebody has parsed it")
}

// Nobody without a good token makes the server read a body.
func TestABodyIsReadForGoodTokensOnly(t *testing.T) {
	read, closed := false, false
	body := struct {
		io.Reader
		closerFunc
	}{readerFunc(func([]byte) (int, error) { read = true; return 0, io.EOF }), func() error { closed = true; return nil }}
	v := verifierFunc(func(_ context.Context, token string) (*jwtverify.Token, error) {
		if token == "good" {
			return &jwtverify.Token{}, nil
		}
		return nil, jwtverify.ErrExpired
	})
	handler := newAuth(t, httpauth.Config{Verifier: v}).Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		whole, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.Empty(t, whole)
		require.NoError(t, r.Body.Close())
	}))
	for _, token := range []string{"bad", "good"} {
		r, err := http.NewRequest(http.MethodPost, "/", body)
		require.NoError(t, err)
		r.Header.Set("Content-Type", urlencoded)
		r.Header.Set("Authorization", "Bearer "+token)
		handler.ServeHTTP(discard{}, r)
		require.Equal(t, token == "good", read)
		require.Equal(t, token == "good", closed, "to close it closes the one below")
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type closerFunc func() error

func (f closerFunc) Close() error { return f() }

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

func TestTokenIsForHandlersThatVerifyThemselves(t *testing.T) {
	r, err := http.NewRequest(http.MethodGet, "/", nil)
	require.NoError(t, err)
	_, err = httpauth.Token(r)
	require.ErrorIs(t, err, bearer.ErrNoCredentials)
	r.Header.Set("Authorization", "Bearer a.b.c")
	token, err := httpauth.Token(r)
	require.NoError(t, err)
	require.Equal(t, "a.b.c", token)
	r.URL.RawQuery = "access_token=x"
	_, err = httpauth.Token(r)
	require.ErrorIs(t, err, bearer.ErrMalformedRequest)
}

func TestNamesOfSourcesAreChecked(t *testing.T) {
	_, v := setup(t)
	for _, c := range []httpauth.Config{
		{Header: "a b"}, {Header: "authorization"}, {Header: "cookie"}, {Header: "x\r\n"}, {Header: "é"}, {Cookie: "a=b"}, {Cookie: "a;b"}, {Cookie: "\x7f"}, {Cookie: "a b"}, {Cookie: "a,b"}, {Cookie: "é"},
	} {
		c.Verifier = v
		_, err := httpauth.New(c)
		require.ErrorContains(t, err, "httpauth: Config.", "%+v", c)
	}
}
