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
//	malformed credentials, or   400 invalid_request; access_token in the query or
//	more than one               a form counts where there is another credential
//	a token that is not valid   401 invalid_token
//	a Rule that does not hold   403 insufficient_scope, with the scopes it asks for
//	tokens cannot be judged     503 with Retry-After, no challenge
//
// The body is problem details (RFC 9457), or plain text for a client that asks for
// it. Nothing that a request says comes back in an answer.
//
// # Routers
//
// Guard the whole API with one Handler and ask for more with Require further
// inside: what the same Auth has verified for this request is not verified again.
// http.ServeMux cannot list its routes, so nothing can tell you which of them you
// forgot; package chiauth can for chi.
//
// # Browsers
//
// Every method is guarded, OPTIONS and HEAD too. A browser's CORS preflight
// carries no credentials: put the CORS handler outside this one, so that it
// answers preflights itself,
//
//	handler := cors(auth.Handler(api))
//
// or, where that cannot be, let them through with Config.PassPreflight. Scripts
// see the challenge if the CORS handler exposes WWW-Authenticate
// (Access-Control-Expose-Headers).
//
// # Streams
//
// A token is judged when the request begins. Config.EndWithToken ends the
// request's context when its token does, which ends a handler that heeds it, such
// as one of server-sent events or a long poll. A connection that was hijacked, for
// a WebSocket say, has left the server's hands: its handler closes it,
//
//	stop := context.AfterFunc(r.Context(), func() { conn.Close() })
//	defer stop()
package httpauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/bearerguard/bearerguard/internal/contextkey"
	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/middleware/bearer"
)

// Config says how requests are guarded. Only Verifier is required.
type Config struct {
	// Verifier decides about tokens.
	Verifier bearer.Verifier
	// Realm names the protected space in challenges (RFC 9110 §11.5), in
	// printable ASCII. "": bearer.DefaultRealm.
	Realm string
	// AllowAnonymous lets a request without bearer credentials pass, with no
	// token in its context. One with a bad token is refused all the same, and
	// where a Rule stands there must be a token. False: nobody is anonymous.
	AllowAnonymous bool
	// PassPreflight lets CORS preflights pass, with no token in their context:
	// OPTIONS with Origin and Access-Control-Request-Method and no credentials.
	// Only for a CORS handler that stands inside and answers every one of them.
	// False: a preflight is refused like any other request without a token.
	PassPreflight bool

	// Header names one more header in which a token may stand, on its own and
	// without a scheme: X-Goog-IAP-JWT-Assertion, or a load balancer's. Where
	// clients reach the server past that proxy, they can write it too, so the
	// token in it is verified like any other. "": none.
	Header string
	// Cookie names a cookie in which a token may stand. A browser sends it along
	// with requests that other sites make, so whatever changes anything needs a
	// protection against CSRF, such as http.CrossOriginProtection, and the cookie
	// should be HttpOnly, Secure and SameSite, with a name that begins with
	// "__Host-". "": none.
	Cookie string

	// EndWithToken ends the context of a request when its token's ValidUntil has
	// come, with the cause jwtverify.ErrExpired. A token whose ValidUntil is zero
	// is refused. False: a request outlives its token.
	EndWithToken bool

	// ErrorHandler writes the body of a refusal, and headers beside those that
	// are decided: the status, WWW-Authenticate, Cache-Control and Retry-After
	// stand whatever it does. err is for logs, for jwtverify.ReasonOf, and for
	// bearer.Decide, which tells the status and what a client may read; err itself
	// is not for clients. Nil: problem details or plain text.
	ErrorHandler func(w http.ResponseWriter, r *http.Request, err error)

	// Now is the time by which a token that was verified ends, for tests; make it
	// the Verifier's. Nil: time.Now.
	Now func() time.Time
}

// Auth guards handlers. New makes it. It is safe for concurrent use.
type Auth struct {
	guard         bearer.Guard
	sources       sources
	passPreflight bool
	endWithToken  bool
	errorHandler  func(http.ResponseWriter, *http.Request, error)
	now           func() time.Time
}

// New makes an Auth. The error joins every fault in the Config.
func New(c Config) (*Auth, error) {
	a := &Auth{
		guard:         bearer.Guard{Verifier: c.Verifier, Realm: c.Realm, Anonymous: c.AllowAnonymous},
		sources:       sources{header: c.Header, cookie: c.Cookie},
		passPreflight: c.PassPreflight,
		endWithToken:  c.EndWithToken,
		errorHandler:  c.ErrorHandler,
		now:           c.Now,
	}
	if a.now == nil {
		a.now = time.Now
	}
	if err := errors.Join(append(a.sources.faults(), a.guard.Validate())...); err != nil {
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
		return &guard{g, a, next}
	}
}

// Guards reports whether a handler is one that Handler or Require returned and that
// lets nobody in without a token, but for preflights where Config.PassPreflight is
// set. It does not look inside other handlers.
func Guards(h http.Handler) bool {
	g, ok := h.(*guard)
	return ok && (!g.Anonymous || g.Rule != nil)
}

type guard struct {
	bearer.Guard
	auth *Auth
	next http.Handler
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	credential, fault := g.auth.sources.credential(r)
	ctx := r.Context()
	if before, ok := ctx.Value(admittedKey{}).(*admitted); ok && fault == nil && before.by(g.auth, credential) {
		if err := g.Allow(ctx, before.token); err != nil {
			g.refuse(w, r, err)
			return
		}
		if given, _ := jwtverify.FromContext(ctx); given != before.token { // something in between put another there
			r = r.WithContext(&admitted{ctx, before.token, g.auth, credential})
		}
		g.next.ServeHTTP(w, r)
		return
	}
	var token *jwtverify.Token
	if !(g.auth.passPreflight && fault == bearer.ErrNoCredentials && preflight(r)) {
		var err error
		if token, err = g.Identify(ctx, credential, fault); err != nil {
			g.refuse(w, r, err)
			return
		}
	}
	if g.auth.endWithToken {
		ending, cancel := bearer.Until(ctx, token, g.auth.now())
		defer cancel()
		if context.Cause(ending) == jwtverify.ErrExpired { // before it began; grpcauth says the same
			g.refuse(w, r, bearer.ErrStreamExpired)
			return
		}
		ctx = ending
	}
	// With no token this hides one that something outer put there.
	ctx = &admitted{ctx, token, g.auth, credential}
	if token != nil {
		err := g.Allow(ctx, token)
		if err == nil && formToken(r) {
			err = bearer.ErrMalformedRequest
		}
		if err != nil {
			g.refuse(w, r, err)
			return
		}
	}
	g.next.ServeHTTP(w, r.WithContext(ctx))
}

// preflight reports whether a request is one that asks what another may do (the
// Fetch standard's CORS-preflight request).
func preflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// admitted is the context of a request that was let in. It carries the token, and
// knows who verified it and by which credential: only for the same of both, and
// while the token is good, need it not be verified again.
type admitted struct {
	context.Context
	token      *jwtverify.Token // nil: an anonymous request
	auth       *Auth
	credential string
}

type admittedKey struct{}

// Value of the context.
func (a *admitted) Value(key any) any {
	switch key.(type) {
	case contextkey.Token:
		return a.token
	case admittedKey:
		return a
	}
	return a.Context.Value(key)
}

func (a *admitted) by(auth *Auth, credential string) bool {
	return a.token != nil && a.auth == auth && a.credential == credential && auth.now().Before(a.token.ValidUntil)
}
