package jwtverify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/bearerguard/bearerguard/internal/strictjson"
	"github.com/bearerguard/bearerguard/jwks"
)

// IssuersConfig says whose tokens to take where there is more than one issuer. A
// field that is zero means its default.
type IssuersConfig struct {
	// Configs are the issuers that are known from the start. Each is a policy of its
	// own: its keys, algorithms, audiences and rules serve no other issuer's tokens.
	Configs []Config
	// Resolve brings the Config of an issuer that is none of those, such as a
	// tenant's: Config.Issuer must be that very issuer. It is called with an iss that
	// nobody has verified, at most 512 bytes of anything: look it up, do not fetch
	// it, nor make a URL of it. An error that is an [ErrInvalidToken], such as
	// [ErrIssuer], means that there is no such tenant, which is remembered for 30
	// seconds; any other is an outage, remembered for one. It is called once at a
	// time for an issuer, for 16 issuers at once at most, with a context that ends
	// after 10 seconds or with Close, and callers wait for it 2 seconds at most.
	// Nil: there are no others.
	Resolve func(ctx context.Context, issuer string) (Config, error)
	// MaxResolved is how many issuers that Resolve brought are kept. Beyond it, the one
	// whose last good token is the longest ago is closed and forgotten, until it is
	// resolved again. Zero: 1,000.
	MaxResolved int
	// CacheBytes is [Config.CacheBytes] for all issuers together. In their Configs it
	// must be zero, or negative where that issuer's tokens are not to be kept.
	CacheBytes int
	// Logger is told of refused tokens at debug level, and of Configs that cannot be
	// used. Nil: slog.Default().
	Logger *slog.Logger
}

const (
	maxIssuer     = 512 // bytes of an iss that is resolved
	maxResolving  = 16  // issuers at once
	maxWaiting    = 1024
	resolveFor    = 10 * time.Second
	waitResolving = 2 * time.Second
	maxUnresolved = 1024 // issuers remembered that could not be resolved
	unknownFor    = 30 * time.Second
	brokenFor     = time.Second
	defaultKept   = 1000
)

// Issuers checks the access tokens of many issuers, each with the Verifier that its
// iss names, to the letter. It is safe for concurrent use. Close it when it is no
// longer needed.
//
// The iss that chooses the Verifier is as yet unverified. It decides nothing more:
// that Verifier takes the token only if its own Config and keys say so.
type Issuers struct {
	fixed   map[string]*Verifier
	resolve func(context.Context, string) (Config, error)
	most    int
	tokens  *tokens // of all issuers; nil: off
	logger  *slog.Logger

	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	flight    singleflight.Group
	waiting   atomic.Int32 // callers
	resolving atomic.Int32 // issuers
	tenants   sync.Map     // issuer → *Verifier, of those that Resolve brought
	seed      maphash.Seed

	mu         sync.Mutex // guards what follows; never held while Resolve runs or a Verifier is made or closed
	closed     bool
	count      int // of tenants
	evicted    uint64
	unresolved map[uint64]refusal // by hashed issuer
	work       sync.WaitGroup     // that Close waits for
}

// refusal is why an issuer could not be resolved, for a while.
type refusal struct {
	until time.Time
	err   *Error
}

// NewIssuers makes Issuers, and starts fetching the keys of those that are known. It
// returns at once; [Issuers.Ready] waits for the keys. The error joins every fault
// in the Configs.
func NewIssuers(c IssuersConfig) (*Issuers, error) {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("jwtverify: IssuersConfig."+format, args...))
	}
	if len(c.Configs) == 0 && c.Resolve == nil {
		fault("Configs and Resolve are both empty: write whose tokens to take")
	}
	if c.MaxResolved < 0 {
		fault("MaxResolved is negative: write 0 for %d", defaultKept)
	}
	if c.MaxResolved > 0 && c.Resolve == nil {
		fault("MaxResolved is set without Resolve, which alone brings any: remove it")
	}
	if 0 < c.CacheBytes && c.CacheBytes < minCache {
		fault("CacheBytes is %d: write it in bytes, %d or more, or -1 for no cache", c.CacheBytes, minCache)
	}
	m := &Issuers{
		fixed:      make(map[string]*Verifier, len(c.Configs)),
		resolve:    c.Resolve,
		most:       cmp.Or(c.MaxResolved, defaultKept),
		tokens:     newTokens(c.CacheBytes),
		logger:     cmp.Or(c.Logger, slog.Default()),
		seed:       maphash.MakeSeed(),
		unresolved: map[uint64]refusal{},
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	for i, config := range c.Configs {
		v, err := m.verifier(config)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("jwtverify: IssuersConfig.Configs[%d], issuer %q: %w", i, config.Issuer, err))
		case m.fixed[config.Issuer] != nil:
			faults = append(faults, v.Close())
			fault("Configs has the issuer %q twice: join them, or remove one", config.Issuer)
		default:
			m.fixed[config.Issuer] = v
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(append(faults, m.Close())...)
	}
	return m, nil
}

