package jwtverify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bearerguard/bearerguard/internal/bounded"
)

const (
	maxIssuer     = 512 // bytes of an iss that is resolved
	maxResolving  = 16  // issuers at once
	maxQueued     = 256 // issuers that are resolved or wait for their turn
	maxWaiting    = 1024
	resolveFor    = 10 * time.Second
	waitResolving = 2 * time.Second
	maxUnresolved = 1024 // issuers remembered that could not be resolved
	unknownFor    = 30 * time.Second
	brokenFor     = time.Second
	resolveAgain  = 10 * time.Minute
	defaultKept   = 1000
)

// tenants holds the Verifiers of issuers that Resolve brought.
type tenants struct {
	resolve  func(context.Context, string) (Config, error)
	verifier func(Config) (*Verifier, error)
	most     int
	logger   *slog.Logger

	ctx     context.Context // ends with close
	cancel  context.CancelFunc
	turn    chan struct{} // has a place for each that is being resolved
	waiting atomic.Int32  // callers
	known   sync.Map      // issuer → *Verifier
	seed    maphash.Seed
	warned  atomic.Int64 // when the log was last told, in Unix seconds

	mu         sync.Mutex // guards what follows; never held while Resolve runs, or while a Verifier is made or closed
	closed     bool
	made       uint64
	count      int // of known
	evicted    uint64
	errands    map[string]*errand
	unresolved map[uint64]refusal // by hashed issuer
	work       sync.WaitGroup     // that close waits for
}

// lease is about a Verifier that is here for a while.
type lease struct {
	number uint64       // in the order in which they were made
	used   atomic.Int64 // when a token of its was last taken, in Unix seconds; 0: never
	asked  atomic.Int64 // when Resolve last knew it, likewise
}

// errand is an issuer being resolved. All who wait for it wait for one channel, so
// that those who give up leave nothing behind.
type errand struct {
	done     chan struct{}
	canceled bool // by forget
	verifier *Verifier
	err      *Error
}

// refusal is why an issuer could not be resolved, for a while.
type refusal struct {
	until time.Time
	err   *Error
}

