// Package chiauth tells which routes of a chi router nothing guards.
//
// The guard itself is package httpauth's, since chi's middleware is net/http's:
//
//	r := chi.NewRouter()
//	r.Use(auth.Handler)                                                // all that follows
//	r.With(auth.Require(jwtverify.Scopes("write"))).Post("/orders", create) // and more here
//
// What a router makes easy is to forget one. A test of one line fails when somebody
// does:
//
//	require.Equal(t, []string{"GET /healthz"}, chiauth.Unprotected(r))
package chiauth

import (
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

// Unprotected lists the routes that can be reached without a token, sorted, each as
// its method, a space and its pattern; the method is "*" for a route of every
// method. A route is left out if its handler, or a middleware on the way to it, is
// one of httpauth's that lets nobody in without a token (see [httpauth.Guards]).
//
// It errs towards listing: a guard that other code wraps is not seen, nor one
// around a router that is mounted (write r.With(auth.Handler).Mount instead of
// r.Mount(…, auth.Handler(sub))). Each middleware is called with a handler
// that never serves. What NotFound and MethodNotAllowed answer is no route.
func Unprotected(routes chi.Routes) []string {
	open := unprotected(routes, "")
	slices.Sort(open)
	return slices.Compact(open)
}

func unprotected(routes chi.Routes, above string) (open []string) {
	all := routes.Routes()
	if len(all) > 0 && guarded(routes.Middlewares()) && !inline(routes) {
		return nil
	}
	for _, route := range all {
		pattern := above + route.Pattern
		if route.SubRoutes != nil && !guards(route.Handlers["*"]) {
			open = append(open, unprotected(route.SubRoutes, strings.TrimSuffix(pattern, "/*"))...)
		}
		// Where a router is mounted, what is named beside "*" is a route put over it.
		methods := len(open)
		every := true
		for method, handler := range route.Handlers {
			if guards(handler) {
				every = false
			} else if method != "*" {
				open = append(open, method+" "+pattern)
			}
		}
		if _, ok := route.Handlers["*"]; ok && every && route.SubRoutes == nil {
			open = append(open[:methods], "* "+pattern)
		}
	}
	return open
}

// inline reports whether a router is one that With or Group returned, or may be. It
// has all the routes of the router that it came from, and its middlewares stand
// before those only that were made with it; in each of these they are found again.
func inline(routes chi.Routes) bool {
	r, ok := routes.(chi.Router)
	return !ok || len(r.With().Middlewares()) > 0
}

// guards reports whether the handler of a route is a guard, or stands behind one
// that With or Group put before it.
func guards(h http.Handler) bool {
	if chain, ok := h.(*chi.ChainHandler); ok {
		return guarded(chain.Middlewares) || httpauth.Guards(chain.Endpoint)
	}
	return httpauth.Guards(h)
}

func guarded(middlewares chi.Middlewares) bool {
	return slices.ContainsFunc(middlewares, func(m func(http.Handler) http.Handler) bool {
		return httpauth.Guards(m(http.NotFoundHandler()))
	})
}
