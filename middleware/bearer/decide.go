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
	RetryAfter time.Duration // with status 503; at least a second
}

// Decide is the one table of answers. The order matters: an outage is never
// taken for a bad token, and what nobody can explain counts as an outage.
func Decide(err error) Decision {
	switch {
	case errors.Is(err, jwtverify.ErrUnavailable):
		var e *jwtverify.Error
		d := Decision{Status: http.StatusServiceUnavailable, RetryAfter: time.Second}
		if errors.As(err, &e) {
			d.RetryAfter = max(d.RetryAfter, e.RetryAfter)
		}
		return d
	case errors.Is(err, jwtverify.ErrInvalidToken):
		return Decision{Status: http.StatusUnauthorized, Challenge: true, Code: "invalid_token"}
	case errors.Is(err, ErrNoCredentials):
		// RFC 6750 §3.1: who sent nothing is told nothing.
		return Decision{Status: http.StatusUnauthorized, Challenge: true}
	case errors.Is(err, ErrMalformedRequest):
		return Decision{Status: http.StatusBadRequest, Challenge: true, Code: "invalid_request"}
	case errors.Is(err, ErrForbidden):
		return Decision{Status: http.StatusForbidden, Challenge: true, Code: "insufficient_scope"}
	}
	return Decision{Status: http.StatusServiceUnavailable, RetryAfter: time.Second}
}
