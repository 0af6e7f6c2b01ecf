package jwks

import (
	"cmp"
	"context"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/bearerguard/bearerguard/internal/fetch"
	"github.com/bearerguard/bearerguard/internal/schedule"
)

const (
	maxWait    = 2 * time.Second // how long a caller waits for a fetch
	maxWaiters = 1024            // how many may
	maxAbsent  = 256             // kids remembered that a fetch did not bring
)

// Cache holds one issuer's keys and keeps them fresh. It is safe for concurrent
// use. Close it when it is no longer needed.
type Cache struct {
	config Config
	client *fetch.Client
	snap   atomic.Pointer[snapshot] // all that a known key needs

	ctx    context.Context // ends with Close; every fetch runs under it
	cancel context.CancelFunc
	work   sync.WaitGroup
	flight singleflight.Group
	seed   maphash.Seed

	waiting atomic.Int32

	mu        sync.Mutex // guards what follows; never held during a fetch
	closed    bool
	inFlight  bool
	began     time.Time // when the fetch under way did
	wanted    bool      // by the timer: the outcome of the fetch under way counts for its schedule
	bucket    schedule.Bucket
	absent    map[uint64]time.Time // hashed (kid, alg) that a fetch did not bring → until when that holds
	uri       string               // where keys were last fetched from
	reach     fetch.Reach          // that uri must not leave; zero: it is the operator's own
	placed    time.Time            // when the metadata was last asked for uri
	full      *Set                 // the set at hand, denied keys and all
	known     fetch.Validators     // of that set
	freshness time.Duration        // of that set
	denied    map[string]bool      // kids and thumbprints
	failures  int                  // of the timer's fetches, in a row
	next      time.Time            // the timer's next fetch
	timer     *time.Timer          // that makes it; nil until the first fetch has ended
	ageing    *time.Timer          // that looks how old the set at hand has become
	hold      time.Time            // no fetch for an unknown kid before: the server asked for that
	warned    staleness
	changed   chan struct{} // closed, and replaced, when a fetch ends
	status    Status
}

// snapshot is immutable. The set is nil until a first fetch succeeded and again
// after Close.
type snapshot struct {
	set     *Set
	fetched time.Time
}

// staleness is how loudly the age of the set was last complained about.
type staleness int

const (
	fresh staleness = iota
	halfStale
	tooStale
)

// New starts fetching in the background and returns at once; a first answer may
// still be on its way or never come, which [Cache.Ready] tells. The error joins
// every fault in the Config.
func New(c Config) (*Cache, error) {
	c.setDefaults()
	client := fetch.New(fetch.Options{HTTP: c.Client, TLS: c.TLS, InsecureHTTP: c.InsecureHTTP})
	if err := c.faults(client); err != nil {
		return nil, err
	}
	if c.InsecureHTTP {
		c.Logger.Warn("jwks: keys may be fetched over plain http", "issuer", c.Issuer, "url", c.URL)
	}
	cache := &Cache{
		config: c, client: client, uri: c.URL, seed: maphash.MakeSeed(),
		absent: map[uint64]time.Time{}, denied: map[string]bool{}, changed: make(chan struct{}),
	}
	cache.snap.Store(&snapshot{})
	if len(c.Snapshot) > 0 {
		if err := cache.restore(c.Snapshot); err != nil {
			// Not a fault: a service must start without it too.
			cache.log(slog.LevelWarn, "jwks: the snapshot is not used", "error", printable(err.Error()))
		}
		cache.config.Snapshot = nil
	}
	if client.Proxied(cmp.Or(c.Issuer, c.URL)) {
		cache.log(slog.LevelInfo, "jwks: keys are fetched through a proxy, which resolves names: where they lead is not checked")
	}
	cache.ctx, cache.cancel = context.WithCancel(context.Background())
	cache.turn() // so whoever calls Key right after New finds a fetch to wait for
	return cache, nil
}

// Key finds the key for a token's kid and alg; an empty kid stands for a token
// without one. A known key comes at once and whatever the context; for an
// unknown one, and before there is any set, Key may wait for a fetch, 2 s at
// most. The error is [ErrKeyNotFound] only for a denied key, or if a set says so
// that was fetched after the call or within the last Cooldown, and
// [ErrUnavailable] otherwise. With a context that has ended Key answers at once
// and causes no fetch.
func (c *Cache) Key(ctx context.Context, kid, alg string) (*Key, error) {
	if c == nil {
		return nil, &unavailable{detail: "the Cache is nil"}
	}
	if k := c.usable().find(kid, alg); k != nil {
		return k.allowed()
	}
	return c.seek(ctx, kid, alg)
}

// usable is the set to decide by, or nil.
func (c *Cache) usable() *Set { return c.usableOf(c.snap.Load()) }

func (c *Cache) usableOf(s *snapshot) *Set {
	if s == nil || s.set == nil || time.Since(s.fetched) >= c.config.MaxStale {
		return nil
	}
	return s.set
}

