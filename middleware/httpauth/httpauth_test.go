package httpauth_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/middleware/bearer"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

const audience = "https://api.example.com"

// setup starts an issuer and makes a Verifier of its tokens.
func setup(t *testing.T) (*jwttest.Issuer, *jwtverify.Verifier) {
	t.Helper()
	issuer := jwttest.NewIssuer(audience)
	t.Cleanup(issuer.Close)
	v, err := jwtverify.New(issuer.Config())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	return issuer, v
}

func newAuth(t *testing.T, c httpauth.Config) *httpauth.Auth {
	t.Helper()
	auth, err := httpauth.New(c)
	require.NoError(t, err)
	return auth
}

// whoami answers with what the context carries.
var whoami = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if token, ok := jwtverify.FromContext(r.Context()); ok {
		_, _ = io.WriteString(w, token.Subject)
		return
	}
	_, _ = io.WriteString(w, "nobody")
})

type answer struct {
	status int
	header http.Header
	body   string
}

// request makes a real one of a real server.
func request(t *testing.T, h http.Handler, change func(*http.Request)) answer {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	require.NoError(t, err)
	if change != nil {
		change(r)
	}
	res, err := server.Client().Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return answer{res.StatusCode, res.Header, string(body)}
}

func with(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func TestEachRefusalIsAnsweredAsRFC6750Says(t *testing.T) {
	issuer, v := setup(t)
	auth := newAuth(t, httpauth.Config{Verifier: v, Realm: "orders"})
	scoped := auth.Require(jwtverify.Scopes("read", "write"))(whoami)
	good := issuer.Token(jwttest.Claims{"scope": "read write", "sub": "alice"})
	const invalidToken = `Bearer realm="orders", error="invalid_token", error_description="The access token is malformed, expired, revoked or not meant for this API"`
	const invalidRequest = `Bearer realm="orders", error="invalid_request", error_description="The request must carry one well-formed bearer token and no other credential"`
	const forbidden = `Bearer realm="orders", error="insufficient_scope", error_description="The access token does not have the scopes or roles that are needed"`
	for name, c := range map[string]struct {
		handler   http.Handler
		change    func(*http.Request)
		status    int
		challenge string
	}{
		"a good token":            {scoped, with(good), 200, ""},
		"no credentials":          {scoped, nil, 401, `Bearer realm="orders"`},
		"other credentials":       {scoped, func(r *http.Request) { r.SetBasicAuth("u", "p") }, 401, `Bearer realm="orders"`},
		"a token in the query":    {scoped, func(r *http.Request) { r.URL.RawQuery = "access_token=" + good }, 401, `Bearer realm="orders"`},
		"two methods":             {scoped, func(r *http.Request) { with(good)(r); r.URL.RawQuery = "a=b&access%5ftoken=x" }, 400, invalidRequest},
		"two headers":             {scoped, func(r *http.Request) { with(good)(r); r.Header.Add("Authorization", "Bearer "+good) }, 400, invalidRequest},
		"no token in the header":  {scoped, func(r *http.Request) { r.Header.Set("Authorization", "Bearer") }, 400, invalidRequest},
		"no JWT":                  {scoped, with("abc"), 401, invalidToken},
		"another audience":        {scoped, with(issuer.Token(jwttest.Claims{"aud": "x"})), 401, invalidToken},
		"expired":                 {scoped, with(issuer.Token(jwttest.Claims{"exp": 1})), 401, invalidToken},
		"an unknown key":          {scoped, with(issuer.Mint(jwttest.Header{"kid": "x"}, nil)), 401, invalidToken},
		"a scope missing":         {scoped, with(issuer.Token(jwttest.Claims{"scope": "read"})), 403, forbidden + `, scope="read write"`},
		"a role missing":          {auth.Require(jwtverify.Roles("admin"))(whoami), with(good), 403, forbidden},
		"a rule that is zero":     {auth.Require(jwtverify.Rule{})(whoami), with(good), 403, forbidden},
		"one of two rules":        {auth.Require(jwtverify.Scopes("read"), jwtverify.Scopes("pay"))(whoami), with(good), 403, forbidden + `, scope="read pay"`},
		"no rule":                 {auth.Require()(whoami), with(good), 200, ""},
		"no rule, no credentials": {auth.Require()(whoami), nil, 401, `Bearer realm="orders"`},
		"HEAD is guarded":         {scoped, func(r *http.Request) { r.Method = http.MethodHead }, 401, `Bearer realm="orders"`},
		"OPTIONS is guarded":      {scoped, func(r *http.Request) { r.Method = http.MethodOptions }, 401, `Bearer realm="orders"`},
	} {
		t.Run(name, func(t *testing.T) {
			got := request(t, c.handler, c.change)
			require.Equal(t, c.status, got.status)
			require.Empty(t, got.header.Values("Retry-After"))
			if c.status == 200 {
				require.Equal(t, "alice", got.body)
				require.Empty(t, got.header.Values("WWW-Authenticate"))
				return
			}
			require.Equal(t, []string{c.challenge}, got.header.Values("WWW-Authenticate"))
			require.Equal(t, "no-store", got.header.Get("Cache-Control"))
			require.NotContains(t, got.body, "alice", "the handler is not called")
			require.Equal(t, "application/problem+json", got.header.Get("Content-Type"))
			require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
		})
	}
}

func TestAnOutageIs503WithoutAChallenge(t *testing.T) {
	issuer := jwttest.NewIssuer(audience)
	t.Cleanup(issuer.Close)
	issuer.Respond(jwttest.Down)
	v, err := jwtverify.New(issuer.Config())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	got := request(t, newAuth(t, httpauth.Config{Verifier: v}).Handler(whoami), with(issuer.Token(nil)))
	require.Equal(t, 503, got.status)
	require.Empty(t, got.header.Values("WWW-Authenticate"))
	require.Regexp(t, `\A[1-9][0-9]*\z`, got.header.Get("Retry-After"))
	require.Equal(t, "no-store", got.header.Get("Cache-Control"))
}

type verifierFunc func(context.Context, string) (*jwtverify.Token, error)

func (f verifierFunc) Verify(ctx context.Context, token string) (*jwtverify.Token, error) {
	return f(ctx, token)
}

func TestWhateverAVerifierSaysNobodyGetsInWithoutAToken(t *testing.T) {
	for name, c := range map[string]struct {
		token      *jwtverify.Token
		err        error
		status     int
		retryAfter string
	}{
		"nothing":                 {nil, nil, 503, "1"},
		"an unknown error":        {nil, errors.New("boom"), 503, "1"},
		"a token and an error":    {&jwtverify.Token{}, errors.New("boom"), 503, "1"},
		"a retry time":            {nil, &jwtverify.Error{Reason: jwtverify.ErrUnavailable, RetryAfter: 1200 * time.Millisecond}, 503, "2"},
		"no end in sight":         {nil, &jwtverify.Error{Reason: jwtverify.ErrUnavailable, RetryAfter: math.MaxInt64}, 503, "86400"},
		"no credentials, it says": {nil, bearer.ErrNoCredentials, 503, "1"},
		"forbidden, it says":      {nil, bearer.ErrForbidden, 503, "1"},
		"a reason":                {nil, jwtverify.ErrRevoked, 401, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := verifierFunc(func(context.Context, string) (*jwtverify.Token, error) { return c.token, c.err })
			for _, anonymous := range []bool{false, true} {
				got := request(t, newAuth(t, httpauth.Config{Verifier: v, AllowAnonymous: anonymous}).Handler(whoami), with("a.b.c"))
				require.Equal(t, c.status, got.status)
				require.Equal(t, c.retryAfter, got.header.Get("Retry-After"))
				require.NotContains(t, got.body, "boom")
			}
		})
	}
}