// verifier makes the Verifier of one issuer.
func (m *Issuers) verifier(c Config) (*Verifier, error) {
	if c.CacheBytes > 0 {
		return nil, errors.New("jwtverify: Config.CacheBytes is set: set IssuersConfig.CacheBytes, which is for all issuers")
	}
	if m.tokens == nil {
		c.CacheBytes = -1
	}
	c.Logger = cmp.Or(c.Logger, m.logger)
	return newVerifier(c, m.tokens)
}

// Verify decides about one token as [Verifier.Verify] of its issuer does. A token of
// an issuer that is not known is [ErrIssuer], or [ErrUnavailable] as long as that
// cannot be found out.
func (m *Issuers) Verify(ctx context.Context, token string) (*Token, error) {
	if m == nil || m.fixed == nil {
		return nil, refuse(ErrUnavailable, "the Issuers were not made by NewIssuers")
	}
	verified, err := m.verify(ctx, token)
	if err != nil {
		if m.logger.Enabled(ctx, slog.LevelDebug) {
			m.logger.LogAttrs(ctx, slog.LevelDebug, "jwtverify: token refused", slog.String("reason", string(err.Reason)), slog.String("detail", err.Detail))
		}
		if err.verifier == nil {
			err.issuers = m.known
		}
		if err.issuers != nil && err.Reason == ErrMalformed {
			err.came = mistakeIn(token, err.Detail == noThreeSegments)
		}
		return nil, err
	}
	return verified, nil
}

// known names the issuers that there are, for Explain.
func (m *Issuers) known() []string {
	issuers := slices.Collect(maps.Keys(m.fixed))
	m.tenants.Range(func(issuer, _ any) bool {
		issuers = append(issuers, issuer.(string))
		return true
	})
	slices.Sort(issuers)
	return issuers
}

func (m *Issuers) verify(ctx context.Context, token string) (*Token, *Error) {
	s := scratches.Get().(*scratch)
	defer s.release()
	c, err := s.cut(token)
	if err != nil {
		return nil, err
	}
	if e := m.tokens.find(s, c); e != nil {
		if v := e.Value.by; !v.closed.Load() {
			if t, err, settled := v.recall(ctx, s, e); settled {
				return m.settle(v, t, err, token)
			}
		}
	}
	issuer, err := s.issuer(c)
	if err != nil {
		return nil, err
	}
	for range 2 { // since a tenant may have to leave between being found and being asked
		v, err := m.find(ctx, issuer)
		if err != nil {
			return nil, err
		}
		if t, err := v.read(ctx, s, c); !v.closed.Load() {
			return m.settle(v, t, err, token)
		}
		s.decoded = s.decoded[:0]
	}
	return nil, later("the issuer's Verifier is closed")
}

// issuer reads iss, and nothing else, of claims that nobody has verified.
func (s *scratch) issuer(c compact) (issuer string, err *Error) {
	payload, err := s.decode(c.payload, "the payload")
	if err != nil {
		return "", err
	}
	there, text := false, false
	fault := strictjson.Object(payload, func(name []byte, v strictjson.Value) error {
		if string(name) == "iss" {
			there = true
			issuer, text = v.Text()
		}
		return nil
	})
	s.decoded = s.decoded[:0] // for the Verifier, which reads the claims as its own
	switch {
	case fault != nil:
		return "", refuse(ErrMalformed, "the claims: "+fault.Error())
	case !there:
		return "", refuse(ErrClaims, "iss is missing")
	case !text:
		return "", refuse(ErrClaims, "iss is not a string")
	}
	return issuer, nil
}

