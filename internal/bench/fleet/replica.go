package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// never is later than any history.
const never = time.Duration(math.MaxInt64)

// latency is how long the issuer takes to answer.
const latency = 50 * time.Millisecond

// policy decides when a replica asks the issuer for keys. Replicas know nothing
// of each other, so a fleet is as many replicas as one likes, one by one.
type policy interface {
	// start is called once, when the process starts.
	start(r *replica, now time.Duration)
	// wake is called at r.wake.
	wake(r *replica, now time.Duration)
	// unknown is called for a token under a key that the replica does not have,
	// from r.ears on.
	unknown(r *replica, now time.Duration)
}

// replica is what a policy knows and plans.
type replica struct {
	issuer *issuer
	random *rand.Rand
	count  *count

	known int           // the newest key it has; noKey
	wake  time.Duration // its next fetch without a cause
	ears  time.Duration // from when on a token under an unknown key has a say
}

const noKey = -1

// live takes a replica from its start to the end of the history.
func (r *replica) live(p policy, start time.Duration) {
	r.known, r.wake, r.ears = noKey, never, never
	p.start(r, start)
	for now := start; ; {
		token := r.issuer.token(max(now, r.ears), r.known, r.random)
		now = min(token, r.wake)
		switch {
		case now >= r.issuer.end:
			return
		case token < r.wake:
			p.unknown(r, now)
		default:
			p.wake(r, now)
		}
	}
}

// fetch asks for the keys, after that many requests for metadata.
func (r *replica) fetch(now time.Duration, metadata int) (ok bool) {
	r.count.add(now, metadata+1)
	if !r.issuer.up(now) {
		return false
	}
	r.known = r.issuer.published(now)
	r.count.fetched(now, r.known)
	return true
}
