// Package httpauth guards net/http handlers with bearer tokens (RFC 6750), and
// so chi's and every other router's that takes func(http.Handler) http.Handler.
//
//	auth, err := httpauth.New(httpauth.Config{Verifier: verifier})
//	mux.Handle("GET /orders", auth.Require(jwtverify.Scopes("read:orders"))(orders))
//
// A request is let in with a token that verifies, which the handler finds with
// jwtverify.FromContext, or it is answered here and the handler is not called:
//
//	no bearer credentials       401, a challenge that names no error
//	malformed credentials       400 invalid_request; so is access_token in the
//	                            query beside a header
//	a token that is not valid   401 invalid_token
//	a Rule that does not hold   403 insufficient_scope, with the scopes it asks for
//	tokens cannot be judged     503 with Retry-After, no challenge
//
// Every method is guarded, OPTIONS and HEAD too. A browser's CORS preflight
// carries no credentials: let a CORS handler outside this one answer it, and
// expose WWW-Authenticate there for scripts that read the challenge.
//
// A token is judged when the request begins. A handler of a stream or a WebSocket
// ends it at Token.ValidUntil.
package httpauth

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/middleware/bearer"
)

// Config says how requests are guarded.
type Config struct {
	// Verifier decides about tokens. Required.
	Verifier bearer.Verifier
	// Realm names the protected space in challenges (RFC 9110 §11.5), in
	// printable ASCII. "": bearer.DefaultRealm.
	Realm string
	// AllowAnonymous lets a request without bearer credentials pass, with no
	// token in its context. One with a bad token is refused all the same, and
	// where a Rule stands there must be a token. False: nobody is anonymous.
	AllowAnonymous bool
}

// Auth guards handlers. New makes it. It is safe for concurrent use.
type Auth struct{ guard bearer.Guard }

// New makes an Auth. The error joins every fault in the Config.
func New(c Config) (*Auth, error) {
	a := &Auth{bearer.Guard{Verifier: c.Verifier, Realm: c.Realm, Anonymous: c.AllowAnonymous}}
	if err := a.guard.Validate(); err != nil {
		return nil, fmt.Errorf("httpauth: %w", err)
	}
	return a, nil
}

// Handler lets in requests with a valid token.
func (a *Auth) Handler(next http.Handler) http.Handler { return a.Require()(next) }

// Require lets in requests with a valid token that every rule allows. Without
// rules it is the same as [Auth.Handler].
func (a *Auth) Require(rules ...jwtverify.Rule) func(http.Handler) http.Handler {
	g := a.guard.With(rules...)
	return func(next http.Handler) http.Handler {
		if next == nil {
			panic("httpauth: a nil handler has nothing to guard")
		}
		return &guard{g, next}
	}
}

type guard struct {
	bearer.Guard
	next http.Handler
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, err := g.admit(r)
	if err != nil {
		g.refuse(w, err)
		return
	}
	// With no token this hides one that something outer put there.
	g.next.ServeHTTP(w, r.WithContext(jwtverify.NewContext(r.Context(), token)))
}

func (g *guard) admit(r *http.Request) (*jwtverify.Token, error) {
	authorization := r.Header.Values("Authorization")
	if len(authorization) > 0 && queryToken(r.URL.RawQuery) {
		return nil, bearer.ErrMalformedRequest // RFC 6750 §2: one method for each request
	}
	return g.Admit(r.Context(), authorization)
}

func (g *guard) refuse(w http.ResponseWriter, err error) {
	decision := bearer.Decide(err)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if challenge := g.Challenge(decision); challenge != "" {
		h.Set("WWW-Authenticate", challenge)
	}
	if decision.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(decision.RetryAfter.Seconds())), 10))
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(decision.Status)
	_, _ = io.WriteString(w, http.StatusText(decision.Status)+"\n")
}

// queryToken reports whether the query has a parameter access_token, a place
// where no token is taken from (RFC 9700 §4.3.2).
func queryToken(query string) bool {
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if unescaped, err := url.QueryUnescape(name); err == nil && unescaped == "access_token" {
			return true
		}
	}
	return false
}