// settle hands on what a Verifier decided, and notes that a token of its was taken.
// Refused ones do not count, or whoever sends them would decide which issuers stay.
func (m *Issuers) settle(v *Verifier, t *Token, err *Error, token string) (*Token, *Error) {
	if err != nil {
		return nil, v.explained(err, token)
	}
	if now := time.Now().Unix(); m.resolve != nil && v.used.Load() != now {
		v.used.Store(now) // once a second, since writing makes cores wait for each other
	}
	return t, nil
}

const unknownIssuer = "iss is none of the issuers"

// find finds the Verifier of an issuer.
func (m *Issuers) find(ctx context.Context, issuer string) (*Verifier, *Error) {
	if v := m.fixed[issuer]; v != nil {
		return v, nil
	}
	if m.resolve == nil || issuer == "" || len(issuer) > maxIssuer {
		return nil, refuse(ErrIssuer, unknownIssuer).with(joined(issuer))
	}
	if found, ok := m.tenants.Load(issuer); ok {
		return found.(*Verifier), nil
	}
	hash := maphash.String(m.seed, issuer)
	if err := m.refused(hash); err != nil {
		return nil, err.with(joined(issuer))
	}
	defer m.waiting.Add(-1)
	if m.waiting.Add(1) > maxWaiting {
		return nil, later("too many wait for their issuer to be resolved")
	}
	brought := m.flight.DoChan(issuer, func() (any, error) { return m.bring(issuer, hash) })
	timer := time.NewTimer(waitResolving)
	defer timer.Stop()
	select {
	case b := <-brought:
		var err *Error
		if errors.As(b.Err, &err) {
			mine := *err
			return nil, mine.with(joined(issuer))
		}
		return b.Val.(*Verifier), nil
	case <-ctx.Done():
		return nil, unavailable("the issuer is not resolved", ctx.Err())
	case <-timer.C:
		return nil, later("the issuer is not resolved yet")
	}
}

func later(detail string) *Error {
	err := refuse(ErrUnavailable, detail)
	err.RetryAfter = time.Second
	return err
}

// bring makes the Verifier of an issuer that Resolve knows. It runs once at a time
// for each issuer.
func (m *Issuers) bring(issuer string, hash uint64) (*Verifier, error) {
	if !m.begin() {
		return nil, refuse(ErrUnavailable, "the Issuers are closed")
	}
	defer m.work.Done()
	if found, ok := m.tenants.Load(issuer); ok { // since the caller looked
		return found.(*Verifier), nil
	}
	defer m.resolving.Add(-1)
	if m.resolving.Add(1) > maxResolving {
		return nil, later("too many issuers are being resolved")
	}
	config, err := m.ask(issuer)
	switch {
	case errors.Is(err, ErrInvalidToken) && !errors.Is(err, ErrUnavailable):
		return nil, m.refuse(hash, unknownFor, refuse(ErrIssuer, unknownIssuer))
	case err != nil:
		fault := unavailable("Resolve", err)
		fault.RetryAfter = cmp.Or(fault.RetryAfter, brokenFor)
		return nil, m.refuse(hash, brokenFor, fault)
	case config.Issuer != issuer:
		// As with a look-up that folds case: one issuer's Config serves no other.
		return nil, m.refuse(hash, unknownFor, refuse(ErrIssuer, "Resolve brought another issuer's Config"))
	}
	v, err := m.verifier(config)
	if err != nil {
		m.logger.Error("jwtverify: the Config that Resolve brought is not used", "issuer", bounded(issuer), "error", bounded(err.Error()))
		return nil, m.refuse(hash, unknownFor, unavailable("the Config that Resolve brought", err))
	}
	if !m.keep(v) {
		_ = v.Close()
		return nil, refuse(ErrUnavailable, "the Issuers are closed")
	}
	return v, nil
}

// ask asks Resolve. A panic becomes an error, since it would end the program: it
// runs where no caller can recover it.
func (m *Issuers) ask(issuer string) (c Config, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it panicked: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(m.ctx, resolveFor)
	defer cancel()
	return m.resolve(ctx, issuer)
}

