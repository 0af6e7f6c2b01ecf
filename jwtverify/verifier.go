package jwtverify

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/bearerguard/bearerguard/internal/cache"
	"github.com/bearerguard/bearerguard/jwks"
)

// KeySource finds the key that a token says it was signed with. A [jwks.Cache]
// and a [jwks.Set] are KeySources. An empty kid stands for a token without one.
// It returns jwks.ErrKeyNotFound where the issuer has no such key; any other
// error means that it could not be asked, and makes [ErrUnavailable], with the
// error's RetryAfter() time.Duration if it has that method. It is called
// concurrently, and waits no longer than the context. It returns the same Key as
// long as that does not change: a cache of verified tokens keeps each one that it
// is given, and Config.CacheBytes does not count them.
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
	tokens  *tokens // nil: off

	keys    KeySource
	fetched *jwks.Cache // keys, if they are one
	owned   *jwks.Cache // that Close closes
	now     func() time.Time
	logger  *slog.Logger
	closed  atomic.Bool
	itself  func() any // for Errors
	lease   *lease     // of one that Issuers resolved
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
		return nil, v.refused(ctx, err, token)
	}
	return verified, nil
}

// refused tells the log, and adds to the error what Explain goes by.
func (v *Verifier) refused(ctx context.Context, err *Error, token string) *Error {
	logRefusal(ctx, v.logger, v.issuer, err)
	return err.explained(v.itself, token)
}

func logRefusal(ctx context.Context, logger *slog.Logger, issuer string, err *Error) {
	if logger.Enabled(ctx, slog.LevelDebug) {
		logger.LogAttrs(ctx, slog.LevelDebug, "jwtverify: token refused",
			slog.String("issuer", issuer), slog.String("reason", string(err.Reason)), slog.String("detail", err.Detail))
	}
}

// verify is the order of doc.go, from top to bottom.
func (v *Verifier) verify(ctx context.Context, token string) (*Token, *Error) {
	if v.closed.Load() {
		return nil, refuse(ErrUnavailable, "the Verifier is closed")
	}
	c, err := split(token)
	if err != nil {
		return nil, err
	}
	s := scratchFor(token)
	defer s.release()
	if e := v.tokens.find(s, c); e != nil {
		if t, err, settled := v.recall(ctx, s, e); settled {
			return t, err
		}
	}
	return v.read(ctx, s, c)
}

// read decides about a token that is not known.
func (v *Verifier) read(ctx context.Context, s *scratch, c compact) (*Token, *Error) {
	h, known := v.headers.get(c.header)
	if !known {
		text, err := s.decode(c.header, "the header")
		if err != nil {
			return nil, err
		}
		if h, err = readHeader(text); err != nil {
			return nil, err
		}
		if err := v.allowHeader(&h); err != nil {
			return nil, err
		}
		if err := v.allowKey(h); err != nil {
			return nil, err
		}
	}
	if len(c.signature) == 0 {
		return nil, refuse(ErrMalformed, "an empty signature")
	}
	payload, err := s.decode(c.payload, "the payload")
	if err != nil {
		return nil, err
	}
	s.used = true
	f, err := readClaims(payload, &v.reading, &s.room)
	if err != nil {
		return nil, err
	}
	if err := v.allowClaims(h, &f, payload); err != nil {
		return nil, err
	}
	signature, err := s.decode(c.signature, "the signature")
	if err != nil {
		return nil, err
	}
	key, err := v.key(ctx, Header{Algorithm: h.alg, KeyID: h.kid})
	if err != nil {
		return nil, err
	}
	if err := key.Verify(h.alg, s.bytes(c.signed()), signature); err != nil {
		return nil, refuse(ErrSignature, err.Error())
	}
	if !known {
		v.headers.put(c.header, h)
		f.copied += allocated(int64(base64.RawURLEncoding.DecodedLen(len(c.header))))
	}
	f.token.Header = Header{Algorithm: h.alg, KeyID: h.kid, Type: h.typ}
	f.token.ValidUntil = f.token.Expiry.Add(v.leeway)
	f.token.claims = f.whole
	t := f.token.clone()
	if v.tokens != nil && !v.closed.Load() {
		v.tokens.keep(s, c, v.verified(t.clone(), key), f.copied, v.now())
	}
	return v.ask(ctx, t)
}

