package jwtverify

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bearerguard/bearerguard/jwks"
)

// KeySource finds the key that a token says it was signed with. A [jwks.Cache]
// and a [jwks.Set] are KeySources. An empty kid stands for a token without one.
// It returns jwks.ErrKeyNotFound where the issuer has no such key; any other
// error means that it could not be asked, and makes [ErrUnavailable], with the
// error's RetryAfter() time.Duration if it has that method. It is called
// concurrently, and waits no longer than the context.
type KeySource interface {
	// Key returns the key with which a token of that kid and alg is checked.
	Key(ctx context.Context, kid, alg string) (*jwks.Key, error)
}

// Verifier checks the access tokens of one issuer. It is safe for concurrent
// use. Close it when it is no longer needed.
type Verifier struct {
	issuer     string
	accepted   []string // audiences
	algorithms map[string]bool
	types      map[string]bool // nil: the default, with the rule about a token's shape
	reading    reading

	leeway            time.Duration
	maxLifetime       time.Duration
	refuseConstrained bool
	checks            []func(context.Context, *Token) error

	headers headers

	keys   KeySource
	owned  *jwks.Cache // that Close closes
	now    func() time.Time
	logger *slog.Logger
	closed atomic.Bool
}

// Verify decides about one token, in compact form and without any scheme before
// it. It takes the token only if every check of the package's and of the
// Config's passes; the error is an [*Error] otherwise, and the Token nil. A
// known key is found without waiting; see [jwks.Cache.Key] for the rest.
func (v *Verifier) Verify(ctx context.Context, token string) (*Token, error) {
	if v == nil || v.keys == nil {
		return nil, refuse(ErrUnavailable, "the Verifier was not made by New")
	}
	verified, err := v.verify(ctx, token)
	if err != nil {
		if v.logger.Enabled(ctx, slog.LevelDebug) {
			v.logger.LogAttrs(ctx, slog.LevelDebug, "jwtverify: token refused",
				slog.String("issuer", v.issuer), slog.String("reason", string(err.Reason)), slog.String("detail", err.Detail))
		}
		return nil, err
	}
	return verified, nil
}

