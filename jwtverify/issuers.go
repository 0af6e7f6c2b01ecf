package jwtverify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"

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
	// seconds; any other is an outage, remembered for one, and logged.
	//
	// It is called once at a time for an issuer and for 16 issuers at a time, while up
	// to 256 wait for their turn, and must end with its context: after 10 seconds, or
	// with Close. Callers wait for it 2 seconds at most. While tokens of a tenant come
	// it is asked again every 10 minutes whether there still is one; a Config that it
	// brings then is not used, since it cannot be compared with the one at hand. So
	// when a tenant's Config changes, or when it leaves and 10 minutes are too long,
	// call [Issuers.Forget], in every replica.
	//
	// Leave Config.Keys nil, unless they are a set: what Resolve makes nobody closes.
	// Nil: there are no others.
	Resolve func(ctx context.Context, issuer string) (Config, error)
	// MaxResolved is how many issuers that Resolve brought are kept: more than are in
	// use, or each makes the next one fetch its keys anew. Beyond it one is closed and
	// forgotten until it is resolved again: the oldest of those that no good token
	// came from, which is all that junk can bring, else the one whose last good token
	// is the longest ago. Zero: 1,000.
	MaxResolved int
	// CacheBytes is [Config.CacheBytes] for all issuers together. In their Configs it
	// must be zero, or negative where that issuer's tokens are not to be kept.
	CacheBytes int
	// Logger is told of refused tokens at debug level, where the issuer's Config has
	// none of its own, and of what is wrong with Resolve, once a second at most. Nil:
	// slog.Default().
	Logger *slog.Logger
}

// Issuers checks the access tokens of many issuers, each with the Verifier that its
// iss names, to the letter. It is safe for concurrent use. Close it when it is no
// longer needed.
//
// The iss that chooses the Verifier is as yet unverified. It decides nothing more:
// that Verifier takes the token only if its own Config and keys say so.
type Issuers struct {
	fixed   map[string]*Verifier
	tenants *tenants // that Resolve brings; nil: there are none
	tokens  *tokens  // of all issuers; nil: off
	logger  *slog.Logger
	closed  atomic.Bool
	itself  func() any // for Errors
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
		fixed:  make(map[string]*Verifier, len(c.Configs)),
		tokens: newTokens(c.CacheBytes),
		logger: cmp.Or(c.Logger, slog.Default()),
	}
	m.itself = func() any { return m }
	if c.Resolve != nil {
		m.tenants = newTenants(c.Resolve, m.verifier, cmp.Or(c.MaxResolved, defaultKept), m.logger)
	}
	for i, config := range c.Configs {
		v, err := m.verifier(config)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("jwtverify: IssuersConfig.Configs[%d], issuer %q: %w", i, config.Issuer, err))
		case m.fixed[config.Issuer] != nil:
			faults = append(faults, v.end())
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
// cannot be found out. The claims are read before the header, since iss stands
// there: where a token is bad in more ways than one the Reason may be another.
func (m *Issuers) Verify(ctx context.Context, token string) (*Token, error) {
	if err := m.usable(); err != nil {
		return nil, err
	}
	verified, by, err := m.verify(ctx, token)
	switch {
	case err == nil:
		if by.lease != nil {
			m.tenants.took(by)
		}
		return verified, nil
	case by != nil:
		return nil, by.refused(ctx, err, token)
	}
	logRefusal(ctx, m.logger, "", err)
	return nil, err.explained(m.itself, token)
}

func (m *Issuers) usable() *Error {
	switch {
	case m == nil || m.fixed == nil:
		return refuse(ErrUnavailable, "the Issuers were not made by NewIssuers")
	case m.closed.Load():
		return refuse(ErrUnavailable, "the Issuers are closed")
	}
	return nil
}

// known names the issuers that there are, for Explain.
func (m *Issuers) known() []string {
	issuers := slices.Collect(maps.Keys(m.fixed))
	if m.tenants != nil {
		m.tenants.each(func(v *Verifier) { issuers = append(issuers, v.issuer) })
	}
	slices.Sort(issuers)
	return issuers
}