func newTenants(resolve func(context.Context, string) (Config, error), verifier func(Config) (*Verifier, error), most int, logger *slog.Logger) *tenants {
	t := &tenants{
		resolve: resolve, verifier: verifier, most: most, logger: logger,
		turn: make(chan struct{}, maxResolving), seed: maphash.MakeSeed(), errands: map[string]*errand{}, unresolved: map[uint64]refusal{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

func (t *tenants) get(issuer string) *Verifier {
	v, _ := t.known.Load(issuer)
	verifier, _ := v.(*Verifier)
	return verifier
}

// find resolves an issuer that is not known, and waits for it.
func (t *tenants) find(ctx context.Context, issuer string) (*Verifier, *Error) {
	if ctx.Err() != nil {
		return nil, unavailable(notResolved, ctx.Err())
	}
	defer t.waiting.Add(-1)
	if t.waiting.Add(1) > maxWaiting {
		return nil, later("too many wait for their issuer to be resolved")
	}
	timer := time.NewTimer(waitResolving)
	defer timer.Stop()
	for {
		e, err := t.send(issuer)
		if err != nil {
			return nil, err.of(issuer)
		}
		select {
		case <-e.done:
			switch {
			case e.canceled: // what it found out is out of date
				continue
			case e.err != nil:
				return nil, e.err.of(issuer)
			}
			return e.verifier, nil
		case <-ctx.Done():
			return nil, unavailable(notResolved, ctx.Err())
		case <-timer.C:
			return nil, later(notResolved)
		}
	}
}

const notResolved = "the issuer is not resolved yet"

func later(detail string) *Error {
	err := refuse(ErrUnavailable, detail)
	err.RetryAfter = time.Second
	return err
}

// send begins an errand, or joins the one under way.
func (t *tenants) send(issuer string) (*errand, *Error) {
	hash := maphash.String(t.seed, issuer)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, refuse(ErrUnavailable, "the Issuers are closed")
	}
	if v := t.get(issuer); v != nil { // since the caller looked
		e := &errand{done: make(chan struct{}), verifier: v}
		close(e.done)
		return e, nil
	}
	if r, ok := t.unresolved[hash]; ok && time.Now().Before(r.until) {
		mine := *r.err
		return nil, &mine
	}
	e := t.errands[issuer]
	switch {
	case e != nil:
	case len(t.errands) >= maxQueued:
		return nil, later("too many issuers are to be resolved")
	default:
		e = t.begin(issuer, func(e *errand, c Config, err error) { t.bring(e, issuer, c, err) })
	}
	return e, nil
}

// begin asks Resolve, when it is the issuer's turn, and hands on what it says. The
// mutex is held.
func (t *tenants) begin(issuer string, say func(*errand, Config, error)) *errand {
	e := &errand{done: make(chan struct{})}
	t.errands[issuer] = e
	t.work.Go(func() {
		select {
		case t.turn <- struct{}{}:
			defer func() { <-t.turn }()
			c, err := t.ask(issuer)
			say(e, c, err)
		case <-t.ctx.Done():
			say(e, Config{}, refuse(ErrUnavailable, "the Issuers are closed"))
		}
	})
	return e
}

// ask asks Resolve. A panic becomes an error, since it would end the program: it
// runs where no caller can recover it. So does that of an error, whose text is read
// here for the last time.
func (t *tenants) ask(issuer string) (c Config, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("it panicked")
			t.complain(slog.LevelError, "Resolve panicked", issuer, fmt.Sprint(p))
		}
	}()
	ctx, cancel := context.WithTimeout(t.ctx, resolveFor)
	defer cancel()
	c, err = t.resolve(ctx, issuer)
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, ErrInvalidToken) && !errors.Is(err, ErrUnavailable):
		return Config{}, refuse(ErrIssuer, unknownIssuer)
	}
	outage := unavailable("Resolve", err)
	outage.RetryAfter = cmp.Or(outage.RetryAfter, brokenFor)
	if t.ctx.Err() == nil {
		t.complain(slog.LevelWarn, "Resolve fails", issuer, err.Error())
	}
	return Config{}, outage
}

// complain tells the log, once a second at most: strangers decide how often Resolve
// is asked.
func (t *tenants) complain(level slog.Level, what, issuer, text string) {
	if last, now := t.warned.Load(), time.Now().Unix(); last != now && t.warned.CompareAndSwap(last, now) {
		t.logger.Log(t.ctx, level, "jwtverify: "+what, "issuer", bounded.Text(issuer), "error", bounded.Text(text))
	}
}

// bring makes the Verifier of what Resolve said.
func (t *tenants) bring(e *errand, issuer string, c Config, err error) {
	var v *Verifier
	var refused *Error
	period := unknownFor
	switch {
	case errors.As(err, &refused):
		if refused.Reason == ErrUnavailable {
			period = brokenFor
		}
	case err != nil:
		refused, period = later("Resolve: "+err.Error()), brokenFor
	case c.Issuer != issuer:
		// As with a look-up that folds case: one issuer's Config serves no other.
		refused = refuse(ErrIssuer, "Resolve brought another issuer's Config")
	default:
		v, refused = t.build(issuer, c)
	}
	if leaves := t.settle(e, issuer, v, refused, period); leaves != nil {
		_ = leaves.Close()
	}
}

// build makes a Verifier. For a panic the same holds as in ask.
func (t *tenants) build(issuer string, c Config) (v *Verifier, refused *Error) {
	defer func() {
		if p := recover(); p != nil {
			v, refused = nil, refuse(ErrUnavailable, "the Config that Resolve brought: it panicked")
			t.complain(slog.LevelError, "the Config that Resolve brought panicked", issuer, fmt.Sprint(p))
		}
	}()
	v, err := t.verifier(c)
	if err != nil {
		refused = unavailable("the Config that Resolve brought", err)
		t.complain(slog.LevelError, "the Config that Resolve brought is not used", issuer, err.Error())
		return nil, refused
	}
	return v, nil
}

