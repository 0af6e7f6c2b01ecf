package jwks

import "time"

// unavailable is every ErrUnavailable of a Cache.
type unavailable struct {
	detail     string
	retryAfter time.Duration
	cause      error // a context's error, or nil
}

func (e *unavailable) Error() string { return ErrUnavailable.Error() + ": " + e.detail }

func (e *unavailable) Is(target error) bool { return target == ErrUnavailable }

func (e *unavailable) Unwrap() error { return e.cause }

// RetryAfter is the time until asking again makes sense; 0 if that is not known.
func (e *unavailable) RetryAfter() time.Duration { return max(0, e.retryAfter) }
