package introspect

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bearerguard/bearerguard/internal/schedule"
)

// breaker keeps calls away from an endpoint that has just failed: for a second, then
// for twice as long each time that it fails again, up to longestRest. Then one may try.
type breaker struct {
	mu       sync.Mutex
	failures int       // in a row
	until    time.Time // no exchange begins before, if there were failures
	probing  bool      // one tries
	round    uint64    // of failures and of probes: what began in an earlier one says nothing new
}

const longestRest = 30 * time.Second

// ticket is for one exchange.
type ticket struct {
	round uint64
	probe bool
}

// look says how long it is until an exchange may begin, and whether it would be one to
// try out the endpoint.
func (b *breaker) look(now time.Time) (wait time.Duration, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lookLocked(now)
}

func (b *breaker) lookLocked(now time.Time) (wait time.Duration, probe bool) {
	switch {
	case b.failures == 0:
		return 0, false
	case now.Before(b.until):
		return b.until.Sub(now), true
	case b.probing:
		return time.Second, true
	}
	return 0, true
}

// enter is look for one who begins; there is a ticket if there is no wait. It has to
// be given back.
func (b *breaker) enter(now time.Time) (t ticket, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wait, probe := b.lookLocked(now)
	if wait > 0 {
		return t, wait
	}
	if probe {
		b.probing = true
		b.round++
	}
	return ticket{b.round, probe}, 0
}

// fail gives a ticket back after a failure, and reports whether that was the first.
// A server that asked for a pause gets it, up to longestRest.
func (b *breaker) fail(t ticket, now time.Time, retryAfter time.Duration) (first bool, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.round != b.round {
		return false, max(0, b.until.Sub(now)) // others failed at the same time
	}
	b.round++
	b.failures++
	b.probing = false
	wait = max(schedule.Backoff(b.failures, false, longestRest, 0, rand.Float64()), min(retryAfter, longestRest))
	b.until = now.Add(wait)
	return b.failures == 1, wait
}

// succeed gives a ticket back after an answer, and reports whether that ended a row of
// failures.
func (b *breaker) succeed(t ticket) (ended bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.round != b.round {
		return false
	}
	ended = b.failures > 0
	b.failures, b.probing = 0, false
	return ended
}

// release gives a ticket back from which nothing was learnt; one that was given back
// before is left as it is.
func (b *breaker) release(t ticket) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.round == b.round && t.probe {
		b.probing = false
	}
}