func TestAnonymousMeansNoTokenNeverABadOne(t *testing.T) {
	issuer, v := setup(t)
	auth := newAuth(t, httpauth.Config{Verifier: v, AllowAnonymous: true})
	open, scoped := auth.Handler(whoami), auth.Require(jwtverify.Scopes("read"))(whoami)
	for name, c := range map[string]struct {
		handler http.Handler
		change  func(*http.Request)
		status  int
		body    string
	}{
		"no credentials":             {open, nil, 200, "nobody"},
		"other credentials":          {open, func(r *http.Request) { r.SetBasicAuth("u", "p") }, 200, "nobody"},
		"a good token":               {open, with(issuer.Token(jwttest.Claims{"sub": "alice"})), 200, "alice"},
		"a bad token":                {open, with(issuer.Token(jwttest.Claims{"exp": 1})), 401, ""},
		"a malformed header":         {open, func(r *http.Request) { r.Header.Set("Authorization", "Bearer") }, 400, ""},
		"an empty header":            {open, func(r *http.Request) { r.Header["Authorization"] = []string{""} }, 400, ""},
		"a rule and no credentials":  {scoped, nil, 401, ""},
		"a rule that does not hold":  {scoped, with(issuer.Token(nil)), 403, ""},
		"a rule that holds":          {scoped, with(issuer.Token(jwttest.Claims{"scope": "read", "sub": "bob"})), 200, "bob"},
		"nobody, inside of somebody": {outer(&jwtverify.Token{Subject: "mallory"}, open), nil, 200, "nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			got := request(t, c.handler, c.change)
			require.Equal(t, c.status, got.status)
			if c.status == 200 {
				require.Equal(t, c.body, got.body)
			}
			if name == "a rule and no credentials" {
				require.Equal(t, `Bearer realm="api"`, got.header.Get("WWW-Authenticate"))
			}
		})
	}
}

