package main

import (
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

func TestOrdersNeedATokenWithTheScope(t *testing.T) {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	v, err := jwtverify.New(issuer.Config())
	require.NoError(t, err)
	defer v.Close()
	handler, err := newHandler(v)
	require.NoError(t, err)

	for _, c := range []struct {
		name, authorization string
		status              int
	}{
		{"no token", "", 401},
		{"the scope", "Bearer " + issuer.Token(jwttest.Claims{"scope": "read:orders"}), 200},
		{"another scope", "Bearer " + issuer.Token(jwttest.Claims{"scope": "read:news"}), 403},
		{"another audience", "Bearer " + issuer.Token(jwttest.Claims{"scope": "read:orders", "aud": "https://other.example.com"}), 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/orders", nil)
			if c.authorization != "" {
				r.Header.Set("Authorization", c.authorization)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			require.Equal(t, c.status, w.Code)
			if c.status == 200 {
				require.Equal(t, "the orders of test-subject\n", w.Body.String())
			}
		})
	}
}

func TestMissingFlagsAreNamed(t *testing.T) {
	err := run("", "", "127.0.0.1:0")
	require.ErrorContains(t, err, "Issuer is required")
	require.ErrorContains(t, err, "Audience has an empty element")
}
