package bearer

import (
	"errors"
	"net/http"
	"time"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// Decision is the answer to a request that was not let in.
type Decision struct {
	Status     int           // HTTP status
	Challenge  bool          // whether the answer carries one
	Code       string        // RFC 6750 §3.1; "" where no error is to be named
	GRPC       uint32        // the number of a gRPC status code
	Reason     string        // of a google.rpc.ErrorInfo; "" where no error is to be named
	RetryAfter time.Duration // with status 503; a second to a day
	Detail     string        // a fixed sentence for the client
}

// Error codes of RFC 6750 §3.1.
const (
	invalidRequest    = "invalid_request"
	invalidToken      = "invalid_token"
	insufficientScope = "insufficient_scope"
)

// gRPC's status codes.
const (
	permissionDenied = 7
	unavailable      = 14
	unauthenticated  = 16
)

// longest is what a client is told to wait at most: not all can count further.
const longest = 24 * time.Hour

// Decide is the one table of answers. The order matters: an outage is never
// taken for a bad token, and what nobody can explain counts as an outage.
func Decide(err error) Decision {
	switch {
	case errors.Is(err, jwtverify.ErrUnavailable):
		var e *jwtverify.Error
		d := outage
		if errors.As(err, &e) {
			d.RetryAfter = min(max(d.RetryAfter, e.RetryAfter), longest)
		}
		return d
	case errors.Is(err, jwtverify.ErrInvalidToken):
		return invalid
	case errors.Is(err, ErrStreamExpired):
		return expired
	case errors.Is(err, ErrNoCredentials):
		return anonymous
	case errors.Is(err, ErrMalformedRequest):
		return malformed
	case errors.Is(err, ErrForbidden):
		return forbidden
	}
	return outage
}

var (
	// RFC 6750 §3.1: who sent nothing is told nothing.
	anonymous = Decision{Status: http.StatusUnauthorized, Challenge: true, GRPC: unauthenticated,
		Detail: "A bearer token is needed"}
	malformed = Decision{Status: http.StatusBadRequest, Challenge: true, Code: invalidRequest, GRPC: unauthenticated, Reason: "INVALID_TOKEN",
		Detail: "The request must carry one well-formed bearer token and no other credential"}
	invalid = Decision{Status: http.StatusUnauthorized, Challenge: true, Code: invalidToken, GRPC: unauthenticated, Reason: "INVALID_TOKEN",
		Detail: "The access token is malformed, expired, revoked or not meant for this API"}
	expired = Decision{Status: http.StatusUnauthorized, Challenge: true, Code: invalidToken, GRPC: unauthenticated, Reason: "TOKEN_EXPIRED",
		Detail: "The access token has expired"}
	forbidden = Decision{Status: http.StatusForbidden, Challenge: true, Code: insufficientScope, GRPC: permissionDenied, Reason: "INSUFFICIENT_SCOPE",
		Detail: "The access token does not have the scopes or roles that are needed"}
	outage = Decision{Status: http.StatusServiceUnavailable, RetryAfter: time.Second, GRPC: unavailable, Reason: "UNAVAILABLE",
		Detail: "Access tokens cannot be verified at the moment"}
)
