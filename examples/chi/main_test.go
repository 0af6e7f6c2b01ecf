package main

import (
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/middleware/chiauth"
)

func TestOnlyTheHealthCheckIsOpen(t *testing.T) {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	v, err := jwtverify.New(issuer.Config())
	require.NoError(t, err)
	defer v.Close()
	router, err := newRouter(v)
	require.NoError(t, err)
	require.Equal(t, []string{"GET /healthz"}, chiauth.Unprotected(router))

	for _, c := range []struct {
		method, path, scope string
		status              int
	}{
		{"GET", "/healthz", "", 200},
		{"GET", "/orders/", "", 401},
		{"GET", "/orders/", "any", 200},
		{"POST", "/orders/", "any", 403},
		{"POST", "/orders/", "write:orders", 201},
	} {
		r := httptest.NewRequest(c.method, c.path, nil)
		if c.scope != "" {
			r.Header.Set("Authorization", "Bearer "+issuer.Token(jwttest.Claims{"scope": c.scope}))
		}
		w := httptest.NewRecorder()
		router.ServeHTTP(w, r)
		require.Equal(t, c.status, w.Code, "%+v", c)
	}
}

func TestMissingFlagsAreNamed(t *testing.T) {
	require.ErrorContains(t, run("", "", "127.0.0.1:0"), "Issuer is required")
}
