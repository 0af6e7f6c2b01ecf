// Multitenant is an API whose customers each bring an issuer of their own. Whose
// issuer it is decides what a request sees: the tenant comes from the verified
// token, never from the request. It plays itself through, with issuers and clients:
//
//	go -C examples run ./multitenant
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"sync"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

const audience = "https://api.example.com"

func main() {
	if err := play(os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// tenants is the table of customers, by issuer: in a real service a database's.
type tenants struct {
	mu       sync.RWMutex
	byIssuer map[string]string
}

func (t *tenants) name(issuer string) (string, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	name, ok := t.byIssuer[issuer]
	return name, ok
}

func (t *tenants) set(issuer, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byIssuer[issuer] = name
}

func (t *tenants) remove(issuer string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byIssuer, issuer)
}

// resolve is asked for issuers that nobody has verified: it looks them up as they
// are, and makes nothing of them that is not in the table.
func (t *tenants) resolve(_ context.Context, issuer string) (jwtverify.Config, error) {
	if _, ok := t.name(issuer); !ok {
		return jwtverify.Config{}, jwtverify.ErrIssuer
	}
	return jwtverify.Config{Issuer: issuer, Audience: []string{audience}}, nil
}

// newAPI serves each tenant its own orders.
func newAPI(t *tenants, issuers *jwtverify.Issuers) (http.Handler, error) {
	auth, err := httpauth.New(httpauth.Config{Verifier: issuers})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /orders", auth.Require(jwtverify.Scopes("read:orders"))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tok, _ := jwtverify.FromContext(r.Context()) // always there, behind Require
		name, ok := t.name(tok.Issuer)
		if !ok { // it left while its token was being checked
			http.Error(w, "no such tenant", http.StatusForbidden)
			return
		}
		// Subjects are names within an issuer: two tenants may each have an alice.
		fmt.Fprintf(w, "the orders of %s at %s\n", tok.Subject, name)
	})))
	return mux, nil
}
