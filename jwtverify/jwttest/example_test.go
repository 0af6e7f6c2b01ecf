package jwttest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

// newAPI stands for the code under test: a service that is told its issuer.
func newAPI(v *jwtverify.Verifier) http.Handler {
	auth, err := httpauth.New(httpauth.Config{Verifier: v})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /orders", auth.Require(jwtverify.Scopes("read:orders"))(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			tok, _ := jwtverify.FromContext(r.Context())
			fmt.Fprintf(w, "the orders of %s", tok.Subject)
		})))
	return mux
}

// A handler's test: start an issuer, make the Verifier from it, send a token.
func Example() {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	v, err := jwtverify.New(issuer.Config())
	if err != nil {
		panic(err)
	}
	defer v.Close()

	r := httptest.NewRequest("GET", "/orders", nil)
	r.Header.Set("Authorization", "Bearer "+issuer.Token(jwttest.Claims{"sub": "alice", "scope": "read:orders"}))
	w := httptest.NewRecorder()
	newAPI(v).ServeHTTP(w, r)

	body, _ := io.ReadAll(w.Body)
	fmt.Println(w.Code, string(body))
	// Output: 200 the orders of alice
}

// Tokens that a service must refuse, and why it does.
func ExampleIssuer_Mint() {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	v, err := jwtverify.New(issuer.Config())
	if err != nil {
		panic(err)
	}
	defer v.Close()

	for _, token := range []string{
		issuer.Token(jwttest.Claims{"aud": "https://other.example.com"}),
		issuer.Token(jwttest.Claims{"exp": 1_700_000_000}),
		issuer.Mint(jwttest.Header{"alg": "none"}, nil),
	} {
		_, err := v.Verify(context.Background(), token)
		fmt.Println(string(jwtverify.ReasonOf(err)))
	}
	// Output:
	// audience
	// expired
	// algorithm
}

// Keys change while the service runs.
func ExampleIssuer_Rotate() {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	v, err := jwtverify.New(issuer.Config())
	if err != nil {
		panic(err)
	}
	defer v.Close()
	ctx := context.Background()

	leaked := issuer.Token(nil)
	issuer.Rotate("RS256")
	_, err = v.Verify(ctx, issuer.Token(nil))
	fmt.Println("new key:", err)

	issuer.Withdraw("key-1")
	if err := v.Refresh(ctx); err != nil {
		panic(err)
	}
	_, err = v.Verify(ctx, leaked)
	fmt.Println("withdrawn key:", string(jwtverify.ReasonOf(err)))
	// Output:
	// new key: <nil>
	// withdrawn key: unknown_key
}
