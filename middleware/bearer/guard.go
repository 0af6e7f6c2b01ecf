package bearer

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// Verifier decides about one token, as jwtverify.Verifier does. Whoever counts
// or traces verifications wraps one. It is called concurrently.
type Verifier interface {
	// Verify returns a token that may be trusted, or an error and no token.
	Verify(ctx context.Context, token string) (*jwtverify.Token, error)
}

// What can be wrong beside the token itself.
var (
	// ErrNoCredentials: the request carries no bearer token; another scheme's
	// credentials are none (RFC 6750 §3.1).
	ErrNoCredentials = errors.New("bearer: no bearer credentials")
	// ErrMalformedRequest: the request's credentials are repeated or not what
	// the grammar allows.
	ErrMalformedRequest = errors.New("bearer: malformed credentials")
	// ErrForbidden: the token is valid and a Rule does not allow it.
	ErrForbidden = errors.New("bearer: the token is not allowed here")
	// ErrStreamExpired: the token of a stream was valid when the stream began, and
	// is no more.
	ErrStreamExpired = errors.New("bearer: the token expired while its stream was open")
	// errNoVerdict: a Verifier returned no token and no reason.
	errNoVerdict = errors.New("bearer: the Verifier gave no verdict")
)

// Guard is what a resource asks of a request before its handler may run. Every
// adapter asks it, so that all of them mean the same.
type Guard struct {
	Verifier  Verifier
	Realm     string          // see Challenge
	Anonymous bool            // lets a request without credentials in, with no token, where there is no Rule
	Rule      *jwtverify.Rule // nil: any valid token will do
}

// Validate joins the faults of a Guard's fields, with what to write instead.
func (g *Guard) Validate() error {
	var faults []error
	if v := reflect.ValueOf(g.Verifier); !v.IsValid() || (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil() {
		faults = append(faults, errors.New("Config.Verifier is required: write what jwtverify.New returned"))
	}
	if strings.ContainsFunc(g.Realm, func(r rune) bool { return r < ' ' || r > '~' }) {
		faults = append(faults, fmt.Errorf("Config.Realm is %q: write printable ASCII", g.Realm))
	}
	return errors.Join(faults...)
}

// With returns a Guard that asks for every one of the rules too; for none, the
// same.
func (g Guard) With(rules ...jwtverify.Rule) Guard {
	if len(rules) > 0 {
		rule := jwtverify.All(rules...)
		g.Rule = &rule
	}
	return g
}

// Admit decides about a request by the credential that [Token] found in it, or by
// the error with which it found none. The error is for [Decide]; the token is nil
// where there is an error, and for an anonymous request.
func (g *Guard) Admit(ctx context.Context, credential string, fault error) (*jwtverify.Token, error) {
	token, err := g.Identify(ctx, credential, fault)
	if err == nil && token != nil {
		err = g.Allow(ctx, token)
	}
	if err != nil {
		return nil, err
	}
	return token, nil
}

// Identify is the first half of [Guard.Admit]: whose request it is. The second is
// [Guard.Allow], for an adapter that has a context with the token by then.
func (g *Guard) Identify(ctx context.Context, credential string, fault error) (*jwtverify.Token, error) {
	if errors.Is(fault, ErrNoCredentials) && g.Anonymous && g.Rule == nil {
		return nil, nil
	}
	if fault != nil {
		return nil, fault
	}
	return Authenticate(ctx, g.Verifier, credential)
}

// Allow applies the Guard's Rule to a token that it has identified before.
func (g *Guard) Allow(ctx context.Context, token *jwtverify.Token) error {
	if g.Rule == nil {
		return nil
	}
	return Authorize(ctx, *g.Rule, token)
}

// Challenge is what the answer to a refused request asks for; "" where the answer
// carries none.
func (g *Guard) Challenge(d Decision) string {
	if !d.Challenge {
		return ""
	}
	c := Challenge{Realm: g.Realm, Code: d.Code}
	if d.Code == insufficientScope && g.Rule != nil {
		c.Scopes = g.Rule.Scopes()
	}
	return c.String()
}

// Authenticate verifies the token of a request. An error of the Verifier's that
// says neither that the token is bad nor that it cannot be judged explains
// nothing, and is not passed on: it must not be taken for one of this package's.
func Authenticate(ctx context.Context, v Verifier, token string) (*jwtverify.Token, error) {
	if v == nil {
		return nil, errNoVerdict
	}
	verified, err := v.Verify(ctx, token)
	switch {
	case err == nil && verified != nil:
		return verified, nil
	case errors.Is(err, jwtverify.ErrUnavailable), errors.Is(err, jwtverify.ErrInvalidToken):
		return nil, err
	}
	return nil, errNoVerdict
}

// Authorize applies a Rule, in a context that carries the token. Without a token
// there are no credentials to judge.
func Authorize(ctx context.Context, rule jwtverify.Rule, token *jwtverify.Token) error {
	if token == nil {
		return ErrNoCredentials
	}
	if carried, _ := jwtverify.FromContext(ctx); carried != token {
		ctx = jwtverify.NewContext(ctx, token)
	}
	if !rule.Allows(ctx, token) {
		return ErrForbidden
	}
	return nil
}

// Until returns a context that ends when the token does, leeway included, with
// the cause [jwtverify.ErrExpired]. An anonymous request's token is nil and ends
// nothing; a token whose ValidUntil is zero is over.
func Until(ctx context.Context, token *jwtverify.Token, now time.Time) (context.Context, context.CancelFunc) {
	if token == nil {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, token.ValidUntil.Sub(now), jwtverify.ErrExpired)
}