// recall decides about a token that was verified before: what its bytes and the
// Config settle is settled; time, the key and the Checks are not. It leaves the
// decision to read where the key is no longer the one that verified it.
func (v *Verifier) recall(ctx context.Context, s *scratch, e *cache.Entry[verified]) (t *Token, err *Error, settled bool) {
	known := &e.Value
	if now := v.now(); now.Before(known.from) || !now.Before(known.token.ValidUntil) {
		if err := v.allowTime(known.token, now); err != nil {
			if err.Reason == ErrExpired {
				v.tokens.Forget(e)
			}
			v.tokens.Count(s.lane, true)
			return nil, err, true
		}
	}
	key, err := v.key(ctx, known.token.Header)
	if err == nil && !key.Equal(known.key) {
		v.tokens.Forget(e)
		v.tokens.Count(s.lane, false)
		return nil, nil, false
	}
	v.tokens.Count(s.lane, true)
	if err != nil {
		return nil, err, true
	}
	t, err = v.ask(ctx, known.token.clone())
	return t, err, true
}

// ask lets the Checks have the last word.
func (v *Verifier) ask(ctx context.Context, t *Token) (*Token, *Error) {
	for _, check := range v.checks {
		if err := check(ctx, t); err != nil {
			return nil, checkError(err)
		}
	}
	return t, nil
}

func (v *Verifier) allowHeader(h *header) *Error {
	if !v.algorithms[h.alg] {
		return refuse(ErrAlgorithm, quote(h.alg, algIs))
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
		return refuse(ErrType, quote(h.typ, typIs))
	}
	return nil
}

// allowKey refuses a kid that the issuer was asked for in vain a moment ago, before
// the claims are read: in a flood of made-up kids most of them. All others are
// refused for their claims first, and the issuer is asked only for the rest.
func (v *Verifier) allowKey(h header) *Error {
	if v.fetched == nil {
		return nil // other sources may answer at their cost, or not at once
	}
	if _, err := v.fetched.Key(ended, h.kid, h.alg); err != nil && !errors.Is(err, jwks.ErrUnavailable) {
		return keyError(err, Header{Algorithm: h.alg, KeyID: h.kid})
	}
	return nil
}

// ended is the context with which a jwks.Cache fetches nothing.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// allowClaims applies the policy to claims that are as yet unverified.
func (v *Verifier) allowClaims(h header, f *facts, payload []byte) *Error {
	t := f.token
	switch {
	case !f.issuer:
		return refuse(ErrClaims, "iss"+isMissing)
	case t.Issuer != v.issuer:
		return refuseIn(circumstances{came: joined(t.Issuer)}, ErrIssuer, "iss is not the issuer")
	case !f.audience:
		return refuseIn(circumstances{came: joined(t.ClientID)}, ErrClaims, v.reading.audience+isMissing)
	case !hasAny(t.Audience, v.accepted):
		came := joined(t.ClientID, t.Audience...)
		return refuseIn(circumstances{came: came}, ErrAudience, v.reading.audience+" names no audience of ours")
	case !f.exp:
		return refuse(ErrClaims, "exp"+isMissing)
	}
	if err := v.allowTime(t, v.now()); err != nil {
		return err
	}
	switch {
	case v.maxLifetime > 0 && t.IssuedAt.IsZero():
		return refuse(ErrClaims, "iat is missing, so the token's lifetime is unknown")
	case v.maxLifetime > 0 && t.Expiry.Sub(t.IssuedAt) > v.maxLifetime:
		return refuse(ErrClaims, "exp is further from iat than MaxLifetime")
	case v.types == nil && !h.accessToken && f.foreign != "":
		return refuse(ErrType, itHas+f.foreign+asNoToken+"; if your issuer's do, set Config.Types")
	case v.refuseConstrained && f.senderConstrained:
		return refuse(ErrClaims, "it has cnf: it is bound to a key and no bearer token")
	case f.forbidden != "":
		return refuse(ErrType, "it has "+f.forbidden+", which Config.Forbidden does not allow")
	case f.unlike == "typ" || f.unlike == "token_use":
		return refuse(ErrType, f.unlike+noneOfValues)
	case f.unlike != "":
		return refuse(ErrClaims, f.unlike+noneOfValues)
	case f.found < v.reading.needed():
		return refuse(ErrClaims, missingClaims(payload, v.reading.claims)+isMissing)
	}
	return nil
}

