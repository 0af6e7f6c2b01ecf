package jwtverify

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/bearerguard/bearerguard/internal/bounded"
	"github.com/bearerguard/bearerguard/jwks"
)

// Reason says why a token was refused. It is a constant error, for errors.Is;
// string(reason) is a label for metrics, one of few. A program may add its own
// for its Checks: const ErrTenant jwtverify.Reason = "tenant".
type Reason string

// The reasons of this package. A reason about the header or the claims does not
// say that the signature was good: those checks come first.
const (
	// ErrMalformed: not a JWT in compact form, too large, or not strict JSON
	// inside; or an extension that no access token needs (crit, b64, enc, a
	// nested JWT).
	ErrMalformed Reason = "malformed"
	// ErrType: another kind of token, by its typ or by its claims (RFC 8725 §3.11).
	ErrType Reason = "type"
	// ErrAlgorithm: alg is not one that the Config allows (RFC 8725 §3.1).
	ErrAlgorithm Reason = "algorithm"
	// ErrUnknownKey: the issuer has no such key for that alg.
	ErrUnknownKey Reason = "unknown_key"
	// ErrSignature: the signature does not hold.
	ErrSignature Reason = "signature"
	// ErrIssuer: iss is not the Config's Issuer, or none of the Issuers.
	ErrIssuer Reason = "issuer"
	// ErrAudience: aud names none of the Config's Audience.
	ErrAudience Reason = "audience"
	// ErrExpired: the time is exp plus leeway, or later.
	ErrExpired Reason = "expired"
	// ErrNotYetValid: the time is before nbf or iat, less leeway.
	ErrNotYetValid Reason = "not_yet_valid"
	// ErrClaims: a claim is missing, or is not what its definition says; or the
	// Config's MaxLifetime or RefuseSenderConstrained does not allow it.
	ErrClaims Reason = "claims"
	// ErrRevoked: for Checks: the token was valid and was taken back.
	ErrRevoked Reason = "revoked"
	// ErrInactive: for introspection: the issuer says that it is not active.
	ErrInactive Reason = "inactive"
	// ErrRejected: a Check said no without a Reason of its own.
	ErrRejected Reason = "rejected"
	// ErrUnavailable: the token could not be judged, since there were no
	// trustworthy keys, the context ended, or the Verifier is closed. It may
	// well be good: answer 503 and not 401.
	ErrUnavailable Reason = "unavailable"
)

// ErrInvalidToken is every Reason but [ErrUnavailable], for errors.Is.
var ErrInvalidToken = errors.New("jwtverify: invalid token")

// Error names the reason.
func (r Reason) Error() string { return "jwtverify: " + string(r) }

// Is makes every Reason but ErrUnavailable an [ErrInvalidToken].
func (r Reason) Is(target error) bool { return target == ErrInvalidToken && r != ErrUnavailable }

// Error is every error of Verify. Its text is for logs; a client is told no more
// than what RFC 6750 says. [Explain] says more, for operators; for that an Error
// keeps its Verifier in memory, and nothing of the token but a few short words.
type Error struct {
	// Reason is what errors.Is compares.
	Reason Reason
	// Detail is for operators: what was wrong, in this library's words, with no
	// more of the token than a few escaped characters.
	Detail string
	// RetryAfter is how long it takes until trying again makes sense, with
	// ErrUnavailable only; 0 if that is not known.
	RetryAfter time.Duration

	// What Explain goes by, beside the Detail, in a form that costs next to nothing.

	asked   func() any // a *Verifier or *Issuers: a function, since what prints values whole does not look into one
	mistake *mistake
	more    *circumstances
}

// circumstances are what few refusals have. They are kept apart, since whoever floods
// an API makes an Error with each token.
type circumstances struct {
	came      string  // words of the token, as joined made them
	date, now int64   // of a refusal for time, in seconds since 1970
	causes    []error // that errors.Is finds
}

// Error is the reason and the detail.
func (e *Error) Error() string {
	if e == nil {
		return "jwtverify: a nil Error"
	}
	if e.Detail == "" {
		return e.Reason.Error()
	}
	return e.Reason.Error() + ": " + e.Detail
}

// Is decides by the Reason alone. What else errors.Is finds in an Error is a
// context's error and jwks.ErrUnavailable: what caused an outage, and never
// another Reason.
func (e *Error) Is(target error) bool {
	return e != nil && (target == error(e.Reason) || e.Reason.Is(target))
}

// Unwrap returns a context's error and jwks.ErrUnavailable, where they were the
// cause.
func (e *Error) Unwrap() []error {
	if e == nil {
		return nil
	}
	return e.circumstances().causes
}

// ReasonOf returns the Reason in err, and "" for nil and for an error that has
// none.
func ReasonOf(err error) Reason {
	var e *Error
	if errors.As(err, &e) && e != nil {
		return e.Reason
	}
	var r Reason
	errors.As(err, &r)
	return r
}

