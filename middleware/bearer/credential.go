// Package bearer is what every adapter shares: the grammar of the Authorization
// field, the way from a request's credential to a decision, and the challenge
// (RFC 6750). An adapter finds the credential, asks this package, and says the
// answer in the words of its protocol.
package bearer

import (
	"context"
	"errors"
	"strings"

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
	// errNoVerdict: a Verifier returned no token and no reason.
	errNoVerdict = errors.New("bearer: the Verifier gave no verdict")
)

// Token takes the token out of the values of a request's Authorization field:
// exactly one, of the scheme Bearer in any case, one or more spaces, and a
// b64token (RFC 6750 §2.1, RFC 9110 §11.1). The error is [ErrNoCredentials] or
// [ErrMalformedRequest].
func Token(authorization []string) (string, error) {
	switch len(authorization) {
	case 0:
		return "", ErrNoCredentials
	case 1:
	default:
		// Whoever is in front of this server may have read another of them.
		return "", ErrMalformedRequest
	}
	scheme, rest, _ := strings.Cut(authorization[0], " ")
	token := strings.TrimLeft(rest, " ")
	switch {
	case !isScheme(scheme):
		return "", ErrMalformedRequest
	case !strings.EqualFold(scheme, "Bearer"):
		if hidesBearer(rest) {
			return "", ErrMalformedRequest
		}
		return "", ErrNoCredentials
	case !isB64Token(token):
		return "", ErrMalformedRequest
	}
	return token, nil
}

// hidesBearer reports whether another scheme's credentials go on, behind a comma,
// with those of a bearer: two fields that somebody on the way has joined.
func hidesBearer(credentials string) bool {
	_, credentials, _ = strings.Cut(credentials, ",")
	for part := range strings.SplitSeq(credentials, ",") {
		scheme, _, _ := strings.Cut(strings.Trim(part, " \t"), " ")
		if strings.EqualFold(scheme, "Bearer") {
			return true
		}
	}
	return false
}

// isB64Token is RFC 6750 §2.1: 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" /
// "/" ) *"=".
func isB64Token(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '.', c == '_', c == '~', c == '+', c == '/':
		default:
			return false
		}
	}
	return s != ""
}

// isScheme is a token of RFC 9110 §5.6.2.
func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c > '~' || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
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
	switch {
	case token == nil:
		return ErrNoCredentials
	case !rule.Allows(jwtverify.NewContext(ctx, token), token):
		return ErrForbidden
	}
	return nil
}