// verify also tells which Verifier decided; nil if none did.
func (m *Issuers) verify(ctx context.Context, token string) (*Token, *Verifier, *Error) {
	c, err := split(token)
	if err != nil {
		return nil, nil, err
	}
	s := scratchFor(token)
	defer s.release()
	if e := m.tokens.find(s, c); e != nil {
		if v := e.Value.by; !v.closed.Load() {
			if t, err, settled := v.recall(ctx, s, e); settled && !v.closed.Load() {
				return t, v, err
			}
		}
	}
	issuer, err := s.issuer(c)
	if err != nil {
		return nil, nil, err
	}
	for range 2 { // since a tenant may have to leave between being found and being asked
		v, err := m.find(ctx, s, c, issuer)
		if err != nil {
			return nil, nil, err
		}
		if v.closed.Load() {
			continue
		}
		s.empty()
		if t, err := v.read(ctx, s, c); !v.closed.Load() {
			return t, v, err
		}
	}
	return nil, nil, later("the issuer's Verifier is closed")
}

// find finds the Verifier of an issuer.
func (m *Issuers) find(ctx context.Context, s *scratch, c compact, issuer string) (*Verifier, *Error) {
	if v := m.fixed[issuer]; v != nil {
		return v, nil
	}
	if m.tenants == nil || issuer == "" || len(issuer) > maxIssuer {
		return nil, refuseIn(circumstances{came: joined(issuer)}, ErrIssuer, unknownIssuer)
	}
	if v := m.tenants.get(issuer); v != nil {
		return v, nil
	}
	if err := s.plausible(c); err != nil { // or junk of the cheapest kind would ask for issuers
		return nil, err
	}
	return m.tenants.find(ctx, issuer)
}

const unknownIssuer = "iss is none of the issuers"

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

// plausible refuses what no issuer's Verifier would take.
func (s *scratch) plausible(c compact) *Error {
	s.empty()
	text, err := s.decode(c.header, "the header")
	if err != nil {
		return err
	}
	if _, err := readHeader(text); err != nil {
		return err
	}
	if len(c.signature) == 0 {
		return refuse(ErrMalformed, "an empty signature")
	}
	return nil
}

// Forget closes the Verifier of an issuer that Resolve brought, and forgets that
// Resolve knew none: the next token of it asks Resolve again, and what Resolve was
// about to say of it counts no more. It is for a tenant that leaves or whose Config
// changed.
func (m *Issuers) Forget(issuer string) {
	if m != nil && m.tenants != nil {
		m.tenants.forget(issuer)
	}
}

// Refresh fetches the keys of one issuer now, for emergencies, as [Verifier.Refresh]
// does. An issuer that is not known has none to be fetched: then the error is nil.
func (m *Issuers) Refresh(ctx context.Context, issuer string) error {
	if err := m.usable(); err != nil {
		return err
	}
	v := m.fixed[issuer]
	if v == nil && m.tenants != nil {
		v = m.tenants.get(issuer)
	}
	if v == nil {
		return nil
	}
	return v.Refresh(ctx)
}

// Ready waits until the tokens of every issuer in Configs can be judged, so that one
// whose keys are not to be had keeps the others waiting. The error joins those of
// [Verifier.Ready].
func (m *Issuers) Ready(ctx context.Context) error {
	if err := m.usable(); err != nil {
		return err
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

// Status describes the Issuers at this moment. With many issuers it takes a while.
func (m *Issuers) Status() (status IssuersStatus) {
	if m == nil || m.fixed == nil {
		return status
	}
	status.Keys = map[string]jwks.Status{}
	add := func(v *Verifier) { status.Keys[v.issuer] = v.keyStatus() }
	for _, v := range m.fixed {
		add(v)
	}
	if m.tenants != nil {
		m.tenants.each(add)
		status.Evicted = m.tenants.evictions()
	}
	if m.tokens != nil {
		status.Cache = CacheStatus(m.tokens.Status())
	}
	return status
}

// Close ends the background work of every issuer and waits for it. From its first
// moment on Verify, Refresh and Ready fail with [ErrUnavailable]. It may be called
// more than once.
func (m *Issuers) Close() error {
	if m == nil || m.fixed == nil {
		return nil
	}
	m.closed.Store(true)
	all := slices.Collect(maps.Values(m.fixed))
	if m.tenants != nil {
		all = append(all, m.tenants.close()...)
	}
	var errs []error
	for _, v := range all {
		errs = append(errs, v.end())
	}
	if m.tokens != nil {
		m.tokens.Drop(func(*verified) bool { return true })
	}
	return errors.Join(errs...)
}