func (e *Error) circumstances() circumstances {
	if e.more == nil {
		return circumstances{}
	}
	return *e.more
}

// refuseIn is refuse where there is more to say, in one allocation.
func refuseIn(more circumstances, reason Reason, detail string) *Error {
	both := &struct {
		err  Error
		more circumstances
	}{Error{Reason: reason, Detail: detail}, more}
	both.err.more = &both.more
	return &both.err
}

func refuse(reason Reason, detail string) *Error { return &Error{Reason: reason, Detail: detail} }

// of is a copy, for a token of that issuer, of what was found out for all of them.
func (e *Error) of(issuer string) *Error {
	more := e.circumstances()
	more.came = joined(issuer)
	mine := *e
	mine.more = &more
	return &mine
}

// explained adds what Explain goes by and no refusal knows of itself.
func (e *Error) explained(asked func() any, token string) *Error {
	e.asked = asked
	if e.Reason == ErrMalformed {
		e.mistake = mistakeIn(token, e.Detail == noThreeSegments)
	}
	return e
}

// unavailable turns the trouble of whoever was asked into ErrUnavailable.
func unavailable(detail string, err error) *Error {
	if err == nil {
		return refuse(ErrUnavailable, detail)
	}
	e := refuseIn(circumstances{causes: causes(err)}, ErrUnavailable, detail+": "+bounded.Text(err.Error()))
	var own *Error
	var later interface{ RetryAfter() time.Duration }
	switch {
	case errors.As(err, &own) && own != nil:
		e.RetryAfter = own.RetryAfter
	case errors.As(err, &later):
		e.RetryAfter = later.RetryAfter()
	}
	return e
}

// causes picks out of an error what an Error passes on.
func causes(err error) (all []error) {
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded, jwks.ErrUnavailable} {
		if errors.Is(err, cause) {
			all = append(all, cause)
		}
	}
	return all
}

// keyError judges what a KeySource said of the key that a header names.
func keyError(err error, h Header) *Error {
	if err == jwks.ErrKeyNotFound || errors.Is(err, jwks.ErrKeyNotFound) && !errors.Is(err, jwks.ErrUnavailable) {
		if h.KeyID == "" {
			return refuse(ErrUnknownKey, "the issuer has no such key: "+noKid)
		}
		return refuse(ErrUnknownKey, quote(h.KeyID, "the issuer has no such key: "+algIs, h.Algorithm, ", "+kidIs))
	}
	return unavailable(theKeySource, err)
}

// What Explain finds again in a Detail.
const (
	aCheck       = "a check"
	theKeySource = "the key source"
	typIs        = "typ is "
	algIs        = "alg is "
	kidIs        = "kid is "
	noKid        = "no kid"
	isMissing    = " is missing"
	noneOfValues = " is none of the Config's Values"
	itHas        = "it has "
	asNoToken    = " as no access token should"

	noThreeSegments = "no three segments"
)

// checkError judges what a Check said: a Reason is kept, an outage before any
// other; a context's end is nobody's fault; and all else is a refusal.
func checkError(err error) *Error {
	reason := ReasonOf(err)
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	switch {
	case errors.Is(err, ErrUnavailable), reason == "" && ended:
		return unavailable(aCheck, err)
	case reason == "":
		reason = ErrRejected
	}
	return refuse(reason, aCheck+": "+bounded.Text(err.Error()))
}

// seconds writes a duration into a text.
func seconds(before string, d time.Duration, after string) string {
	var room [64]byte
	out := strconv.AppendInt(append(room[:0], before...), int64(d.Round(time.Second)/time.Second), 10)
	return string(append(out, after...))
}

// quote shows a few characters of what a token said, behind some text, in a single
// allocation: anyone can send a flood of tokens that are refused for it.
func quote(said string, text ...string) string {
	const most = 64
	const more = "…"
	cut := said[:min(len(said), most)]
	size := len(cut) + len(`""`) + len(more)
	escaped := needsEscape(cut)
	if escaped {
		size = most*len(`\x00`) + len(`""`) + len(more)
	}
	for _, t := range text {
		size += len(t)
	}
	var out strings.Builder
	out.Grow(size)
	for _, t := range text {
		out.WriteString(t)
	}
	if escaped {
		var room [most*len(`\x00`) + len(`""`)]byte
		out.Write(strconv.AppendQuoteToASCII(room[:0], cut))
	} else { // the same in a fifth of the time
		out.WriteByte('"')
		out.WriteString(cut)
		out.WriteByte('"')
	}
	if len(said) > most {
		out.WriteString(more)
	}
	return out.String()
}

func needsEscape(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return true
		}
	}
	return false
}