// begin announces work that Close has to wait for.
func (m *Issuers) begin() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.work.Add(1)
	return true
}

// refused says why an issuer could not be resolved a moment ago; nil if it was not
// tried.
func (m *Issuers) refused(hash uint64) *Error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, ok := m.unresolved[hash]; ok && time.Now().Before(r.until) {
		err := *r.err
		return &err
	}
	return nil
}

// refuse remembers why an issuer could not be resolved, among a bounded number of
// others: any of them makes room.
func (m *Issuers) refuse(hash uint64, period time.Duration, err *Error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.unresolved[hash]; !there && len(m.unresolved) >= maxUnresolved {
		for other := range m.unresolved {
			delete(m.unresolved, other)
			break
		}
	}
	m.unresolved[hash] = refusal{time.Now().Add(period), err}
	return err
}

// keep lets a tenant in, and the least used one out if they are too many.
func (m *Issuers) keep(v *Verifier) bool {
	v.used.Store(time.Now().Unix())
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.tenants.Store(v.issuer, v)
	if m.count++; m.count <= m.most {
		return true
	}
	oldest := v
	m.tenants.Range(func(_, other any) bool {
		if o := other.(*Verifier); oldest == v || o != v && o.used.Load() < oldest.used.Load() {
			oldest = o
		}
		return true
	})
	m.drop(oldest)
	m.evicted++
	return true
}

// drop takes a tenant out. The mutex is held; closing, which waits for a fetch to
// end, is not worth holding it.
func (m *Issuers) drop(v *Verifier) {
	m.tenants.Delete(v.issuer)
	m.count--
	v.closed.Store(true) // from now on, whatever closing waits for
	m.work.Go(func() { _ = v.Close() })
}

// Forget closes the Verifier of an issuer that Resolve brought, and forgets that
// Resolve knew none: the next token of it asks Resolve again. It is for a tenant
// that leaves, or whose Config changed. Until then a tenant stays as it was.
func (m *Issuers) Forget(issuer string) {
	if m == nil || m.fixed == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.unresolved, maphash.String(m.seed, issuer))
	if found, ok := m.tenants.Load(issuer); ok && !m.closed {
		m.drop(found.(*Verifier))
	}
}

// Ready waits until the tokens of every issuer in Configs can be judged. The error
// joins those of [Verifier.Ready].
func (m *Issuers) Ready(ctx context.Context) error {
	if m == nil || m.fixed == nil {
		return refuse(ErrUnavailable, "the Issuers were not made by NewIssuers")
	}
	var errs []error
	for issuer, v := range m.fixed {
		if err := v.Ready(ctx); err != nil {
			errs = append(errs, fmt.Errorf("issuer %q: %w", issuer, err))
		}
	}
	return errors.Join(errs...)
}

// IssuersStatus is what an operator may want to know of Issuers. It holds no secret.
type IssuersStatus struct {
	Keys    map[string]jwks.Status // by issuer; zero where the key source has none to give
	Evicted uint64                 // issuers that made room for others
	Cache   CacheStatus            // of verified tokens; zero where it is off
}

// Status describes the Issuers at this moment.
func (m *Issuers) Status() (status IssuersStatus) {
	if m == nil || m.fixed == nil {
		return status
	}
	status.Keys = map[string]jwks.Status{}
	add := func(v *Verifier) { status.Keys[v.issuer] = v.keyStatus() }
	for _, v := range m.fixed {
		add(v)
	}
	m.tenants.Range(func(_, t any) bool {
		add(t.(*Verifier))
		return true
	})
	m.mu.Lock()
	status.Evicted = m.evicted
	m.mu.Unlock()
	if m.tokens != nil {
		status.Cache = CacheStatus(m.tokens.Status())
	}
	return status
}

// Close ends the background work of every issuer and waits for it. From then on
// Verify and Ready fail with [ErrUnavailable]. It may be called more than once.
func (m *Issuers) Close() error {
	if m == nil || m.fixed == nil {
		return nil
	}
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancel()
	m.work.Wait()
	var errs []error
	for _, v := range m.fixed {
		errs = append(errs, v.Close())
	}
	m.tenants.Range(func(_, t any) bool {
		errs = append(errs, t.(*Verifier).Close())
		return true
	})
	return errors.Join(errs...)
}
