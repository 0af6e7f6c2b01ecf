// Gateway stands in front of services that know nothing of tokens: it verifies each
// request's token once, and tells them in headers of its own who is asking. It
// plays itself through, with an issuer, a service and clients:
//
//	go -C examples run ./gateway
package main

import (
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

func main() {
	if err := play(os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// newGateway sends what a rule allows to the service, and refuses all else.
func newGateway(v *jwtverify.Verifier, service *url.URL) (http.Handler, error) {
	auth, err := httpauth.New(httpauth.Config{Verifier: v, EndWithToken: true}) // a WebSocket too
	if err != nil {
		return nil, err
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(service)
		identify(r.Out)
	}}
	mux := http.NewServeMux()
	mux.Handle("GET /orders", auth.Require(jwtverify.Scopes("read:orders"))(proxy))
	mux.Handle("DELETE /orders", auth.Require(jwtverify.Roles("admin"))(proxy))
	return auth.Handler(mux), nil // what has no route here, or only a redirect, is guarded too
}

// Only the gateway may say who is asking, in headers with this prefix.
const prefix = "Identity-"

// identify replaces what a client says of itself by what its token says. The token
// goes no further than here: a service that does not need it cannot lose it.
func identify(r *http.Request) {
	for name := range r.Header {
		// Some servers take an underscore for a hyphen.
		if strings.HasPrefix(http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-")), prefix) {
			delete(r.Header, name)
		}
	}
	r.Header.Del("Authorization")
	tok, _ := jwtverify.FromContext(r.Context()) // always there, behind Require
	r.Header.Set(prefix+"Subject", escaped(tok.Subject))
	r.Header.Set(prefix+"Scopes", escaped(tok.Scopes...))
	r.Header.Set(prefix+"Roles", escaped(tok.Roles...))
}

// escaped is a list that fits into a header whatever an issuer puts into a name.
func escaped(names ...string) string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = url.QueryEscape(name)
	}
	return strings.Join(out, " ")
}