// allowTime applies what the passing of time may change.
func (v *Verifier) allowTime(t *Token, now time.Time) *Error {
	early := now.Add(v.leeway)
	at := func(date time.Time) circumstances { return circumstances{date: date.Unix(), now: now.Unix()} }
	switch {
	case !now.Before(t.Expiry.Add(v.leeway)):
		return refuseIn(at(t.Expiry), ErrExpired, seconds("exp was ", now.Sub(t.Expiry), " s ago"))
	case early.Before(t.NotBefore):
		return refuseIn(at(t.NotBefore), ErrNotYetValid, seconds("nbf is ", t.NotBefore.Sub(now), " s ahead"))
	case early.Before(t.IssuedAt):
		return refuseIn(at(t.IssuedAt), ErrNotYetValid, seconds("iat is ", t.IssuedAt.Sub(now), " s ahead"))
	}
	return nil
}

// key asks the key source for a token's key.
func (v *Verifier) key(ctx context.Context, h Header) (*jwks.Key, *Error) {
	key, err := v.keys.Key(ctx, h.KeyID, h.Algorithm)
	if err != nil {
		return nil, keyError(err, h)
	}
	if key == nil {
		return nil, refuse(ErrUnavailable, "the key source returned neither a key nor an error")
	}
	return key, nil
}

// Ready waits until tokens can be judged: until the first keys are there. It is
// for start-up and for readiness probes. The error is [ErrUnavailable].
func (v *Verifier) Ready(ctx context.Context) error {
	return v.source(func() error {
		if source, ok := v.keys.(interface{ Ready(context.Context) error }); ok {
			return source.Ready(ctx)
		}
		return nil
	})
}

// Refresh fetches the keys now, for emergencies. A key source that cannot be
// refreshed is left as it is. The error is [ErrUnavailable].
func (v *Verifier) Refresh(ctx context.Context) error {
	return v.source(func() error {
		if source, ok := v.keys.(interface{ Refresh(context.Context) error }); ok {
			return source.Refresh(ctx)
		}
		return nil
	})
}

func (v *Verifier) source(ask func() error) error {
	if v == nil || v.keys == nil {
		return refuse(ErrUnavailable, "the Verifier was not made by New")
	}
	if v.closed.Load() {
		return refuse(ErrUnavailable, "the Verifier is closed")
	}
	if err := ask(); err != nil {
		return unavailable(theKeySource, err).explained(v.itself, "")
	}
	return nil
}

// Status is what an operator may want to know of a Verifier. It holds no secret.
type Status struct {
	Keys  jwks.Status // zero where the key source has none to give
	Cache CacheStatus // of verified tokens; zero where it is off
}

// Status describes the Verifier at this moment.
func (v *Verifier) Status() (status Status) {
	if v == nil {
		return status
	}
	status.Keys = v.keyStatus()
	if v.tokens != nil {
		status.Cache = CacheStatus(v.tokens.Status())
	}
	return status
}

func (v *Verifier) keyStatus() (status jwks.Status) {
	if source, ok := v.keys.(interface{ Status() jwks.Status }); ok {
		status = source.Status()
	}
	return status
}

// Close ends the background work that New started and waits for it. Keys that
// the Config brought stay open. From then on Verify, Ready and Refresh fail with
// [ErrUnavailable]. It may be called more than once.
func (v *Verifier) Close() error {
	if v == nil {
		return nil
	}
	err := v.end()
	if v.tokens != nil {
		v.tokens.Drop(func(kept *verified) bool { return kept.by == v })
	}
	return err
}

// end is Close, but for the tokens that are kept.
func (v *Verifier) end() error {
	v.closed.Store(true)
	if v.owned == nil {
		return nil
	}
	return v.owned.Close()
}
