package jwks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/bearerguard/bearerguard/internal/discover"
	"github.com/bearerguard/bearerguard/internal/fetch"
	"github.com/bearerguard/bearerguard/internal/schedule"
)

// maxFetch bounds one fetch, metadata and keys together.
const maxFetch = 10 * time.Second

// maxMetadata is how long the jwks_uri of an issuer's metadata is relied on.
const maxMetadata = 24 * time.Hour

// start begins a fetch, or joins the one under way. Nil: the Cache is closed.
func (c *Cache) start() <-chan singleflight.Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.startLocked(false)
}

func (c *Cache) startLocked(wanted bool) <-chan singleflight.Result {
	if c.closed {
		return nil
	}
	c.wanted = c.wanted || wanted
	if !c.inFlight {
		c.inFlight, c.began = true, time.Now()
		c.work.Add(1)
	}
	return c.flight.DoChan("", func() (any, error) {
		defer c.work.Done()
		return nil, c.fetch()
	})
}

// fetch makes one fetch and puts its outcome in place. Its context is the
// Cache's: a caller who goes away takes nobody else's answer along.
func (c *Cache) fetch() (err error) {
	ctx, cancel := context.WithTimeout(c.ctx, maxFetch)
	defer cancel()
	var got fetched
	defer func() {
		// singleflight panics anew in a goroutine of its own, where nobody can
		// recover; a caller's RoundTripper must not end the process.
		if recover() != nil {
			err = errors.New("the HTTP client panicked")
		}
		c.finish(got, err)
	}()
	err = errors.New("the HTTP client ended its goroutine")
	got, err = c.load(ctx)
	return err
}

// fetched is what one good fetch brings.
type fetched struct {
	set       *Set // nil: the one at hand still holds
	uri       string
	reach     fetch.Reach
	placed    time.Time // as Cache.placed; zero: nothing new
	known     fetch.Validators
	freshness time.Duration // as schedule.Freshness
}

// load fetches the set from where it was last, or finds out where it is. Where
// fetching keeps failing the jwks_uri may have moved, and is looked for anew; not
// before the known one was tried again, so that an issuer that comes back meets
// no more requests than it is used to. It may also have moved where fetching
// succeeds, since whoever moves leaves the old keys behind for a while: so it is
// looked for once in maxMetadata too, and nothing that goes wrong then costs keys.
func (c *Cache) load(ctx context.Context) (fetched, error) {
	c.mu.Lock()
	ask := fetch.Request{URL: c.uri, Within: c.reach, Known: c.known}
	failing, old := c.status.LastError != "", time.Since(c.placed) >= maxMetadata
	c.mu.Unlock()
	if failing {
		ask.Known = fetch.Validators{} // for all we know they are what the server chokes on
	}
	var got fetched
	var fault error
	if ask.URL != "" {
		got, fault = c.keys(ctx, ask)
		if c.config.Issuer == "" || fault == nil && !old || fault != nil && !failing {
			return got, fault
		}
	}
	uri, reach, err := discover.Find(ctx, c.client, c.config.Issuer, "jwks_uri")
	if err == nil && (uri != ask.URL || reach != ask.Within) {
		var moved fetched
		if moved, err = c.keys(ctx, fetch.Request{URL: uri, Within: reach}); err == nil {
			got, fault = moved, nil
		}
	}
	if ask.URL == "" || fault != nil {
		fault = errors.Join(fault, err)
	}
	got.placed = time.Now()
	return got, fault
}

func (c *Cache) keys(ctx context.Context, ask fetch.Request) (fetched, error) {
	var set *Set
	res, err := c.client.Get(ctx, ask)
	if err == nil && !res.NotModified {
		set, err = parse(res.Body)
	}
	if err != nil {
		return fetched{}, fmt.Errorf("keys at %s: %w", ask.URL, err)
	}
	return fetched{set: set, uri: ask.URL, reach: ask.Within, known: res.Validators, freshness: schedule.Freshness(res.Header, time.Now())}, nil
}

