package introspect_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/introspect"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

// newAuthorizationServer knows one opaque token.
func newAuthorizationServer() *httptest.Server {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	mux.HandleFunc("/.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": server.URL, "introspection_endpoint": server.URL + "/introspect"})
	})
	mux.HandleFunc("POST /introspect", func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]any{"active": false}
		if id, secret, _ := r.BasicAuth(); id == "orders-api" && secret == "not-a-secret" && r.FormValue("token") == "7Fjfp0ZBr1KtDRbnfVdmIw" {
			answer = map[string]any{
				"active": true, "sub": "alice", "aud": "https://api.example.com", "scope": "read:orders", "exp": time.Now().Add(time.Hour).Unix(),
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	})
	return server
}

// An issuer that hands out opaque tokens, and an API that takes them.
func Example() {
	issuer := newAuthorizationServer() // yours is a real one
	defer issuer.Close()
	i, err := introspect.New(introspect.Config{
		Issuer:       issuer.URL,
		Audience:     []string{"https://api.example.com"},
		ClientID:     "orders-api",
		ClientSecret: "not-a-secret",
	})
	if err != nil {
		panic(err)
	}
	defer i.Close()

	auth, err := httpauth.New(httpauth.Config{Verifier: i})
	if err != nil {
		panic(err)
	}
	orders := auth.Require(jwtverify.Scopes("read:orders"))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := jwtverify.FromContext(r.Context())
		fmt.Fprintf(w, "the orders of %s", token.Subject)
	}))
	for _, token := range []string{"7Fjfp0ZBr1KtDRbnfVdmIw", "made-up"} {
		r := httptest.NewRequest("GET", "/orders", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		orders.ServeHTTP(w, r)
		fmt.Println(w.Code, http.StatusText(w.Code))
	}
	// Output:
	// 200 OK
	// 401 Unauthorized
}

// JWTs and opaque tokens at one API. With IntrospectJWTs, on the routes where it
// matters, a JWT that was revoked is dead before its exp.
func ExampleHybrid() {
	jwts := jwttest.NewIssuer("https://api.example.com")
	defer jwts.Close()
	config := jwts.Config()
	v, err := jwtverify.New(config)
	if err != nil {
		panic(err)
	}
	defer v.Close()
	issuer := newAuthorizationServer()
	defer issuer.Close()
	i, err := introspect.New(introspect.Config{
		Issuer: issuer.URL, Audience: config.Audience, ClientID: "orders-api", ClientSecret: "not-a-secret",
	})
	if err != nil {
		panic(err)
	}
	defer i.Close()

	h, err := introspect.NewHybrid(introspect.HybridConfig{JWT: v, Opaque: i})
	if err != nil {
		panic(err)
	}
	for _, token := range []string{jwts.Token(jwttest.Claims{"sub": "bob"}), "7Fjfp0ZBr1KtDRbnfVdmIw"} {
		t, err := h.Verify(context.Background(), token)
		if err != nil {
			panic(err)
		}
		fmt.Println(t.Subject)
	}
	// Output:
	// bob
	// alice
}
