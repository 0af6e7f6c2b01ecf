package httpauth_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/middleware/bearer"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

// counting counts verifications.
type counting struct {
	bearer.Verifier
	calls int
}

func (c *counting) Verify(ctx context.Context, token string) (*jwtverify.Token, error) {
	c.calls++
	return c.Verifier.Verify(ctx, token)
}

func TestWhatTheSameAuthHasVerifiedIsNotVerifiedAgain(t *testing.T) {
	issuer, v := setup(t)
	count := &counting{Verifier: v}
	auth := newAuth(t, httpauth.Config{Verifier: count})
	other := newAuth(t, httpauth.Config{Verifier: count})
	read, write := jwtverify.Scopes("read"), jwtverify.Scopes("write")
	mallory := &jwtverify.Token{Subject: "mallory", Scopes: []string{"read", "write"}}
	// within changes a request on its way from the outer guard to the inner one.
	within := func(change func(*http.Request) *http.Request, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, change(r)) })
	}
	alice := with(issuer.Token(jwttest.Claims{"sub": "alice", "scope": "read"}))
	bob := "Bearer " + issuer.Token(jwttest.Claims{"sub": "bob", "scope": "write"})
	for name, c := range map[string]struct {
		handler http.Handler
		status  int
		body    string
		calls   int
	}{
		"a rule inside":       {auth.Handler(auth.Require(read)(whoami)), 200, "alice", 1},
		"two rules inside":    {auth.Handler(auth.Require(read)(auth.Require(read)(whoami))), 200, "alice", 1},
		"a rule that fails":   {auth.Handler(auth.Require(write)(whoami)), 403, "", 1},
		"the zero rule":       {auth.Handler(auth.Require(jwtverify.Rule{})(whoami)), 403, "", 1},
		"nothing more inside": {auth.Require(read)(auth.Handler(whoami)), 200, "alice", 1},
		"another Auth":        {auth.Handler(other.Require(read)(whoami)), 200, "alice", 2},
		"another between":     {auth.Handler(other.Handler(auth.Require(read)(whoami))), 200, "alice", 3},
		"a token that something in between put in the context": {auth.Handler(within(func(r *http.Request) *http.Request {
			return r.WithContext(jwtverify.NewContext(r.Context(), mallory))
		}, auth.Require(read)(whoami))), 200, "alice", 1},
		"one that has what is asked for": {auth.Handler(within(func(r *http.Request) *http.Request {
			return r.WithContext(jwtverify.NewContext(r.Context(), mallory))
		}, auth.Require(write)(whoami))), 403, "", 1},
		"a context that was wrapped": {auth.Handler(within(func(r *http.Request) *http.Request {
			return r.WithContext(context.WithoutCancel(r.Context()))
		}, auth.Require(read)(whoami))), 200, "alice", 1},
		"another request in the same context": {auth.Handler(within(func(r *http.Request) *http.Request {
			inner := r.Clone(r.Context())
			inner.Header.Set("Authorization", bob)
			return inner
		}, auth.Require(write)(whoami))), 200, "bob", 2},
		"one without credentials": {auth.Handler(within(func(r *http.Request) *http.Request {
			return httptest.NewRequestWithContext(r.Context(), "GET", "/", nil)
		}, auth.Handler(whoami))), 401, "", 1},
		"one with two": {auth.Handler(within(func(r *http.Request) *http.Request {
			r.URL.RawQuery = "access_token=x"
			return r
		}, auth.Handler(whoami))), 400, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			count.calls = 0
			got := request(t, c.handler, alice)
			require.Equal(t, c.status, got.status)
			require.Equal(t, c.calls, count.calls)
			if c.status == 200 {
				require.Equal(t, c.body, got.body)
			}
		})
	}
}

// What a Rule asks may take long or hang on the request.
func TestARuleAndAHandlerFurtherInsideHaveTheRequestsContext(t *testing.T) {
	issuer, v := setup(t)
	auth := newAuth(t, httpauth.Config{Verifier: v})
	type key struct{}
	whole := func(ctx context.Context) bool { return ctx.Value(key{}) == "value" && ctx.Done() != nil }
	rule := jwtverify.RuleFunc("whole", func(ctx context.Context, _ *jwtverify.Token) bool { return whole(ctx) })
	inner := auth.Require(rule)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !whole(r.Context()) {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	handler := auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(jwtverify.NewContext(r.Context(), &jwtverify.Token{}), key{}, "value")
		inner.ServeHTTP(w, r.WithContext(ctx))
	}))
	require.Equal(t, 200, request(t, handler, with(issuer.Token(nil))).status)
}