// seek looks for a key that the set at hand does not have, by way of at most two
// fetches: one that is under way already and may be older than the token, and
// one that began later.
func (c *Cache) seek(ctx context.Context, kid, alg string) (*Key, error) {
	if c.ctx == nil {
		return nil, &unavailable{detail: "the Cache was not made by New"}
	}
	if c.refuses(kid) {
		return nil, ErrKeyNotFound
	}
	arrived := time.Now()
	var deadline *time.Timer
	sought := name{kid, alg}
	if err := ctx.Err(); err != nil { // who is gone already causes no fetch
		if !c.settled(sought, arrived) {
			return nil, &unavailable{detail: "the caller's context has ended", cause: err}
		}
		return c.settle(sought, arrived)
	}
	for last := false; !last; {
		ended, later := c.claim(sought, arrived)
		if ended == nil {
			return c.settle(sought, arrived)
		}
		last = later
		if deadline == nil {
			deadline = time.NewTimer(maxWait)
			defer deadline.Stop()
		}
		if err := c.wait(ctx, ended, deadline.C); err != nil {
			return nil, err
		}
		if k := c.usable().find(kid, alg); k != nil {
			return k.allowed()
		}
	}
	c.remember(sought, arrived)
	return c.settle(sought, arrived)
}

// settle is the last word about a key that no more fetch is made for. It looks
// after the verdict: a fetch that ends meanwhile must not be called as a witness
// against the key that it brought.
func (c *Cache) settle(sought name, arrived time.Time) (*Key, error) {
	err := c.verdict(arrived)
	if k := c.usable().find(sought.kid, sought.alg); k != nil {
		return k.allowed()
	}
	return nil, err
}

// claim returns the end of the fetch to wait for: one under way, or a new one if
// the bucket allows it; and whether it began no earlier than the token arrived.
// Nil: none. All wait for one channel, so a stranger who does not leaves nothing
// behind.
func (c *Cache) claim(sought name, arrived time.Time) (ended <-chan struct{}, later bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch {
	case c.closed, c.usable().find(sought.kid, sought.alg) != nil, now.Before(c.absent[c.hash(sought)]):
		return nil, false
	case c.inFlight:
		return c.changed, !c.began.Before(arrived)
	case c.usable() == nil, now.Before(c.hold):
		return nil, false // the timer alone decides about a first set
	}
	// Claimed before the fetch, and counted whatever comes back.
	if ok, _ := c.bucket.Take(now, c.config.Cooldown); !ok {
		return nil, false
	}
	c.status.UnknownKeyFetches++
	c.startLocked(false)
	return c.changed, true
}

// settled reports whether a key is none of the set at hand and no fetch could
// change that now.
func (c *Cache) settled(sought name, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	bucket := c.bucket // a copy: looking takes nothing
	ok, _ := bucket.Take(now, c.config.Cooldown)
	// Looked up once more: a fetch may have ended since Key looked.
	return !c.inFlight && c.usable().find(sought.kid, sought.alg) == nil &&
		(!ok || now.Before(c.hold) || now.Before(c.absent[c.hash(sought)]))
}

// verdict is what to answer for a key that was not found: that it does not
// exist, if the set at hand is fresh enough to say so.
func (c *Cache) verdict(arrived time.Time) error {
	s := c.snap.Load()
	usable := c.usableOf(s) != nil
	if usable && (!s.fetched.Before(arrived) || time.Since(s.fetched) <= c.config.Cooldown) {
		return ErrKeyNotFound
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return &unavailable{detail: "the Cache is closed"}
	case s.set == nil:
		return &unavailable{detail: "none was fetched yet", retryAfter: time.Until(c.next)}
	case !usable:
		return &unavailable{detail: "the last one is too old", retryAfter: time.Until(c.next)}
	}
	bucket := c.bucket // a copy: looking takes nothing
	_, wait := bucket.Take(time.Now(), c.config.Cooldown)
	return &unavailable{
		detail:     "the key is unknown and the set too old to say that it does not exist",
		retryAfter: max(wait, time.Until(c.hold)),
	}
}

// remember notes a kid that a fetch did not bring, so that it does not cause
// another. Only a set that is there to say so denies a kid.
func (c *Cache) remember(sought name, arrived time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.snap.Load()
	if s.set == nil || s.fetched.Before(arrived) {
		return
	}
	now := time.Now()
	if len(c.absent) >= maxAbsent {
		for old, until := range c.absent {
			if !now.Before(until) {
				delete(c.absent, old)
			}
		}
	}
	if len(c.absent) < maxAbsent {
		c.absent[c.hash(sought)] = s.fetched.Add(c.config.Cooldown)
	}
}

// hash stands for a stranger's words, so that remembering them costs the same
// however long they are, and nobody can aim for a collision.
func (c *Cache) hash(n name) uint64 { return maphash.Comparable(c.seed, n) }

// wait waits for a fetch to end, well or not.
func (c *Cache) wait(ctx context.Context, ended <-chan struct{}, deadline <-chan time.Time) error {
	defer c.waiting.Add(-1)
	if c.waiting.Add(1) > maxWaiters {
		return &unavailable{detail: "too many callers wait for a fetch", retryAfter: maxWait}
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return &unavailable{detail: "the caller stopped waiting for a fetch", retryAfter: maxWait, cause: ctx.Err()}
	case <-deadline:
		return &unavailable{detail: "a fetch takes too long", retryAfter: maxWait}
	case <-c.ctx.Done():
		return &unavailable{detail: "the Cache is closed"}
	}
}

// Close stops the background work and waits for it to end. From then on every
// method fails with [ErrUnavailable]. It may be called more than once.
func (c *Cache) Close() error {
	if c == nil || c.ctx == nil {
		return nil
	}
	c.mu.Lock()
	c.closed, c.next = true, time.Time{}
	c.snap.Store(&snapshot{})
	for _, timer := range []*time.Timer{c.timer, c.ageing} {
		if timer != nil {
			timer.Stop()
		}
	}
	c.mu.Unlock()
	c.cancel()
	c.work.Wait()
	c.client.Close()
	return nil
}
