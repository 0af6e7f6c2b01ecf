package main

import (
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

func TestCustomersReadTheirOwnOrdersOnly(t *testing.T) {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	alice, expired := jwttest.Claims{"sub": "alice"}, jwttest.Claims{"sub": "alice", "exp": 1_700_000_000}

	for _, c := range []struct {
		name, authorization string
		status              int
		challenge           string
	}{
		{"no token", "", 401, `^Bearer realm="api"$`},
		{"two tokens in one", "Bearer a b", 400, `error="invalid_request"`},
		{"her own", "Bearer " + issuer.Token(alice), 200, `^$`},
		{"another's", "Bearer " + issuer.Token(jwttest.Claims{"sub": "bob"}), 403, `error="insufficient_scope"`},
		{"expired", "Bearer " + issuer.Token(expired), 401, `error="invalid_token"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := get(t, issuer, c.authorization)
			require.Equal(t, c.status, w.Code)
			require.Regexp(t, c.challenge, w.Header().Get("WWW-Authenticate"))
			require.Equal(t, c.status == 200, w.Body.String() == "the orders of alice\n")
		})
	}
}

func TestAnOutageIsNoBadToken(t *testing.T) {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	issuer.Respond(jwttest.Down)

	w := get(t, issuer, "Bearer "+issuer.Token(jwttest.Claims{"sub": "alice"}))
	require.Equal(t, 503, w.Code)
	require.NotEmpty(t, w.Header().Get("Retry-After"))
	require.Empty(t, w.Header().Values("WWW-Authenticate"))
}

func get(t *testing.T, issuer *jwttest.Issuer, authorization string) *httptest.ResponseRecorder {
	t.Helper()
	v, err := jwtverify.New(issuer.Config())
	require.NoError(t, err)
	defer v.Close()
	r := httptest.NewRequest("GET", "/customers/alice/orders", nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	handler, err := newHandler(v)
	require.NoError(t, err)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}
