// Package schedule decides when to fetch keys next. Its functions know nothing
// but times and random numbers, so that a whole fleet can be simulated with
// them.
package schedule

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Floor is the shortest time between background refreshes that a server can ask
// for with its cache headers.
const Floor = time.Minute

const (
	firstRetry = time.Second      // after a failure with no keys in hand
	lastRetry  = 30 * time.Second // the longest such wait
)

// Refresh is the time from a successful fetch to the next one: freshness where
// the server states one (negative: it does not), never longer than ceiling and
// never shorter than Floor, or than ceiling if that is less. Up to a fifth is
// taken off at random, so that replicas that started together drift apart.
func Refresh(ceiling, freshness time.Duration, random float64) time.Duration {
	wait := ceiling
	if freshness >= 0 && freshness < ceiling {
		wait = max(freshness, min(Floor, ceiling))
	}
	return wait - time.Duration(random*0.2*float64(wait))
}

// Backoff is the time from the failures-th failure in a row, counted from 1, to
// the next try. With keys in hand there is no hurry: it grows from a twentieth
// of ceiling to ceiling. Without any it grows from 1 s to 30 s. Half of it is
// random. A server's Retry-After (0: none), up to ceiling, is obeyed instead, and
// then some: it names the same end to the whole fleet, which must not come back
// in that one second.
func Backoff(failures int, inHand bool, ceiling, retryAfter time.Duration, random float64) time.Duration {
	wait, limit := firstRetry, min(lastRetry, ceiling)
	if inHand {
		wait, limit = ceiling/20, ceiling
	}
	if retryAfter > 0 {
		return min(retryAfter, ceiling) + time.Duration(random*0.6*float64(limit))
	}
	for i := 1; i < failures && wait < limit; i++ {
		wait *= 2
	}
	wait = min(wait, limit)
	return wait/2 + time.Duration(random*float64(wait/2))
}

// Freshness is how long a response says that it stays fresh (RFC 9111 §4.2),
// its age taken off; negative where it says nothing.
func Freshness(h http.Header, now time.Time) time.Duration {
	lifetime := time.Duration(-1)
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			lifetime = seconds(strings.Trim(value, `"`))
		}
	}
	if lifetime < 0 {
		expires := h.Get("Expires")
		if expires == "" {
			return -1
		}
		date, err := http.ParseTime(h.Get("Date"))
		if err != nil {
			date = now
		}
		until, err := http.ParseTime(expires)
		if err != nil {
			return 0 // RFC 9111 §5.3: an invalid date is in the past
		}
		lifetime = max(0, until.Sub(date))
	}
	if age := seconds(h.Get("Age")); age > 0 {
		lifetime = max(0, lifetime-age)
	}
	return lifetime
}

// RetryAfter reads the header of that name (RFC 9110 §10.2.3); 0 where there is
// none that makes sense.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if wait := seconds(value); wait >= 0 {
		return wait
	}
	if until, err := http.ParseTime(value); err == nil {
		return max(0, until.Sub(now))
	}
	return 0
}

// seconds reads delta-seconds (RFC 9111 §1.2.2), capped far beyond any use of
// them; negative where value is none.
func seconds(value string) time.Duration {
	if value == "" || strings.Trim(value, "0123456789") != "" {
		return -1
	}
	const most = 10 * 365 * 24 * 3600
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n > most {
		n = most
	}
	return time.Duration(n) * time.Second
}

// Burst is how many fetches a full Bucket allows at once.
const Burst = 2

// Bucket limits the fetches that strangers can cause: Burst at once, then one
// for each interval that passes. The zero Bucket is full. It is not safe for
// concurrent use.
type Bucket struct {
	full time.Time // when it will hold Burst tokens again
}

// Take takes one token, or says how long it is until there is one.
func (b *Bucket) Take(now time.Time, interval time.Duration) (ok bool, wait time.Duration) {
	if b.full.Before(now) {
		b.full = now
	}
	if wait := b.full.Sub(now) - (Burst-1)*interval; wait > 0 {
		return false, wait
	}
	b.full = b.full.Add(interval)
	return true, 0
}
