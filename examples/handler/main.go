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
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/middleware/bearer"
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
	return (&http.Server{Addr: listen, Handler: newHandler(v), ReadHeaderTimeout: 5 * time.Second}).ListenAndServe()
}

func newHandler(v *jwtverify.Verifier) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /customers/{customer}/orders", func(w http.ResponseWriter, r *http.Request) {
		var tok *jwtverify.Token
		credential, err := bearer.Token(r.Header.Values("Authorization"))
		if err == nil {
			tok, err = v.Verify(r.Context(), credential)
		}
		if err == nil && tok.Subject != r.PathValue("customer") {
			err = bearer.ErrForbidden
		}
		if err != nil {
			refuse(w, err)
			return
		}
		fmt.Fprintf(w, "the orders of %s\n", tok.Subject)
	})
	return mux
}

// refuse answers as RFC 6750 says; an outage is no 401, which makes clients throw good tokens away.
func refuse(w http.ResponseWriter, err error) {
	log.Print("refused: ", err) // for the operator; a client is told no more than what follows
	d := bearer.Decide(err)
	if d.Challenge {
		w.Header().Set("WWW-Authenticate", bearer.Challenge{Code: d.Code}.String())
	}
	if d.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(d.RetryAfter.Seconds()))))
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, http.StatusText(d.Status), d.Status)
}
