package jwks

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/bearerguard/bearerguard/internal/fetch"
	"github.com/bearerguard/bearerguard/internal/schedule"
)

const (
	maxWait    = 2 * time.Second  // how long a caller waits for a fetch
	maxWaiters = 1024             // how many may
	maxFetch   = 10 * time.Second // metadata and keys together
	maxAbsent  = 256              // kids remembered that a fetch did not bring
)

// Config says where an issuer's keys are and how fresh they have to be. A zero
// field means its default.
type Config struct {
	// Issuer is the issuer identifier; its keys are found by discovery, in the
	// places of OpenID Connect Discovery §4 and RFC 8414 §3.1, and the document
	// found there must name the identical issuer. Exactly one of Issuer and URL
	// is set.
	Issuer string
	// URL is the issuer's jwks_uri, for when discovery is not wanted.
	URL string

	// Client lends its Transport; its redirect policy, cookie jar and timeout
	// are not used. Nil: a client of our own, which honours the environment's
	// proxies, wants TLS 1.2, and does not let a host name lead to link-local
	// or cloud metadata addresses.
	Client *http.Client
	// TLS is for our own client, for a private CA say. It is copied. Nil: the
	// system's roots. Setting it beside Client is a fault, and so is
	// InsecureSkipVerify without a verification of your own.
	TLS *tls.Config
	// InsecureHTTP allows plain http to any host, which gives whoever is on the
	// way the power to sign tokens; for a mesh that encrypts beneath. False:
	// plain http to loopback only.
	InsecureHTTP bool

	// Refresh is the longest time between background refreshes while they
	// succeed, and so how long a withdrawn key can live. Zero: 10 minutes. A
	// shorter lifetime in the answer's cache headers is obeyed, down to 1 minute
	// or to Refresh, whichever is less; a longer one never is.
	Refresh time.Duration
	// Cooldown is how often an unknown kid may cause a fetch: two at once, then
	// one for each Cooldown. Zero: 30 seconds.
	Cooldown time.Duration
	// MaxStale is how long the last good set outlives refreshes that fail. Zero:
	// 24 hours. It is at least Refresh.
	MaxStale time.Duration

	// Logger is told of changes of state only. Nil: slog.Default().
	Logger *slog.Logger
}

func (c *Config) setDefaults() {
	c.Refresh = cmp.Or(c.Refresh, 10*time.Minute)
	c.Cooldown = cmp.Or(c.Cooldown, 30*time.Second)
	c.MaxStale = cmp.Or(c.MaxStale, 24*time.Hour)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// faults lists all that is wrong with a Config whose defaults are set.
func (c *Config) faults(client *fetch.Client) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("jwks: Config."+format, args...)) }
	switch {
	case c.Issuer == "" && c.URL == "":
		fault("Issuer is required: write the issuer identifier, or set URL to its jwks_uri")
	case c.Issuer != "" && c.URL != "":
		fault("Issuer and Config.URL are both set: keep Issuer for discovery, or URL to do without it")
	case c.URL != "":
		if err := client.CheckURL(c.URL); err != nil {
			fault("URL is %s: %w: write the https URL of the issuer's key set", shown(c.URL), err)
		}
	default:
		if err := client.CheckURL(c.Issuer); err != nil {
			fault("Issuer is %s: %w: write the issuer's https URL as its tokens have it in iss", shown(c.Issuer), err)
		} else if u, err := url.Parse(c.Issuer); err != nil || u.RawQuery != "" || u.ForceQuery {
			fault("Issuer is %s: an issuer identifier has no query (RFC 8414 §2): set URL instead", shown(c.Issuer))
		}
	}
	if c.Client != nil && c.TLS != nil {
		fault("TLS is set beside Config.Client: set the Client's own transport")
	}
	if t := c.TLS; t != nil && t.InsecureSkipVerify && t.VerifyConnection == nil && t.VerifyPeerCertificate == nil {
		fault("TLS has InsecureSkipVerify: set RootCAs to the CA of the issuer instead")
	}
	if shortest := min(c.Refresh, c.Cooldown, c.MaxStale); shortest < 0 {
		fault("Refresh, Cooldown and MaxStale cannot be negative: leave them 0 for 10m, 30s and 24h")
	} else if shortest < time.Millisecond {
		// Refresh: 600 would ask the issuer without a pause.
		fault("Refresh, Cooldown or MaxStale is %v: write a unit with the number, such as 10*time.Minute", shortest)
	} else if c.MaxStale < c.Refresh {
		fault("MaxStale is %v, less than Refresh, %v: keys would expire between refreshes that succeed", c.MaxStale, c.Refresh)
	}
	return errors.Join(faults...)
}

