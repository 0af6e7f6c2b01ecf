// Package jwttest provides a token issuer for tests: a server on loopback
// that publishes its metadata and keys as a real authorization server does,
// and signs whatever token a test needs.
//
// A handler's test starts an Issuer, makes a Verifier from its Config, and
// sends a Token:
//
//	issuer := jwttest.NewIssuer("https://api.example.com")
//	defer issuer.Close()
//	v, err := jwtverify.New(issuer.Config())
//	...
//	r.Header.Set("Authorization", "Bearer "+issuer.Token(jwttest.Claims{"scope": "read:orders"}))
//
// Nothing of the library is replaced: the Verifier fetches keys over HTTP and
// checks real signatures. So a test can also rotate keys under it, withdraw
// one, or take the issuer down.
//
// Never use this package outside tests: whoever holds an Issuer can sign
// anything. As in net/http/httptest, a mistake in the test itself (an unknown
// algorithm, a kid that was never made, no loopback to listen on) panics.
package jwttest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// An Issuer is an authorization server for tests. It publishes metadata at
// /.well-known/openid-configuration and /.well-known/oauth-authorization-server,
// and its keys at /jwks.json, all below URL.
//
// Its methods may be called by many goroutines at once.
type Issuer struct {
	// URL is the issuer identifier: the iss of its tokens and the base of its
	// addresses. It is plain HTTP on loopback. Do not change it.
	URL string

	audience string
	server   *httptest.Server
	stop     context.CancelFunc // ends the requests being answered
	requests atomic.Int64

	mu      sync.Mutex
	keys    []*key // in the order they were made; a withdrawn one can still sign
	current *key
	respond http.HandlerFunc // nil: healthy
}

// NewIssuer starts an issuer whose tokens are meant for audience. It begins
// with one published ES256 key, whose kid is key-1; later ones count on. The
// caller closes it.
func NewIssuer(audience string) *Issuer {
	i := &Issuer{audience: audience}
	i.Rotate("ES256")

	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", i.serve(i.metadata))
	mux.HandleFunc("/.well-known/oauth-authorization-server", i.serve(i.metadata))
	serveJWKS := i.serve(i.JWKS)
	mux.HandleFunc("/jwks.json", func(w http.ResponseWriter, r *http.Request) {
		i.requests.Add(1)
		serveJWKS(w, r)
	})

	i.server = httptest.NewUnstartedServer(mux)
	i.URL = "http://" + i.server.Listener.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	i.stop = stop
	i.server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	i.server.Start()
	return i
}

// Close stops the server and ends the requests it is answering. From then on
// connections are refused, as by an issuer that has died; signing still works.
// It is safe to call again.
func (i *Issuer) Close() {
	i.stop() // first, since the server waits for its requests
	i.server.Close()
}

// Config returns what a Verifier needs to accept this issuer's tokens. The
// caller may change it before calling [jwtverify.New].
func (i *Issuer) Config() jwtverify.Config {
	return jwtverify.Config{Issuer: i.URL, Audience: []string{i.audience}}
}

// AddKey makes a key for alg, publishes it, and returns its kid. Tokens are
// still signed as before until Use. The algorithms are RS256, RS384, RS512,
// PS256, PS384, PS512, ES256, ES384, ES512, EdDSA and Ed25519.
func (i *Issuer) AddKey(alg string) (kid string) {
	k := newKey(alg) // RSA takes a while, so before the lock
	i.mu.Lock()
	defer i.mu.Unlock()
	k.kid = fmt.Sprintf("key-%d", len(i.keys)+1)
	i.keys = append(i.keys, k)
	return k.kid
}

// Use signs tokens with the key of that kid from now on.
func (i *Issuer) Use(kid string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.current = i.mustFind(kid)
}

// Rotate adds a key for alg and uses it at once, so that its first token
// arrives before any verifier has seen the key. The old keys stay published.
func (i *Issuer) Rotate(alg string) (kid string) {
	kid = i.AddKey(alg)
	i.Use(kid)
	return kid
}

// Withdraw unpublishes a key. A verifier that holds it refuses its tokens
// after its next refresh. The issuer can still sign with it, to show just
// that. Leave another key published: a set without any is taken for a fault of
// the issuer, and the old one kept.
func (i *Issuer) Withdraw(kid string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mustFind(kid).withdrawn = true
}

// JWKS returns the published keys as a JWK Set, for [jwks.Parse] and for tests
// that need no server.
//
// [jwks.Parse]: https://pkg.go.dev/github.com/bearerguard/bearerguard/jwks#Parse
func (i *Issuer) JWKS() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	published := []map[string]string{}
	for _, k := range i.keys {
		if !k.withdrawn {
			published = append(published, k.jwk())
		}
	}
	return mustJSON(map[string]any{"keys": published})
}

// Respond lets answer speak for the issuer's metadata and keys from now on;
// nil heals it. [Down], [Hang] and [Garbage] are ready-made answers. A request
// context ends when the issuer closes; an answer that outlives it holds up
// Close.
func (i *Issuer) Respond(answer http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.respond = answer
}

// Requests returns how many requests for its keys the issuer has seen,
// whatever it answered.
func (i *Issuer) Requests() int { return int(i.requests.Load()) }

func (i *Issuer) metadata() []byte {
	return mustJSON(map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/jwks.json"})
}

func (i *Issuer) serve(document func() []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		respond := i.respond
		i.mu.Unlock()
		if respond != nil {
			respond(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document())
	}
}

func (i *Issuer) mustFind(kid string) *key {
	if k := i.find(kid); k != nil {
		return k
	}
	panic(fmt.Sprintf("jwttest: this issuer has made no key %q", kid))
}

func (i *Issuer) find(kid string) *key {
	for _, k := range i.keys {
		if k.kid == kid {
			return k
		}
	}
	return nil
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("jwttest: " + err.Error())
	}
	return b
}
