package chiauth_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/middleware/chiauth"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

func newAuth(t testing.TB, anonymous bool) (*jwttest.Issuer, *httpauth.Auth) {
	issuer := jwttest.NewIssuer("https://api.example.com")
	t.Cleanup(issuer.Close)
	v, err := jwtverify.New(issuer.Config())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	auth, err := httpauth.New(httpauth.Config{Verifier: v, AllowAnonymous: anonymous})
	require.NoError(t, err)
	return issuer, auth
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

// Whatever is listed is open, and whatever is not is closed: each route is asked
// over a real connection, without a token.
func TestTheListIsWhatAServerLetsIn(t *testing.T) {
	_, auth := newAuth(t, false)
	_, open := newAuth(t, true)
	read := auth.Require(jwtverify.Scopes("read"))
	plain := func(next http.Handler) http.Handler { return next }
	sub := func(use ...func(http.Handler) http.Handler) chi.Router {
		r := chi.NewRouter()
		r.Use(use...)
		r.Get("/inner", hello)
		return r
	}
	for name, c := range map[string]struct {
		routes func(r chi.Router)
		open   []string
	}{
		"nothing": {func(chi.Router) {}, nil},
		"no guard": {func(r chi.Router) {
			r.Get("/a", hello)
			r.Post("/a", hello)
			r.Get("/b/{id}", hello)
		}, []string{"GET /a", "GET /b/{id}", "POST /a"}},
		"Use": {func(r chi.Router) {
			r.Use(plain, auth.Handler)
			r.Get("/a", hello)
			r.Handle("/b", http.HandlerFunc(hello))
		}, nil},
		"Use of one that lets anybody in": {func(r chi.Router) {
			r.Use(open.Handler)
			r.Get("/a", hello)
			r.With(open.Require(jwtverify.Scopes("read"))).Get("/b", hello)
		}, []string{"GET /a"}},
		"With": {func(r chi.Router) {
			r.With(read).Get("/a", hello)
			r.With(plain).Get("/b", hello)
			r.Get("/c", hello)
		}, []string{"GET /b", "GET /c"}},
		"With, for one method of two": {func(r chi.Router) {
			r.With(read).Post("/a", hello)
			r.Get("/a", hello)
		}, []string{"GET /a"}},
		"Group": {func(r chi.Router) {
			r.Group(func(r chi.Router) {
				r.Use(read)
				r.Get("/a", hello)
			})
			r.Group(func(r chi.Router) { r.Get("/b", hello) })
		}, []string{"GET /b"}},
		"Route": {func(r chi.Router) {
			r.Route("/v1", func(r chi.Router) {
				r.Use(read)
				r.Get("/a", hello)
				r.Route("/deep", func(r chi.Router) { r.Get("/b", hello) })
			})
			r.Route("/v2/{tenant}", func(r chi.Router) {
				r.Get("/a", hello)
				r.With(read).Get("/b", hello)
			})
		}, []string{"GET /v2/{tenant}/a"}},
		"Mount": {func(r chi.Router) {
			r.Mount("/closed", sub(auth.Handler))
			r.Mount("/open", sub())
			r.With(auth.Handler).Mount("/with", sub())
		}, []string{"GET /open/inner"}},
		"Mount of what With returned": {func(r chi.Router) {
			sub := chi.NewRouter()
			sub.With(auth.Handler).Get("/closed", hello)
			guarded := sub.With(auth.Handler)
			guarded.Get("/closed too", hello)
			sub.Get("/inner", hello) // past what stands before the others
			r.Mount("/a", guarded)
		}, []string{"GET /a/inner"}},
		"a route over a Mount": {func(r chi.Router) {
			closed := chi.NewRouter()
			closed.Use(auth.Handler)
			closed.Post("/inner", hello)
			r.Mount("/a", closed)
			r.Get("/a/*", hello)
			r.With(auth.Handler).Mount("/b", sub())
			r.With(read).Get("/b/*", hello)
			r.Post("/b/*", hello)
			r.Mount("/c", sub(auth.Handler))
			r.Get("/c", hello)
		}, []string{"GET /a/*", "GET /c", "POST /b/*"}},
		"a route where an open router is mounted": {func(r chi.Router) {
			root := chi.NewRouter()
			root.Get("/", hello)
			r.Mount("/a", root)
			r.Get("/a/", hello)
		}, []string{"GET /a/"}},
		"every method but one": {func(r chi.Router) {
			r.Handle("/a", http.HandlerFunc(hello))
			r.With(read).Get("/a", hello)
		}, []string{"CONNECT /a", "DELETE /a", "HEAD /a", "OPTIONS /a", "PATCH /a", "POST /a", "PUT /a", "QUERY /a", "TRACE /a"}},
		"a regular expression": {func(r chi.Router) {
			r.With(read).Get("/a/{id:[a-z]+}", hello)
			r.Get("/a/{id}", hello)
		}, []string{"GET /a/{id}"}},
		"every method": {func(r chi.Router) {
			r.Handle("/a", http.HandlerFunc(hello))
			r.With(read).Handle("/b", http.HandlerFunc(hello))
		}, []string{"* /a"}},
		"a guard that is the handler": {func(r chi.Router) {
			r.Method("GET", "/a", auth.Handler(http.HandlerFunc(hello)))
			r.With(plain).Method("GET", "/b", auth.Handler(http.HandlerFunc(hello)))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := chi.NewRouter()
			c.routes(r)
			listed := chiauth.Unprotected(r)
			require.Equal(t, c.open, listed)

			server := httptest.NewServer(r)
			defer server.Close()
			all := map[string]bool{}
			require.NoError(t, chi.Walk(r, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
				all[method+" "+route] = true
				return nil
			}))
			for route := range all {
				method, pattern, _ := strings.Cut(route, " ")
				path := strings.NewReplacer("{id:[a-z]+}", "x", "{id}", "1", "closed too", "closed%20too", "{tenant}", "acme").Replace(pattern)
				if method == "CONNECT" {
					continue // which is not for paths
				}
				req, err := http.NewRequest(method, server.URL+path, nil)
				require.NoError(t, err)
				res, err := server.Client().Do(req)
				require.NoError(t, err)
				require.NoError(t, res.Body.Close())
				isListed := slices.Contains(listed, route) || slices.Contains(listed, "* "+pattern)
				require.Equal(t, isListed, res.StatusCode == 200, "%s answers %d", route, res.StatusCode)
			}
		})
	}
}