// shown is a URL as an error may show it: without the credentials it may hold.
func shown(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "unreadable"
	}
	u.User = nil
	return strconv.Quote(u.String())
}

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

	mu       sync.Mutex // guards what follows; never held during a fetch
	closed   bool
	inFlight bool
	began    time.Time // when the fetch under way did
	wanted   bool      // by the timer: the outcome of the fetch under way counts for its schedule
	bucket   schedule.Bucket
	absent   map[uint64]time.Time // hashed (kid, alg) that a fetch did not bring → until when that holds
	uri      string               // where keys were last fetched from
	failures int                  // of the timer's fetches, in a row
	next     time.Time            // the timer's next fetch
	hold     time.Time            // no fetch for an unknown kid before: the server asked for that
	warned   staleness
	changed  chan struct{} // closed, and replaced, when a fetch ends
	status   Status
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
		absent: map[uint64]time.Time{}, changed: make(chan struct{}),
	}
	cache.snap.Store(&snapshot{})
	cache.ctx, cache.cancel = context.WithCancel(context.Background())
	cache.work.Add(1)
	// Begun here and not in the goroutine: whoever calls Key right after New
	// finds a fetch to wait for.
	go cache.refresh(cache.turn())
	return cache, nil
}

// Key finds the key for a token's kid and alg; an empty kid stands for a token
// without one. A known key comes at once and whatever the context; for an
// unknown one, and before there is any set, Key may wait for a fetch, 2 s at
// most. The error is [ErrKeyNotFound] only if a set says so that was fetched
// after the call or within the last Cooldown, and [ErrUnavailable] otherwise.
func (c *Cache) Key(ctx context.Context, kid, alg string) (*Key, error) {
	if c == nil {
		return nil, &unavailable{detail: "the Cache is nil"}
	}
	if k := c.usable().find(kid, alg); k != nil {
		return k, nil
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
	arrived := time.Now()
	deadline := time.NewTimer(maxWait)
	defer deadline.Stop()
	sought := name{kid, alg}
	for last := false; !last; {
		fetched, later := c.claim(sought, arrived)
		if fetched == nil {
			// Another caller's fetch may have ended since Key looked.
			if k := c.usable().find(kid, alg); k != nil {
				return k, nil
			}
			return nil, c.verdict(arrived)
		}
		last = later
		if err := c.wait(ctx, fetched, deadline.C); err != nil {
			return nil, err
		}
		if k := c.usable().find(kid, alg); k != nil {
			return k, nil
		}
	}
	c.remember(sought, arrived)
	return nil, c.verdict(arrived)
}

// claim returns the fetch to wait for: one under way, or a new one if the bucket
// allows it; and whether it began no earlier than the token arrived. Nil: none.
func (c *Cache) claim(sought name, arrived time.Time) (fetched <-chan singleflight.Result, later bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch {
	case c.closed, c.usable().find(sought.kid, sought.alg) != nil, now.Before(c.absent[c.hash(sought)]):
		return nil, false
	case c.inFlight:
		return c.startLocked(false), !c.began.Before(arrived)
	case c.usable() == nil, now.Before(c.hold):
		return nil, false // the timer alone decides about a first set
	}
	// Claimed before the fetch, and counted whatever comes back.
	if ok, _ := c.bucket.Take(now, c.config.Cooldown); !ok {
		return nil, false
	}
	c.status.UnknownKeyFetches++
	return c.startLocked(false), true
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
func (c *Cache) wait(ctx context.Context, fetched <-chan singleflight.Result, deadline <-chan time.Time) error {
	defer c.waiting.Add(-1)
	if c.waiting.Add(1) > maxWaiters {
		return &unavailable{detail: "too many callers wait for a fetch", retryAfter: maxWait}
	}
	select {
	case <-fetched:
		return nil
	case <-ctx.Done():
		return &unavailable{detail: "the caller stopped waiting for a fetch", retryAfter: maxWait, cause: ctx.Err()}
	case <-deadline:
		return &unavailable{detail: "a fetch takes too long", retryAfter: maxWait}
	case <-c.ctx.Done():
		return &unavailable{detail: "the Cache is closed"}
	}
}

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
	set       *Set
	uri       string
	freshness time.Duration // as schedule.Freshness
}

// load fetches the set, and where it is found if that is not known. A jwks_uri
// that failed last time is looked up anew, since it may have moved; if that
// fails the old one is tried all the same.
func (c *Cache) load(ctx context.Context) (fetched, error) {
	c.mu.Lock()
	uri, failing := c.uri, c.status.LastError != ""
	c.mu.Unlock()
	var lost error
	if c.config.Issuer != "" && (uri == "" || failing) {
		limit := maxFetch
		if uri != "" {
			limit -= fetch.Timeout // metadata that hangs must not cost the keys
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		found, err := discover(ctx, c.client, c.config.Issuer)
		switch {
		case err == nil:
			uri = found
		case uri == "":
			return fetched{}, err
		default:
			lost = err
		}
	}
	res, err := c.client.Get(ctx, uri)
	if err != nil {
		return fetched{}, errors.Join(fmt.Errorf("keys at %s: %w", uri, err), lost)
	}
	set, err := parse(res.Body)
	if err != nil {
		return fetched{}, errors.Join(fmt.Errorf("keys at %s: %w", uri, err), lost)
	}
	return fetched{set, uri, schedule.Freshness(res.Header, time.Now())}, nil
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
	close(c.changed)
	c.changed = make(chan struct{})
	c.status.Fetches++
	if err != nil {
		logs = c.failLocked(now, wanted, err)
		return
	}
	logs = c.succeedLocked(now, got)
}

func (c *Cache) succeedLocked(now time.Time, got fetched) (logs []func()) {
	old := c.snap.Load().set
	got.set.reuse(old)
	c.snap.Store(&snapshot{set: got.set, fetched: now})
	c.uri, c.failures, c.hold, c.warned = got.uri, 0, time.Time{}, fresh
	c.next = now.Add(schedule.Refresh(c.config.Refresh, got.freshness, rand.Float64()))
	if c.status.LastError != "" || old == nil {
		c.status.LastError = ""
		logs = append(logs, func() { c.log(slog.LevelInfo, "jwks: keys fetched", "url", got.uri, "keys", len(got.set.keys)) })
	}
	return append(logs, c.changes(old, got.set)...)
}

func (c *Cache) failLocked(now time.Time, wanted bool, err error) (logs []func()) {
	retryAfter := min(fetch.RetryAfter(err), c.config.Refresh)
	c.hold = now.Add(retryAfter)
	if wanted {
		c.failures++
		c.next = now.Add(schedule.Backoff(c.failures, c.usable() != nil, c.config.Refresh, retryAfter, rand.Float64()))
	}
	text := printable(err.Error())
	if c.status.LastError == "" {
		logs = append(logs, func() { c.log(slog.LevelWarn, "jwks: fetching keys fails", "error", text) })
	}
	c.status.Failures++
	c.status.LastError, c.status.LastErrorAt = text, now

	s := c.snap.Load()
	age, state := now.Sub(s.fetched), fresh
	switch {
	case s.set == nil:
	case age >= c.config.MaxStale:
		state = tooStale
	case age >= c.config.MaxStale/2:
		state = halfStale
	}
	if state > c.warned {
		c.warned = state
		text := "jwks: keys have reached half of MaxStale; tokens will be refused when they reach it"
		if state == tooStale {
			text = "jwks: keys are older than MaxStale; every token is refused until a fetch succeeds"
		}
		logs = append(logs, func() { c.log(slog.LevelError, text, "age", age.Round(time.Second)) })
	}
	return logs
}

func (c *Cache) log(level slog.Level, text string, args ...any) {
	if c.config.Issuer != "" {
		args = append([]any{"issuer", c.config.Issuer}, args...)
	}
	c.config.Logger.Log(context.Background(), level, text, args...)
}

// refresh is the timer. It is independent of any traffic.
func (c *Cache) refresh(ended <-chan struct{}) {
	defer c.work.Done()
	for {
		select {
		case <-ended:
		case <-c.ctx.Done():
			return
		}
		// A fetch for an unknown kid may have moved the next one meanwhile.
		for wait := c.untilNext(); wait > 0; wait = c.untilNext() {
			select {
			case <-time.After(wait):
			case <-c.ctx.Done():
				return
			}
		}
		if ended = c.turn(); ended == nil {
			return
		}
	}
}

// turn is the timer's way to start. It waits for finish and not for singleflight,
// which never answers if a RoundTripper ends its goroutine. Nil: the Cache is
// closed.
func (c *Cache) turn() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.startLocked(true) == nil {
		return nil
	}
	return c.changed
}

func (c *Cache) untilNext() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Until(c.next)
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

// Close stops the background work and waits for it to end. From then on every
// method fails with [ErrUnavailable]. It may be called more than once.
func (c *Cache) Close() error {
	if c == nil || c.ctx == nil {
		return nil
	}
	c.mu.Lock()
	c.closed, c.next = true, time.Time{}
	c.snap.Store(&snapshot{})
	c.mu.Unlock()
	c.cancel()
	c.work.Wait()
	c.client.Close()
	return nil
}