// finish puts the outcome of a fetch in place.
func (c *Cache) finish(got fetched, err error) {
	var logs []func()
	// Whatever the logger does, it does not do it under the lock.
	defer func() {
		for _, log := range logs {
			log()
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.inFlight = false
	c.flight.Forget("") // or the next start would join a fetch that is over
	wanted := c.wanted
	c.wanted = false
	if c.closed {
		return
	}
	c.status.Fetches++
	if err != nil {
		logs = c.failLocked(now, wanted, err)
	} else {
		logs = c.succeedLocked(now, wanted, got)
	}
	after(&c.timer, c.next.Sub(now), c.turn)
	close(c.changed) // last: who waits for it looks without the lock
	c.changed = make(chan struct{})
}

func (c *Cache) succeedLocked(now time.Time, wanted bool, got fetched) (logs []func()) {
	old := c.full
	if got.set == nil { // RFC 9111 §4.3.4: what the server does not say anew still holds
		got.set = old
		got.known = cmp.Or(got.known, c.known)
		if got.freshness < 0 {
			got.freshness = c.freshness
		}
	} else {
		got.set.reuse(old)
	}
	c.full, c.freshness = got.set, got.freshness
	c.snap.Store(&snapshot{set: got.set.without(c.denied), fetched: now})
	c.uri, c.reach, c.known = got.uri, got.reach, got.known
	if !got.placed.IsZero() {
		c.placed = got.placed
	}
	// A fetch for an unknown kid does not put the timer off: after a sudden rotation
	// the whole fleet makes one at once, and would come back in step ever after.
	if next := now.Add(schedule.Refresh(c.config.Refresh, got.freshness, rand.Float64())); wanted || c.failures > 0 || next.Before(c.next) {
		c.next = next
	}
	c.failures, c.hold, c.warned = 0, time.Time{}, fresh
	after(&c.ageing, c.config.MaxStale/2, c.grow)
	if c.status.LastError != "" || old == nil {
		c.status.LastError = ""
		logs = append(logs, func() {
			c.log(slog.LevelInfo, "jwks: keys fetched", "url", printable(got.uri), "keys", len(got.set.keys))
		})
	}
	return append(logs, c.changes(old, got.set)...)
}

func (c *Cache) failLocked(now time.Time, wanted bool, err error) (logs []func()) {
	retryAfter := min(fetch.RetryAfter(err), c.config.Refresh)
	c.hold = now.Add(retryAfter)
	if wanted {
		c.failures++
	}
	// What a server asked for binds the timer, whoever asked the server.
	if wanted || retryAfter > 0 && c.next.Before(c.hold) {
		c.next = now.Add(schedule.Backoff(c.failures, c.usable() != nil, c.config.Refresh, retryAfter, rand.Float64()))
	}
	text := printable(err.Error())
	if c.status.LastError == "" {
		logs = append(logs, func() { c.log(slog.LevelWarn, "jwks: fetching keys fails", "error", text) })
	}
	c.status.Failures++
	c.status.LastError, c.status.LastErrorAt = text, now
	return append(logs, c.complainLocked(now))
}

func (c *Cache) log(level slog.Level, text string, args ...any) {
	if c.config.Issuer != "" {
		args = append([]any{"issuer", c.config.Issuer}, args...)
	}
	c.config.Logger.Log(context.Background(), level, text, args...)
}

// turn is what the timer does, whatever the traffic.
func (c *Cache) turn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.startLocked(true)
}

// after makes or sets a timer.
func after(timer **time.Timer, wait time.Duration, f func()) {
	if *timer == nil {
		*timer = time.AfterFunc(wait, f)
	} else {
		(*timer).Reset(wait)
	}
}

// grow is what the second timer does: it looks how old the set has become.
func (c *Cache) grow() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.work.Add(1) // Close waits for the logger too
	defer c.work.Done()
	log := c.complainLocked(time.Now())
	c.mu.Unlock()
	log()
}

// complainLocked says loudly that a set grows old while refreshes fail, once at
// half of MaxStale and once when it is reached.
func (c *Cache) complainLocked(now time.Time) (log func()) {
	s := c.snap.Load()
	if s.set == nil {
		return func() {}
	}
	age, text := now.Sub(s.fetched), ""
	switch {
	case age >= c.config.MaxStale:
		if c.warned < tooStale {
			c.warned, text = tooStale, "jwks: keys are older than MaxStale; every token is refused until a fetch succeeds"
		}
	case age >= c.config.MaxStale/2 && c.status.LastError != "":
		if c.warned < halfStale {
			c.warned, text = halfStale, "jwks: keys have reached half of MaxStale; tokens will be refused when they reach it"
		}
		after(&c.ageing, c.config.MaxStale-age, c.grow)
	}
	if text == "" {
		return func() {}
	}
	return func() { c.log(slog.LevelError, text, "age", age.Round(time.Second)) }
}

// Ready waits until there is a set to decide by: at start-up, and again after
// MaxStale. It returns at once while there is one. The error, when the context
// ends or the Cache is closed, is [ErrUnavailable] and the context's.
func (c *Cache) Ready(ctx context.Context) error {
	if c == nil || c.ctx == nil {
		return &unavailable{detail: "the Cache was not made by New"}
	}
	for {
		c.mu.Lock()
		ready, changed, last := c.usable() != nil, c.changed, c.status.LastError
		c.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-changed:
		case <-c.ctx.Done():
			return &unavailable{detail: "the Cache is closed"}
		case <-ctx.Done():
			if last == "" {
				last = "the first fetch is still under way"
			}
			return &unavailable{detail: last, cause: ctx.Err()}
		}
	}
}

// Refresh fetches now, for emergencies such as a key known to be stolen, and
// returns when that fetch has ended. If it failed, the set at hand stays and the
// error is [ErrUnavailable].
func (c *Cache) Refresh(ctx context.Context) error {
	if c == nil || c.ctx == nil {
		return &unavailable{detail: "the Cache was not made by New"}
	}
	c.mu.Lock()
	older := c.inFlight // its answer may have been on the way before the emergency
	c.mu.Unlock()
	for {
		fetch := c.start()
		if fetch == nil {
			return &unavailable{detail: "the Cache is closed"}
		}
		select {
		case result := <-fetch:
			if older {
				older = false
				continue
			}
			if result.Err != nil {
				return &unavailable{detail: printable(result.Err.Error())}
			}
			return nil
		case <-c.ctx.Done():
			return &unavailable{detail: "the Cache is closed"}
		case <-ctx.Done():
			return &unavailable{detail: "the caller stopped waiting for a fetch", cause: ctx.Err()}
		}
	}
}
