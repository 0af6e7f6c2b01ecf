package main

import "time"

// The peers' policies, in our words, from their sources. All with the settings
// that they have by default.

// keyfunc is github.com/MicahParks/keyfunc/v3 v3.9.1 with jwkset v0.11.4. A
// ticker of RefreshInterval, 1 h, fetches whatever happened before: no jitter,
// no backoff. An unknown kid fetches when the limiter RefreshUnknownKID allows:
// one each 5 min, and a caller whose turn is at most RateLimitWaitMax, 1 min,
// ahead waits for it. Without keys every kid is unknown.
type keyfunc struct {
	turn time.Duration // when the limiter allows the next
}

func (k *keyfunc) start(r *replica, now time.Duration) {
	k.turn = now
	r.fetch(now, 0)
	r.wake, r.ears = now+time.Hour, now+latency
}

func (k *keyfunc) wake(r *replica, now time.Duration) {
	r.fetch(now, 0)
	r.wake = now + time.Hour
}

func (k *keyfunc) unknown(r *replica, now time.Duration) {
	turn := max(now, k.turn)
	k.turn = turn + 5*time.Minute
	// Whoever waited for the turn fetches, even if the ticker was faster.
	r.fetch(turn, 0)
	r.ears = k.turn - time.Minute
}

// jwx is jwk.Cache of github.com/lestrrat-go/jwx/v2 v2.1.7 with httprc v1.0.6. A
// ticker of the refresh window, defaultRefreshWindow or 15 min, fetches what is
// due, and a fetch makes the next one due minRefreshInterval, also 15 min,
// later, whether it failed or not. Both times are rounded to seconds. Unknown
// kids change nothing; the program asks for the keys when it starts, and carries
// on if that fails.
type jwx struct {
	tick time.Duration // the next one of the ticker
}

const jwxWindow = 15 * time.Minute

func (j *jwx) start(r *replica, now time.Duration) {
	j.tick = now
	j.wake(r, now)
}

func (j *jwx) wake(r *replica, now time.Duration) {
	r.fetch(now, 0)
	due := (now + latency + jwxWindow).Round(time.Second)
	for j.tick <= now || j.tick.Round(time.Second) < due {
		j.tick += jwxWindow
	}
	r.wake = j.tick
}

func (j *jwx) unknown(*replica, time.Duration) {}

// goOIDC is RemoteKeySet of github.com/coreos/go-oidc/v3 v3.21.0: keysFromRemote
// for each token that no cached key verifies, one at a time (inflight), as often
// as such tokens come; and never else.
type goOIDC struct{}

func (goOIDC) start(r *replica, now time.Duration) { r.ears = now }

func (goOIDC) wake(*replica, time.Duration) {}

func (goOIDC) unknown(r *replica, now time.Duration) {
	r.fetch(now, 0)
	r.ears = now + latency
}