// verify is the order of doc.go, from top to bottom.
func (v *Verifier) verify(ctx context.Context, token string) (*Token, *Error) {
	if v.closed.Load() {
		return nil, refuse(ErrUnavailable, "the Verifier is closed")
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	c, err := s.split(token)
	if err != nil {
		return nil, err
	}
	segment := token[:strings.IndexByte(token, '.')]
	h, known := v.headers.get(segment)
	if !known {
		if h, err = readHeader(c.header); err != nil {
			return nil, err
		}
		if err := v.allowHeader(&h); err != nil {
			return nil, err
		}
	}
	if len(c.signature) == 0 {
		return nil, refuse(ErrMalformed, "an empty signature")
	}
	f, err := readClaims(c.payload, &v.reading)
	if err != nil {
		return nil, err
	}
	if err := v.allowClaims(h, &f, c.payload); err != nil {
		return nil, err
	}
	if err := v.checkSignature(ctx, h, c); err != nil {
		return nil, err
	}
	if !known {
		v.headers.put(segment, h)
	}
	t := f.token
	t.Header = Header{Algorithm: h.alg, KeyID: h.kid, Type: h.typ}
	t.ValidUntil = t.Expiry.Add(v.leeway)
	t.claims = f.whole
	for _, check := range v.checks {
		if err := check(ctx, t); err != nil {
			return nil, checkError(err)
		}
	}
	return t, nil
}

func (v *Verifier) allowHeader(h *header) *Error {
	if !v.algorithms[h.alg] {
		return refuse(ErrAlgorithm, "alg is "+quote(h.alg))
	}
	if h.hasKid && h.kid == "" {
		// Not the same as no kid, which any sole key may serve.
		return refuse(ErrUnknownKey, "kid is empty")
	}
	typ := mediaType(h.typ)
	h.accessToken = typ == accessToken
	switch {
	case h.hasTyp && typ == "":
		return refuse(ErrType, "typ is empty")
	case v.types == nil && typ != accessToken && typ != "jwt" && typ != "",
		v.types != nil && !v.types[typ]:
		return refuse(ErrType, "typ is "+quote(h.typ))
	}
	return nil
}

// allowClaims applies the policy to claims that are as yet unverified.
func (v *Verifier) allowClaims(h header, f *facts, payload []byte) *Error {
	t, now := f.token, v.now()
	switch {
	case !f.issuer:
		return refuse(ErrClaims, "iss is missing")
	case t.Issuer != v.issuer:
		return refuse(ErrIssuer, "iss is not the issuer")
	case !f.audience:
		return refuse(ErrClaims, v.reading.audience+" is missing")
	case !hasAny(t.Audience, v.accepted):
		return refuse(ErrAudience, v.reading.audience+" names no audience of ours")
	case !f.exp:
		return refuse(ErrClaims, "exp is missing")
	case !now.Before(t.Expiry.Add(v.leeway)):
		return refuse(ErrExpired, "exp was "+now.Sub(t.Expiry).Round(time.Second).String()+" ago")
	case now.Add(v.leeway).Before(t.NotBefore):
		return refuse(ErrNotYetValid, "nbf is "+t.NotBefore.Sub(now).Round(time.Second).String()+" ahead")
	case now.Add(v.leeway).Before(t.IssuedAt):
		return refuse(ErrNotYetValid, "iat is "+t.IssuedAt.Sub(now).Round(time.Second).String()+" ahead")
	case v.maxLifetime > 0 && t.IssuedAt.IsZero():
		return refuse(ErrClaims, "iat is missing, so the token's lifetime is unknown")
	case v.maxLifetime > 0 && t.Expiry.Sub(t.IssuedAt) > v.maxLifetime:
		return refuse(ErrClaims, "exp is further from iat than MaxLifetime")
	case v.types == nil && !h.accessToken && f.foreign != "":
		return refuse(ErrType, "it has "+f.foreign+" as no access token should; if your issuer's do, set Config.Types")
	case v.refuseConstrained && f.senderConstrained:
		return refuse(ErrClaims, "it has cnf: it is bound to a key and no bearer token")
	case f.found < len(v.reading.required):
		return refuse(ErrClaims, missingClaim(payload, v.reading.required)+" is missing")
	}
	return nil
}

func (v *Verifier) checkSignature(ctx context.Context, h header, c compact) *Error {
	key, err := v.keys.Key(ctx, h.kid, h.alg)
	if err != nil {
		e := keyError(err)
		if e.Reason == ErrUnknownKey && h.hasKid {
			e.Detail += ": kid is " + quote(h.kid) + ", alg " + quote(h.alg)
		}
		return e
	}
	if key == nil {
		return refuse(ErrUnavailable, "the key source returned neither a key nor an error")
	}
	if err := key.Verify(h.alg, c.input, c.signature); err != nil {
		return refuse(ErrSignature, err.Error())
	}
	return nil
}

// Ready waits until tokens can be judged: until the first keys are there. It is
// for start-up and for readiness probes. The error is [ErrUnavailable].
func (v *Verifier) Ready(ctx context.Context) error {
	return v.ask(func() error {
		if source, ok := v.keys.(interface{ Ready(context.Context) error }); ok {
			return source.Ready(ctx)
		}
		return nil
	})
}

// Refresh fetches the keys now, for emergencies. A key source that cannot be
// refreshed is left as it is. The error is [ErrUnavailable].
func (v *Verifier) Refresh(ctx context.Context) error {
	return v.ask(func() error {
		if source, ok := v.keys.(interface{ Refresh(context.Context) error }); ok {
			return source.Refresh(ctx)
		}
		return nil
	})
}

func (v *Verifier) ask(source func() error) error {
	if v == nil || v.keys == nil {
		return refuse(ErrUnavailable, "the Verifier was not made by New")
	}
	if v.closed.Load() {
		return refuse(ErrUnavailable, "the Verifier is closed")
	}
	if err := source(); err != nil {
		return unavailable("the key source", err)
	}
	return nil
}

// Status is what an operator may want to know of a Verifier. It holds no secret.
type Status struct {
	Keys jwks.Status // zero where the key source has none to give
}

// Status describes the Verifier at this moment.
func (v *Verifier) Status() Status {
	if v == nil {
		return Status{}
	}
	if source, ok := v.keys.(interface{ Status() jwks.Status }); ok {
		return Status{Keys: source.Status()}
	}
	return Status{}
}

// Close ends the background work that New started and waits for it. Keys that
// the Config brought stay open. From then on Verify, Ready and Refresh fail with
// [ErrUnavailable]. It may be called more than once.
func (v *Verifier) Close() error {
	if v == nil {
		return nil
	}
	v.closed.Store(true)
	if v.owned == nil {
		return nil
	}
	return v.owned.Close()
}