type routes = chi.Routes

// lister lists the routes of a router and is none.
type lister struct{ routes }

// What cannot be seen into is listed: a test that fails in vain is better than one
// that does not.
func TestAGuardThatCannotBeSeenCountsAsNone(t *testing.T) {
	_, auth := newAuth(t, false)
	wrap := func(next http.Handler) http.Handler {
		guarded := auth.Handler(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { guarded.ServeHTTP(w, r) })
	}
	r := chi.NewRouter()
	r.With(wrap).Get("/wrapped", hello)
	inner := chi.NewRouter()
	inner.Get("/inner", hello)
	r.Mount("/mounted", auth.Handler(inner))
	require.Equal(t, []string{"* /mounted/*", "GET /wrapped"}, chiauth.Unprotected(r))

	closed := chi.NewRouter()
	closed.Use(auth.Handler)
	closed.Get("/inner", hello)
	require.Empty(t, chiauth.Unprotected(closed))
	require.Equal(t, []string{"GET /inner"}, chiauth.Unprotected(lister{closed}), "what serves may be another than what lists")
}

func TestUseThenWithVerifiesOnceAndAsksForMore(t *testing.T) {
	issuer, auth := newAuth(t, false)
	r := chi.NewRouter()
	r.Use(auth.Handler)
	r.Get("/orders", hello)
	r.With(auth.Require(jwtverify.Scopes("write"))).Post("/orders", hello)
	server := httptest.NewServer(r)
	defer server.Close()
	for _, c := range []struct {
		method, scope string
		status        int
	}{{"GET", "read", 200}, {"POST", "read", 403}, {"POST", "write", 200}} {
		req, err := http.NewRequest(c.method, server.URL+"/orders", nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+issuer.Token(jwttest.Claims{"scope": c.scope}))
		res, err := server.Client().Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, c.status, res.StatusCode)
	}
}

func ExampleUnprotected() {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	v, err := jwtverify.New(issuer.Config())
	if err != nil {
		panic(err)
	}
	defer v.Close()
	auth, err := httpauth.New(httpauth.Config{Verifier: v})
	if err != nil {
		panic(err)
	}

	r := chi.NewRouter()
	r.Get("/healthz", hello)
	r.Route("/orders", func(r chi.Router) {
		r.Use(auth.Handler)
		r.Get("/", hello)
		r.With(auth.Require(jwtverify.Scopes("write"))).Post("/", hello)
	})
	r.Get("/admin", hello) // forgotten
	fmt.Println(chiauth.Unprotected(r))
	// Output: [GET /admin GET /healthz]
}
