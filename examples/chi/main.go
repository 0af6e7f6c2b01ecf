// Chi guards the routes of a chi router: one guard for all of them, more for some.
//
//	go -C examples run ./chi -issuer https://issuer.example.com/ -audience https://api.example.com
//	curl -i -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/orders
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

func main() {
	issuer := flag.String("issuer", "", "the issuer's `URL`, exactly as its tokens have it in iss")
	audience := flag.String("audience", "", "the `aud` of its tokens for this API")
	listen := flag.String("listen", "127.0.0.1:8080", "`address` to serve at")
	flag.Parse()
	log.Fatal(run(*issuer, *audience, *listen))
}

func run(issuer, audience, listen string) error {
	v, err := jwtverify.New(jwtverify.Config{Issuer: issuer, Audience: []string{audience}})
	if err != nil {
		return err
	}
	defer v.Close()
	router, err := newRouter(v)
	if err != nil {
		return err
	}
	return (&http.Server{Addr: listen, Handler: router, ReadHeaderTimeout: 5 * time.Second}).ListenAndServe()
}

// newRouter is what main_test.go asks for routes that somebody forgot to guard.
func newRouter(v *jwtverify.Verifier) (chi.Router, error) {
	auth, err := httpauth.New(httpauth.Config{Verifier: v})
	if err != nil {
		return nil, err
	}
	r := chi.NewRouter()
	r.Get("/healthz", func(http.ResponseWriter, *http.Request) {})
	r.Route("/orders", func(r chi.Router) {
		r.Use(auth.Handler) // any valid token
		r.Get("/", func(w http.ResponseWriter, r *http.Request) {
			tok, _ := jwtverify.FromContext(r.Context())
			fmt.Fprintf(w, "the orders of %s\n", tok.Subject)
		})
		r.With(auth.Require(jwtverify.Scopes("write:orders"))).Post("/", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
		})
	})
	return r, nil
}