// outer stands for something that put a token in the context on its own.
func outer(token *jwtverify.Token, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(jwtverify.NewContext(r.Context(), token)))
	})
}

func TestATokenThatSomethingElsePutInTheContextOpensNothing(t *testing.T) {
	_, v := setup(t)
	token := &jwtverify.Token{Subject: "mallory", Scopes: []string{"read"}}
	guarded := newAuth(t, httpauth.Config{Verifier: v}).Require(jwtverify.Scopes("read"))(whoami)
	require.Equal(t, 401, request(t, outer(token, guarded), nil).status)
}

func TestAStrangersWordsNeverComeBack(t *testing.T) {
	issuer, v := setup(t)
	h := newAuth(t, httpauth.Config{Verifier: v}).Require(jwtverify.Scopes("read"))(whoami)
	nasty := "x\"\r\nSet-Cookie: a=b\r\n\r\n<blink>"
	for _, token := range []string{
		issuer.Mint(jwttest.Header{"alg": nasty}, nil),
		issuer.Mint(jwttest.Header{"kid": nasty}, nil),
		issuer.Mint(jwttest.Header{"typ": nasty}, nil),
		issuer.Token(jwttest.Claims{"iss": nasty}),
		issuer.Token(jwttest.Claims{"scope": nasty, "sub": nasty}),
	} {
		got := request(t, h, with(token))
		require.GreaterOrEqual(t, got.status, 401)
		require.Empty(t, got.header.Values("Set-Cookie"))
		for _, text := range append(got.header.Values("WWW-Authenticate"), got.body) {
			require.NotContains(t, text, "blink")
			require.NotContains(t, strings.ToLower(text), "cookie")
		}
	}
}

func TestNewNamesEveryFault(t *testing.T) {
	for _, realm := range []string{"a\r\nb", "a\x7f", "caf\u00e9"} {
		_, err := httpauth.New(httpauth.Config{Realm: realm})
		require.ErrorContains(t, err, "Config.Verifier is required: write")
		require.ErrorContains(t, err, "Config.Realm is")
		for _, v := range []bearer.Verifier{(*jwtverify.Verifier)(nil), verifierFunc(nil)} {
			_, err := httpauth.New(httpauth.Config{Verifier: v})
			require.ErrorContains(t, err, "Config.Verifier is required")
		}
		_, verifier := setup(t)
		require.Panics(t, func() { newAuth(t, httpauth.Config{Verifier: verifier}).Handler(nil) })
	}
}
