package introspect

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/bearerguard/bearerguard/internal/cache"
	"github.com/bearerguard/bearerguard/internal/schedule"
)

// breaker keeps calls away from an endpoint that has just failed: for a second, then
// for twice as long each time that it fails again, up to longestRest. Then a few may try.
// What may be the doing of one token is no failure of the endpoint's until several
// different tokens had it, with no answer between.
type breaker struct {
	mu       sync.Mutex
	failures int         // in a row
	until    time.Time   // no exchange begins before, if there were failures
	tries    int         // exchanges under way that try it out
	suspects []cache.Sum // tokens that had trouble since the last answer and the last failure
	round    uint64      // of failures and of ends of outages: what began in an earlier one says nothing new
}

const (
	longestRest = 30 * time.Second
	maxTries    = 4 // at once: so that one token at which the endpoint fails is not the only one
	maxSuspects = 3
)

// ticket is for one exchange. It is used up when it is given back.
type ticket struct {
	round   uint64
	try     bool
	used    bool // guarded by the breaker's mu
	counted bool // in Status; guarded by the Introspector's mu
}

// look says how long it is until an exchange about the token with that sum may begin, and
// whether it would be one to try out the endpoint: because that is down, or because the
// token had trouble, which at a dead endpoint it has again.
func (b *breaker) look(sum *cache.Sum, now time.Time) (wait time.Duration, try bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wait, try = b.lookLocked(now)
	return wait, try || slices.Contains(b.suspects, *sum)
}

func (b *breaker) lookLocked(now time.Time) (wait time.Duration, try bool) {
	switch {
	case b.failures == 0:
		return 0, false
	case now.Before(b.until):
		return b.until.Sub(now), true
	case b.tries >= maxTries:
		return time.Second, true
	}
	return 0, true
}

// enter is that for one who begins; there is a ticket if there is no wait. It has to
// be given back.
func (b *breaker) enter(now time.Time) (*ticket, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wait, try := b.lookLocked(now)
	if wait > 0 {
		return nil, wait
	}
	if try {
		b.tries++
	}
	return &ticket{round: b.round, try: try}, 0
}

// suspect gives a ticket back after trouble that may be the doing of the token with that
// sum. Where it is one token too many, that is a failure.
func (b *breaker) suspect(sum *cache.Sum, t *ticket, now time.Time, retryAfter time.Duration) (row int, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.take(t) {
		return 0, 0
	}
	if !slices.Contains(b.suspects, *sum) {
		b.suspects = append(b.suspects, *sum)
	}
	if len(b.suspects) < maxSuspects {
		return 0, 0
	}
	return b.open(now, retryAfter)
}

// fail gives a ticket back after a failure, and returns how many there were in a row, or
// 0 if that was counted already. A server that asked for a pause gets it, up to
// longestRest.
func (b *breaker) fail(t *ticket, now time.Time, retryAfter time.Duration) (row int, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.take(t) { // others failed at the same time
		return 0, max(0, b.until.Sub(now))
	}
	return b.open(now, retryAfter)
}

func (b *breaker) open(now time.Time, retryAfter time.Duration) (row int, wait time.Duration) {
	b.round++
	b.failures++
	b.tries, b.suspects = 0, nil
	wait = max(schedule.Backoff(b.failures, false, longestRest, 0, rand.Float64()), min(retryAfter, longestRest))
	b.until = now.Add(wait)
	return b.failures, wait
}

// succeed gives a ticket back after an answer, and reports whether that ended a row of
// failures. The answer to any try does, also to one that others have overtaken with
// their failures.
func (b *breaker) succeed(t *ticket) (ended bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if current := b.take(t); !current && !t.try {
		return false
	}
	if ended = b.failures > 0; ended {
		b.round++
	}
	b.failures, b.tries, b.suspects = 0, 0, nil
	return ended
}

// release gives a ticket back from which nothing was learnt; one that was given back
// before is left as it is.
func (b *breaker) release(t *ticket) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.take(t)
}

// take uses a ticket up, and reports whether it is of this round.
func (b *breaker) take(t *ticket) bool {
	current := !t.used && t.round == b.round
	if current && t.try {
		b.tries--
	}
	t.used = true
	return current
}