// A request's context may outlive its token, as a WebSocket's does.
func TestATokenThatEndedMeanwhileIsVerifiedAgainInside(t *testing.T) {
	now := time.Now()
	token := &jwtverify.Token{Subject: "alice", ValidUntil: now.Add(time.Minute)}
	calls := 0
	v := verifierFunc(func(context.Context, string) (*jwtverify.Token, error) {
		if calls++; calls > 1 {
			return nil, jwtverify.ErrExpired
		}
		return token, nil
	})
	auth := newAuth(t, httpauth.Config{Verifier: v, Now: func() time.Time { return now }})
	inner := auth.Handler(whoami)
	outer := auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now = token.ValidUntil
		inner.ServeHTTP(w, r)
	}))
	require.Equal(t, 401, request(t, outer, with("a.b.c")).status)
	require.Equal(t, 2, calls)
}

func TestAnAnonymousRequestIsStillWithoutATokenInside(t *testing.T) {
	_, v := setup(t)
	auth := newAuth(t, httpauth.Config{Verifier: v, AllowAnonymous: true})
	require.Equal(t, 401, request(t, auth.Handler(auth.Require(jwtverify.Scopes("read"))(whoami)), nil).status)
	require.Equal(t, 200, request(t, auth.Handler(auth.Handler(whoami)), nil).status)
}

func TestGuardsKnowsTheHandlersThatLetNobodyInWithoutAToken(t *testing.T) {
	_, v := setup(t)
	auth := newAuth(t, httpauth.Config{Verifier: v})
	open := newAuth(t, httpauth.Config{Verifier: v, AllowAnonymous: true})
	require.True(t, httpauth.Guards(auth.Handler(whoami)))
	require.True(t, httpauth.Guards(auth.Require(jwtverify.Scopes("read"))(whoami)))
	require.True(t, httpauth.Guards(open.Require(jwtverify.Scopes("read"))(whoami)))
	require.False(t, httpauth.Guards(open.Handler(whoami)))
	require.False(t, httpauth.Guards(whoami))
	require.False(t, httpauth.Guards(nil))
	require.False(t, httpauth.Guards(http.StripPrefix("/", auth.Handler(whoami))))
}

// What the adapter costs beside the Verifier: the context that carries the token,
// and the copy of the request that carries the context.
func TestTheAdapterAllocatesAContextAndARequest(t *testing.T) {
	token := &jwtverify.Token{Scopes: []string{"read"}, ValidUntil: time.Now().Add(time.Hour)}
	v := verifierFunc(func(context.Context, string) (*jwtverify.Token, error) { return token, nil })
	auth := newAuth(t, httpauth.Config{Verifier: v})
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer a.b.c")
	w := httptest.NewRecorder()
	for name, handler := range map[string]http.Handler{
		"one guard":          auth.Handler(nothing),
		"with a rule":        auth.Require(jwtverify.RuleFunc("any", func(context.Context, *jwtverify.Token) bool { return true }))(nothing),
		"one in another":     auth.Handler(auth.Handler(nothing)),
		"one in two further": auth.Handler(auth.Handler(auth.Handler(nothing))),
	} {
		require.Equal(t, 2.0, testing.AllocsPerRun(100, func() { handler.ServeHTTP(w, r) }), name)
	}
}

// Nothing stands between a handler and what its server can do.
func TestAHandlersResponseWriterIsTheServersOwn(t *testing.T) {
	issuer, v := setup(t)
	auth := newAuth(t, httpauth.Config{Verifier: v})
	var outer, inner http.ResponseWriter
	var err error
	handler := auth.Handler(auth.Require(jwtverify.Scopes("read"))(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		inner, err = w, http.NewResponseController(w).EnableFullDuplex()
	})))
	got := request(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		outer = w
		handler.ServeHTTP(w, r)
	}), with(issuer.Token(jwttest.Claims{"scope": "read"})))
	require.Equal(t, 200, got.status)
	require.Same(t, outer, inner)
	require.NoError(t, err)
	require.Implements(t, (*http.Flusher)(nil), inner)
	require.Implements(t, (*http.Hijacker)(nil), inner)
	require.Implements(t, (*io.ReaderFrom)(nil), inner)
}
