package httpauth_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/middleware/bearer"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

// A route that asks for a scope. The handler finds the token in the context.
func ExampleAuth_Require() {
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

	mux := http.NewServeMux()
	mux.Handle("GET /orders", auth.Require(jwtverify.Scopes("read:orders"))(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			tok, _ := jwtverify.FromContext(r.Context())
			fmt.Fprintln(w, "orders of", tok.Subject)
		})))

	for _, scope := range []string{"read:orders", "read:news"} {
		r := httptest.NewRequest(http.MethodGet, "/orders", nil)
		r.Header.Set("Authorization", "Bearer "+issuer.Token(jwttest.Claims{"sub": "alice", "scope": scope}))
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 200 orders of alice
	// 403 {"title":"Forbidden","status":403,"detail":"The access token does not have the scopes or roles that are needed"}
}

// Everything below the middleware is guarded, with chi's Use as with this.
func ExampleAuth_Handler() {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	v, err := jwtverify.New(issuer.Config())
	if err != nil {
		panic(err)
	}
	defer v.Close()
	auth, err := httpauth.New(httpauth.Config{Verifier: v, Realm: "orders"})
	if err != nil {
		panic(err)
	}
	guarded := auth.Handler(http.NotFoundHandler())

	w := httptest.NewRecorder()
	guarded.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	// Output: 401 Bearer realm="orders"
}

// A handler whose decision takes more than a token verifies it itself, and leaves
// the wording of a refusal to an Auth.
func ExampleToken() {
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

	mux := http.NewServeMux()
	mux.HandleFunc("GET /customers/{customer}", func(w http.ResponseWriter, r *http.Request) {
		var tok *jwtverify.Token
		credential, err := httpauth.Token(r)
		if err == nil {
			tok, err = v.Verify(r.Context(), credential)
		}
		if err == nil && tok.Subject != r.PathValue("customer") {
			err = bearer.ErrForbidden
		}
		if err != nil {
			auth.Refuse(w, r, err)
			return
		}
		fmt.Fprintln(w, "hello", tok.Subject)
	})

	for _, customer := range []string{"alice", "bob"} {
		r := httptest.NewRequest(http.MethodGet, "/customers/"+customer, nil)
		r.Header.Set("Authorization", "Bearer "+issuer.Token(jwttest.Claims{"sub": "alice"}))
		r.Header.Set("Accept", "text/plain")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 200 hello alice
	// 403 Forbidden
}
