package main

import (
	"time"

	"github.com/bearerguard/bearerguard/internal/schedule"
)

// The defaults of jwks.Config.
const (
	oursRefresh  = 10 * time.Minute
	oursCooldown = 30 * time.Second
)

// ours does what a jwks.Cache does, with the same functions. A test compares it
// with real Caches.
type ours struct {
	discovery bool // Config.Issuer is set, and not Config.URL

	located  bool // the jwks_uri is known
	failing  bool // the last fetch failed
	failures int  // of the timer's fetches, in a row
	hold     time.Duration
	bucket   schedule.Bucket
}

func (o *ours) start(r *replica, now time.Duration) {
	*o = ours{discovery: o.discovery, located: !o.discovery}
	o.wake(r, now)
}

func (o *ours) wake(r *replica, now time.Duration) {
	if o.fetch(r, now, true) {
		return
	}
	o.failures++
	now += latency
	r.wake = now + schedule.Backoff(o.failures, r.known != noKey, oursRefresh, r.issuer.after(now), r.random.Float64())
}

func (o *ours) unknown(r *replica, now time.Duration) {
	if now < o.hold {
		r.ears = o.hold
		return
	}
	if ok, wait := o.bucket.Take(time.Unix(0, 0).Add(now), oursCooldown); !ok {
		r.ears = now + wait
		return
	}
	o.fetch(r, now, false)
}

func (o *ours) fetch(r *replica, now time.Duration, wanted bool) (ok bool) {
	ok = r.fetch(now, o.metadata(r.issuer.up(now), r.issuer.after(now) > 0))
	now += latency
	o.failing = !ok
	if !ok {
		after := r.issuer.after(now)
		o.hold = now + min(after, oursRefresh)
		if !wanted && after > 0 && r.wake < o.hold {
			r.wake = now + schedule.Backoff(o.failures, r.known != noKey, oursRefresh, after, r.random.Float64())
		}
		if r.known != noKey { // else the timer alone decides about a first set
			r.ears = now
		}
		return false
	}
	const unsaid = -1 // the issuer sends no cache headers
	if next := now + schedule.Refresh(oursRefresh, unsaid, r.random.Float64()); wanted || o.failures > 0 || next < r.wake {
		r.wake = next
	}
	o.located, o.failures, o.hold, r.ears = true, 0, 0, now
	return true
}

// metadata counts the requests for it, of which there are two places. The
// jwks_uri is looked for again while fetches from the known one fail. A server that
// says when to come back is not asked for the second.
func (o *ours) metadata(up, told bool) int {
	switch {
	case !o.discovery || o.located && (up || !o.failing):
		return 0
	case up:
		return 1
	case o.located && told:
		return 1
	case o.located:
		return 2
	case told:
		return 0
	}
	return 1 // the second place, and then nothing to ask for keys
}
