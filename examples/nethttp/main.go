// Nethttp guards a handler of net/http with access tokens.
//
//	go -C examples run ./nethttp -issuer https://issuer.example.com/ -audience https://api.example.com
//	curl -i -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/orders
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"time"

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
	handler, err := newHandler(v)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: listen, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	return server.ListenAndServe()
}

func newHandler(v *jwtverify.Verifier) (http.Handler, error) {
	auth, err := httpauth.New(httpauth.Config{Verifier: v})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /orders", auth.Require(jwtverify.Scopes("read:orders"))(http.HandlerFunc(orders)))
	return mux, nil
}

func orders(w http.ResponseWriter, r *http.Request) {
	tok, _ := jwtverify.FromContext(r.Context()) // always there, behind Require
	fmt.Fprintf(w, "the orders of %s\n", tok.Subject)
}
