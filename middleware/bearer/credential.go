// Package bearer is what every adapter shares: the grammar of the Authorization
// field, the way from a request's credential to a decision, and the challenge
// (RFC 6750). An adapter finds the credential, asks this package, and says the
// answer in the words of its protocol.
package bearer

import (
	"strings"

	"github.com/bearerguard/bearerguard/internal/b64token"
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
	case strings.EqualFold(scheme, "Bearer"): // no letter of which has another form beyond ASCII
		if !b64token.Is(token) {
			return "", ErrMalformedRequest
		}
		return token, nil
	case !isScheme(scheme), hidesBearer(rest):
		return "", ErrMalformedRequest
	}
	return "", ErrNoCredentials
}

// Bare is [Token] for a place that has no scheme before the token, such as a
// cookie or a header of a proxy's. No values are [ErrNoCredentials].
func Bare(values []string) (string, error) {
	switch {
	case len(values) == 0:
		return "", ErrNoCredentials
	case len(values) > 1 || !b64token.Is(values[0]):
		return "", ErrMalformedRequest
	}
	return values[0], nil
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
