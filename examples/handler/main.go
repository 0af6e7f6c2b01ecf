// Handler calls Verify itself, for a handler whose decision takes more than a
// token: here customers may read their own orders and nobody else's.
//
//	go -C examples run ./handler -issuer https://issuer.example.com/ -audience https://api.example.com
//	curl -i -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/customers/alice/orders
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/middleware/bearer"
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
	return (&http.Server{Addr: listen, Handler: handler, ReadHeaderTimeout: 5 * time.Second}).ListenAndServe()
}

func newHandler(v *jwtverify.Verifier) (http.Handler, error) {
	auth, err := httpauth.New(httpauth.Config{Verifier: v}) // here it only words refusals
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /customers/{customer}/orders", func(w http.ResponseWriter, r *http.Request) {
		var tok *jwtverify.Token
		credential, err := httpauth.Token(r)
		if err == nil {
			tok, err = v.Verify(r.Context(), credential)
		}
		if err == nil && tok.Subject != r.PathValue("customer") {
			err = bearer.ErrForbidden
		}
		if err != nil {
			log.Print("refused: ", err) // for the operator; a client is told no more than RFC 6750 says
			auth.Refuse(w, r, err)
			return
		}
		fmt.Fprintf(w, "the orders of %s\n", tok.Subject)
	})
	return mux, nil
}