// settle ends an errand, and returns the Verifier for which there is no place.
func (t *tenants) settle(e *errand, issuer string, v *Verifier, refused *Error, period time.Duration) (leaves *Verifier) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer close(e.done)
	if e.canceled {
		return v // and errands has another, or none
	}
	delete(t.errands, issuer)
	switch {
	case t.closed:
		e.err = refuse(ErrUnavailable, "the Issuers are closed")
		return v
	case refused != nil:
		e.err = refused
		t.remember(maphash.String(t.seed, issuer), refusal{time.Now().Add(period), refused})
		return nil
	}
	e.verifier = v
	t.made++
	v.lease = &lease{number: t.made}
	v.lease.asked.Store(time.Now().Unix())
	t.known.Store(issuer, v)
	if t.count++; t.count <= t.most {
		return nil
	}
	t.evicted++
	return t.drop(t.least(v))
}

// remember keeps a refusal among a bounded number of others: any of them makes room.
func (t *tenants) remember(hash uint64, r refusal) {
	if _, there := t.unresolved[hash]; !there && len(t.unresolved) >= maxUnresolved {
		for other := range t.unresolved {
			delete(t.unresolved, other)
			break
		}
	}
	t.unresolved[hash] = r
}

// least is who makes room for a newcomer.
func (t *tenants) least(newcomer *Verifier) *Verifier {
	var least *Verifier
	t.each(func(v *Verifier) {
		if v != newcomer && (least == nil || v.lease.less(least.lease)) {
			least = v
		}
	})
	return least
}

func (l *lease) less(other *lease) bool {
	return cmp.Or(cmp.Compare(l.used.Load(), other.used.Load()), cmp.Compare(l.number, other.number)) < 0
}

// drop takes a Verifier out, from now on: closing it is left to the caller, without
// the mutex, since that waits for a fetch to end.
func (t *tenants) drop(v *Verifier) *Verifier {
	t.known.Delete(v.issuer)
	t.count--
	v.closed.Store(true)
	return v
}

func (t *tenants) forget(issuer string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.unresolved, maphash.String(t.seed, issuer))
	if e := t.errands[issuer]; e != nil {
		e.canceled = true
		delete(t.errands, issuer)
	}
	if v := t.get(issuer); v != nil && !t.closed {
		t.drop(v)
		t.work.Go(func() { _ = v.Close() })
	}
}

// took notes that a token was taken. Refused ones do not count, or whoever sends
// them would decide who stays.
func (t *tenants) took(v *Verifier) {
	now := time.Now().Unix()
	if v.lease.used.Load() != now {
		v.lease.used.Store(now) // once a second, since writing makes cores wait for each other
	}
	if asked := v.lease.asked.Load(); now-asked >= int64(resolveAgain/time.Second) && v.lease.asked.CompareAndSwap(asked, now) {
		t.review(v)
	}
}

// review asks Resolve whether it still knows an issuer. In an outage it stays.
func (t *tenants) review(v *Verifier) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.errands[v.issuer] != nil || len(t.errands) >= maxQueued {
		return
	}
	t.begin(v.issuer, func(e *errand, c Config, err error) {
		var refused *Error
		gone := errors.As(err, &refused) && refused.Reason == ErrIssuer || err == nil && c.Issuer != v.issuer
		t.mu.Lock()
		defer t.mu.Unlock()
		defer close(e.done)
		if e.canceled {
			return
		}
		delete(t.errands, v.issuer)
		e.verifier = v
		if gone && !t.closed && t.get(v.issuer) == v {
			t.drop(v)
			t.work.Go(func() { _ = v.Close() })
		}
	})
}

func (t *tenants) each(do func(*Verifier)) {
	t.known.Range(func(_, v any) bool {
		do(v.(*Verifier))
		return true
	})
}

func (t *tenants) evictions() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.evicted
}

// close ends all errands and returns the Verifiers, each marked as closed.
func (t *tenants) close() (all []*Verifier) {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.each(func(v *Verifier) {
		v.closed.Store(true)
		all = append(all, v)
	})
	t.cancel()
	t.work.Wait()
	return all
}
