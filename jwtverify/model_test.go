package jwtverify_test

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
)

var (
	modelSteps = flag.Int("model.steps", defaultModelSteps, "steps of the model-based test of the cache of verified tokens")
	modelSeed  = flag.Uint64("model.seed", 0, "play the one history of that seed, which a failure names; 0: others each time")
)

const historySteps = 5000

// A Verifier with a cache and one without go through the same random histories.
// Nothing that a caller could see may tell them apart.
func TestCacheIsInvisible(t *testing.T) {
	seeds := make(chan uint64, max(1, *modelSteps/historySteps))
	if *modelSeed != 0 {
		seeds <- *modelSeed
	} else {
		for range cap(seeds) {
			seeds <- 1 + rand.Uint64N(1<<63)
		}
	}
	close(seeds)

	var all tally
	var mu sync.Mutex
	var found atomic.Pointer[difference]
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed := range seeds {
				seen, d := play(seed, historySteps, true, cachedVerifier)
				mu.Lock()
				all.add(seen)
				mu.Unlock()
				if d != nil {
					found.Store(d)
				}
				if found.Load() != nil {
					return
				}
			}
		})
	}
	workers.Wait()
	if d := found.Load(); d != nil {
		require.Fail(t, d.String())
	}
	t.Logf("%d steps, of these %d verifications: %d hits, %d misses, %d evictions, %v", all.steps, all.verified,
		all.cache.Hits, all.cache.Misses, all.cache.Evictions, all.reasons)
	all.requireVariety(t)
}

func cachedVerifier(w *realm) (subject, error) { return jwtverify.New(w.config(w.cacheBytes)) }

// subject is what is compared with a Verifier without a cache.
type subject interface {
	Verify(context.Context, string) (*jwtverify.Token, error)
	Close() error
}

// tally says what histories were made of.
type tally struct {
	steps, verified int
	accepted        int
	reasons         map[jwtverify.Reason]int
	cache           jwtverify.CacheStatus
}

func (s *tally) add(other tally) {
	s.steps += other.steps
	s.verified += other.verified
	s.accepted += other.accepted
	s.cache.Hits += other.cache.Hits
	s.cache.Misses += other.cache.Misses
	s.cache.Evictions += other.cache.Evictions
	if s.reasons == nil {
		s.reasons = map[jwtverify.Reason]int{}
	}
	for reason, n := range other.reasons {
		s.reasons[reason] += n
	}
}

// requireVariety fails a run whose histories were too tame to show anything.
func (s *tally) requireVariety(t *testing.T) {
	require.Greater(t, s.accepted, s.verified/8)
	require.Greater(t, s.cache.Hits, uint64(s.verified/4))
	require.Greater(t, s.cache.Misses, uint64(s.verified/8))
	require.Positive(t, s.cache.Evictions)
	for _, reason := range []jwtverify.Reason{
		jwtverify.ErrMalformed, jwtverify.ErrType, jwtverify.ErrAlgorithm, jwtverify.ErrUnknownKey, jwtverify.ErrSignature,
		jwtverify.ErrIssuer, jwtverify.ErrAudience, jwtverify.ErrExpired, jwtverify.ErrNotYetValid, jwtverify.ErrClaims,
		jwtverify.ErrRevoked, jwtverify.ErrRejected, jwtverify.ErrUnavailable, errTenant,
	} {
		require.Greater(t, s.reasons[reason], s.verified/4000, reason)
	}
}

// difference is what a subject did otherwise than a Verifier without a cache.
type difference struct {
	seed  uint64
	step  int
	token string
	what  string
}

func (d *difference) String() string {
	return fmt.Sprintf("step %d: %s\nwith the token %s\nagain with: go test ./jwtverify -run TestCacheIsInvisible -model.seed=%d",
		d.step, d.what, d.token, d.seed)
}

// replay is one run of a subject beside a Verifier without a cache.
type replay struct {
	*realm
	seed     uint64
	step     int
	seen     tally
	subject  subject
	uncached *jwtverify.Verifier
	tokens   []string
	sets     []modelSet // there once were
	retained []retained
	fault    *difference
}

// retained is a Token that a caller keeps, and what was in it.
type retained struct {
	token   *jwtverify.Token
	content jwtverify.Token
	by      string
}

const liveTokens = 12

// play runs one history to its end or to the first difference. Only a subject
// that may be used concurrently is.
func play(seed uint64, steps int, concurrent bool, made func(*realm) (subject, error)) (tally, *difference) {
	h := &replay{realm: newWorld(seed), seed: seed, tokens: make([]string, liveTokens)}
	h.seen.reasons = map[jwtverify.Reason]int{}
	var err error
	if h.uncached, err = jwtverify.New(h.config(-1)); err == nil {
		h.subject, err = made(h.realm)
	}
	if err != nil {
		return h.seen, &difference{seed: seed, what: err.Error()}
	}
	h.rotate()
	for i := range h.tokens {
		h.tokens[i] = h.mint()
	}
	for h.step = 1; h.step <= steps && h.fault == nil; h.step++ {
		h.seen.steps++
		switch n := h.random.IntN(1000); {
		case n < 20:
			h.now = h.moment()
		case n < 40:
			h.now = h.home
		case n < 70:
			h.tokens[h.random.IntN(liveTokens)] = h.mint()
		case n < 75:
			h.rotate()
		case n < 78:
			h.trouble()
		case n < 94:
			h.outage = nil
		case n < 99:
			h.changeMind()
		case n < 112:
			h.mind = nil
		case n < 114 && concurrent:
			h.burst()
		default:
			h.verify(h.choose())
		}
	}
	if v, ok := h.subject.(*jwtverify.Verifier); ok {
		h.seen.cache = v.Status().Cache
	}
	h.differ("", h.subject.Close())
	h.differ("", h.uncached.Close())
	for _, token := range h.tokens { // a closed one forgets what it knew
		h.verify(token)
	}
	return h.seen, h.fault
}

func (h *replay) differ(token string, err error) {
	if err != nil && h.fault == nil {
		h.fault = &difference{h.seed, h.step, token, err.Error()}
	}
}

// pick takes one of the live tokens, some much more often than others, and now
// and then one that somebody tampered with.
func (h *replay) choose() string {
	token := h.tokens[h.random.IntN(1+h.random.IntN(liveTokens))]
	if h.random.IntN(12) == 0 {
		return h.tamper(token)
	}
	return token
}

// verify compares two verdicts on one token.
func (h *replay) verify(token string) {
	h.seen.verified++
	got, want := judge(h.subject, token), judge(h.uncached, token)
	h.differ(token, want.compare(got, h.random.IntN(32) == 0))
	if h.random.IntN(64) == 0 && !h.closed(want) {
		// One that never saw any token before, nor any header.
		if fresh, err := jwtverify.New(h.config(-1)); err != nil {
			h.differ(token, err)
		} else {
			h.differ(token, judge(fresh, token).compare(got, true))
		}
	}
	if h.seen.reasons[want.reason]++; want.token == nil {
		return
	}
	h.seen.accepted++
	if h.random.IntN(8) == 0 {
		h.retain(got.token, "the subject")
		h.retain(want.token, "the Verifier without a cache")
		return
	}
	if h.random.IntN(2) == 0 {
		scribble(got.token)
		scribble(want.token)
	}
}

func (h *replay) closed(v verdict) bool { return strings.Contains(v.detail, "closed") }

// retain keeps a Token for a while, and then looks whether it is what it was.
func (h *replay) retain(t *jwtverify.Token, by string) {
	if len(h.retained) == 16 {
		i := h.random.IntN(len(h.retained))
		if r := h.retained[i]; !reflect.DeepEqual(*r.token, r.content) {
			h.differ("", fmt.Errorf("a Token of %s has changed in its owner's hands to %+v from %+v", r.by, *r.token, r.content))
		}
		h.retained = slices.Delete(h.retained, i, i+1)
	}
	h.retained = append(h.retained, retained{t, deepCopy(t), by})
}

// burst lets many callers at the subject at once, each of whom does to its Token
// what it likes.
func (h *replay) burst() {
	tokens := []string{h.choose(), h.choose(), h.choose()}
	wants := make([]verdict, len(tokens))
	for i, token := range tokens {
		wants[i] = judge(h.uncached, token)
	}
	mistakes := make(chan error, 4)
	var callers sync.WaitGroup
	for range cap(mistakes) {
		callers.Go(func() {
			for i := range 4 * len(tokens) {
				got := judge(h.subject, tokens[i%len(tokens)])
				if err := wants[i%len(tokens)].compare(got, i == 0); err != nil {
					mistakes <- fmt.Errorf("among concurrent callers: %w", err)
					return
				}
				scribble(got.token)
			}
		})
	}
	callers.Wait()
	close(mistakes)
	h.differ(strings.Join(tokens, " "), <-mistakes)
}

// verdict is all that a caller can see of a verification.
type verdict struct {
	token      *jwtverify.Token
	reason     jwtverify.Reason
	detail     string
	retryAfter time.Duration
	is         [5]bool
}

func (v verdict) String() string {
	if v.reason == "" {
		return "that it is good"
	}
	return fmt.Sprintf("%q, after %v, %v", v.detail, v.retryAfter, v.is)
}

func judge(s subject, token string) verdict {
	t, err := s.Verify(context.Background(), token)
	v := verdict{token: t}
	if err != nil {
		v.detail = err.Error()
		v.reason = jwtverify.ReasonOf(err)
		var e *jwtverify.Error
		if errors.As(err, &e) {
			v.retryAfter = e.RetryAfter
		}
		for i, target := range []error{
			jwtverify.ErrInvalidToken, jwtverify.ErrUnavailable, context.Canceled, jwks.ErrUnavailable, jwks.ErrKeyNotFound,
		} {
			v.is[i] = errors.Is(err, target)
		}
	}
	return v
}

func (v verdict) compare(got verdict, claims bool) error {
	token, gotToken := v.token, got.token
	v.token, got.token = nil, nil
	if v != got {
		return fmt.Errorf("the verdict is %v, and should be %v", got, v)
	}
	if !reflect.DeepEqual(token, gotToken) {
		return fmt.Errorf("the Token is %+v, and should be %+v", gotToken, token)
	}
	if claims && token != nil {
		want, err := jwtverify.Claims[map[string]any](token)
		all, gotErr := jwtverify.Claims[map[string]any](gotToken)
		if err != nil || gotErr != nil || !reflect.DeepEqual(want, all) {
			return fmt.Errorf("the claims are %v (%w), and should be %v (%w)", all, gotErr, want, err)
		}
	}
	return nil
}

// scribble is what a caller may do to a Token of its own.
func scribble(t *jwtverify.Token) {
	if t == nil {
		return
	}
	for _, list := range []*[]string{&t.Audience, &t.Scopes, &t.Roles} {
		for i := range *list {
			(*list)[i] = "admin"
		}
		*list = append(*list, "admin", "root")
	}
	t.Subject, t.Issuer, t.Expiry, t.Header = "mallory", "https://evil.example", time.Time{}, jwtverify.Header{}
}

// deepCopy shares no memory with t.
func deepCopy(t *jwtverify.Token) jwtverify.Token {
	c := *t
	for _, s := range []*string{
		&c.Issuer, &c.Subject, &c.ID, &c.ClientID, &c.SessionID, &c.Header.Algorithm, &c.Header.KeyID, &c.Header.Type,
	} {
		*s = strings.Clone(*s)
	}
	for _, list := range []*[]string{&c.Audience, &c.Scopes, &c.Roles} {
		*list = slices.Clone(*list)
		for i, s := range *list {
			(*list)[i] = strings.Clone(s)
		}
	}
	return c
}

// realm is what a token's fate depends on beside the token. It changes between
// verifications only.
type realm struct {
	random     *rand.Rand
	policy     jwtverify.Config
	cacheBytes int

	now  time.Time
	home time.Time // to which the clock comes back after an error
	modelSet
	outage  func() (*jwks.Key, error)
	mind    func(*jwtverify.Token) error
	revoked map[string]bool // by jti
}

type modelSet struct {
	set  *jwks.Set
	keys []modelKey
}

func newWorld(seed uint64) *realm {
	w := &realm{random: rand.New(rand.NewPCG(seed, 0)), now: signerTime, home: signerTime, revoked: map[string]bool{}}
	w.policy = jwtverify.Config{
		Issuer:                  signerIssuer,
		Audience:                []string{signerAudience, "second"},
		Algorithms:              []string{"HS256", "HS384", "EdDSA", "Ed25519"},
		Leeway:                  oneOf(w, 0, -1, 5*time.Second),
		Roles:                   [][]string{{"realm_access", "roles"}, {"groups"}},
		RefuseSenderConstrained: oneOf(w, true, false),
		Types:                   oneOf(w, nil, nil, []string{"at+jwt", "JWT", ""}),
		MaxLifetime:             oneOf(w, 0, 0, time.Hour),
		Required:                oneOf(w, nil, nil, []string{"sub"}),
	}
	w.cacheBytes = oneOf(w, 0, 4<<10, 16<<10, 64<<10)
	return w
}

func oneOf[T any](w *realm, choices ...T) T { return choices[w.random.IntN(len(choices))] }

// config is the same for all but the size of the cache.
func (w *realm) config(cacheBytes int) jwtverify.Config {
	c := w.policy
	c.Keys, c.CacheBytes = w, cacheBytes
	c.Now = func() time.Time { return w.now }
	c.Checks = []func(context.Context, *jwtverify.Token) error{
		func(_ context.Context, t *jwtverify.Token) error {
			if w.revoked[t.ID] {
				return jwtverify.ErrRevoked
			}
			return nil
		},
		func(_ context.Context, t *jwtverify.Token) error {
			if w.mind == nil {
				return nil
			}
			return w.mind(t)
		},
	}
	return c
}

// Key makes a realm the KeySource of its Verifiers.
func (w *realm) Key(ctx context.Context, kid, alg string) (*jwks.Key, error) {
	if w.outage != nil {
		return w.outage()
	}
	return w.set.Key(ctx, kid, alg)
}

// modelKey is a key that issuers of histories may publish.
type modelKey struct {
	kid      string
	alg      string // "" where it may be used for any
	material int
	published,
	twin *jwks.Key // equal, and not the same
}

// material is a secret, or a private key.
type material struct {
	secret  []byte
	private ed25519.PrivateKey
}

var modelMaterial, modelKeys = func() (all []material, keys []modelKey) {
	for i := range secrets + 2 {
		seed := sha512.Sum512([]byte{byte(i)})
		m := material{secret: seed[:]}
		algs := []string{"HS256", "HS384"}
		if i >= secrets {
			m = material{private: ed25519.NewKeyFromSeed(seed[:ed25519.SeedSize])}
			algs = []string{"", "EdDSA", "Ed25519"}
		}
		all = append(all, m)
		for _, kid := range []string{"", "a", "b"} {
			for _, alg := range algs {
				keys = append(keys, modelKey{kid, alg, i, m.key(kid, alg), m.key(kid, alg)})
			}
		}
	}
	return all, keys
}()

const secrets = 3

// anyKey is most often a secret, with which all goes faster.
func (w *realm) anyKey() modelKey {
	private := w.random.IntN(12) == 0
	for {
		if k := oneOf(w, modelKeys...); (k.material >= secrets) == private {
			return k
		}
	}
}

func (m material) key(kid, alg string) *jwks.Key {
	var k *jwks.Key
	var err error
	if m.private == nil {
		k, err = jwks.NewSecret(kid, alg, m.secret)
	} else {
		k, err = jwks.NewKey(kid, alg, m.private.Public())
	}
	if err != nil {
		panic(err)
	}
	return k
}

func (m material) sign(alg, input string) string {
	switch alg {
	case "HS256":
		mac := hmac.New(sha256.New, m.secret)
		mac.Write([]byte(input))
		return string(mac.Sum(nil))
	case "HS384":
		mac := hmac.New(sha512.New384, m.secret)
		mac.Write([]byte(input))
		return string(mac.Sum(nil))
	default:
		return string(ed25519.Sign(m.private, []byte(input)))
	}
}

// rotate publishes another set: with a key more or less, with another key under
// the same kid, the same key under another kid or for another algorithm, the
// same keys read again, or one that was there before.
func (h *replay) rotate() {
	switch {
	case len(h.keys) == 0 || h.random.IntN(12) == 0:
		h.keys = nil
		for range 3 + h.random.IntN(3) {
			h.keys = append(h.keys, h.anyKey())
		}
	case len(h.sets) > 0 && h.random.IntN(3) == 0:
		h.modelSet = oneOf(h.realm, h.sets...)
		return
	case len(h.keys) > 2 && h.random.IntN(3) == 0:
		i := h.random.IntN(len(h.keys))
		h.keys = slices.Delete(slices.Clone(h.keys), i, i+1)
	case h.random.IntN(2) == 0:
		h.keys = append(slices.Clone(h.keys), h.anyKey())
	default:
		h.keys = slices.Clone(h.keys)
		k := &h.keys[h.random.IntN(len(h.keys))]
		// What one of the three may change to, the others being equal.
		change := h.random.IntN(3)
		*k = oneOf(h.realm, slices.DeleteFunc(slices.Clone(modelKeys), func(other modelKey) bool {
			return change != 0 && other.kid != k.kid || change != 1 && other.alg != k.alg || change != 2 && other.material != k.material
		})...)
	}
	var published []*jwks.Key
	h.keys = slices.DeleteFunc(h.keys, func(k modelKey) bool {
		key := oneOf(h.realm, k.published, k.twin)
		// Two keys that fit the same kid and algorithm are no set.
		if _, err := jwks.NewSet(append(published, key)...); err != nil {
			return true
		}
		published = append(published, key)
		return false
	})
	h.set, _ = jwks.NewSet(published...)
	h.sets = append(h.sets, h.modelSet)
}

// lateError is a KeySource's error that knows when to try again.
type lateError struct{ cause error }

func (e lateError) Error() string             { return "the source is away: " + e.cause.Error() }
func (e lateError) Unwrap() error             { return e.cause }
func (e lateError) RetryAfter() time.Duration { return 7 * time.Second }

// trouble takes the key source away.
func (h *replay) trouble() {
	err := oneOf(h.realm, nil, jwks.ErrKeyNotFound, jwks.ErrUnavailable, errors.New("down"), context.Canceled,
		error(lateError{jwks.ErrUnavailable}))
	h.outage = func() (*jwks.Key, error) { return nil, err }
}

// changeMind makes the Checks say something else than before.
func (h *replay) changeMind() {
	if h.random.IntN(2) == 0 {
		jti := fmt.Sprint("id-", h.random.IntN(8))
		h.revoked = maps.Clone(h.revoked)
		if h.revoked[jti] = !h.revoked[jti]; len(h.revoked) > 4 {
			clear(h.revoked)
		}
		return
	}
	err := oneOf(h.realm, errors.New("no"), error(errTenant), context.Canceled,
		error(&jwtverify.Error{Reason: jwtverify.ErrUnavailable, Detail: "later", RetryAfter: time.Minute}))
	subject := fmt.Sprint("user-", h.random.IntN(4))
	h.mind = oneOf(h.realm,
		func(*jwtverify.Token) error { return err },
		func(t *jwtverify.Token) error {
			if t.Subject == subject {
				return err
			}
			return nil
		},
		// What a Check writes into a Token, the caller sees, and nobody else.
		func(t *jwtverify.Token) error {
			t.Subject += " of " + subject
			for i := range t.Scopes {
				t.Scopes[i] += "!"
			}
			t.Audience, t.Scopes, t.Roles = append(t.Audience, subject), append(t.Scopes, "a", "b"), append(t.Roles, subject)
			return nil
		})
}

// moment is a time to be at next: a little later, far away in either direction,
// or at the very edge of a live token's life.
func (h *replay) moment() time.Time {
	switch h.random.IntN(6) {
	case 0, 1:
		h.home = h.home.Add(time.Duration(h.random.IntN(20_000)) * time.Millisecond)
		return h.home
	case 2:
		return signerTime.Add(time.Duration(h.random.IntN(1200)-300) * time.Second)
	}
	claims := strings.Split(oneOf(h.realm, h.tokens...), ".")[1]
	var at struct{ Exp, Nbf, Iat float64 }
	if text, err := decodeSegment(claims); err != nil || json.Unmarshal(text, &at) != nil || at.Exp == 0 {
		return h.now
	}
	leeway := max(0, h.policy.Leeway)
	if h.policy.Leeway == 0 {
		leeway = 30 * time.Second
	}
	edge := oneOf(h.realm, at.Exp, at.Exp, at.Nbf, at.Iat)
	if edge == 0 {
		edge = at.Exp
	}
	if edge != at.Exp {
		leeway = -leeway
	}
	return time.Unix(0, int64(edge*1000)*int64(time.Millisecond)).Add(leeway).Add(oneOf(h.realm, -time.Nanosecond, 0, time.Nanosecond, 0))
}

// mint makes a token, most often one that is good for a while.
func (h *replay) mint() string {
	key := h.anyKey()
	if len(h.keys) > 0 && h.random.IntN(16) > 0 {
		key = oneOf(h.realm, h.keys...)
	}
	rare := func(n int) bool { return h.random.IntN(n) == 0 }

	header := map[string]any{"alg": key.alg, "kid": key.kid}
	if key.alg == "" {
		header["alg"] = oneOf(h.realm, "EdDSA", "Ed25519")
	}
	alg := header["alg"].(string)
	if key.kid == "" && !rare(20) {
		delete(header, "kid")
	}
	if rare(20) {
		header["kid"] = oneOf(h.realm, "a", "b", "c")
	}
	if rare(60) {
		header["alg"] = oneOf(h.realm, "HS512", "none", "HS256", "EdDSA")
	}
	if typ := oneOf(h.realm, "at+jwt", "at+jwt", "JWT", "application/at+jwt", "", "AT+JWT"); typ != "" {
		header["typ"] = typ
	}
	if rare(100) {
		header["typ"] = oneOf(h.realm, "dpop+jwt", "")
	}
	if rare(2) {
		header["x"] = h.random.IntN(1000) // many headers, more than are remembered
	}
	if rare(150) {
		header["crit"] = []string{"x"}
	}

	now := h.home.Unix()
	claims := map[string]any{
		"iss": signerIssuer, "aud": signerAudience, "sub": fmt.Sprint("user-", h.random.IntN(4)),
		"exp": now + int64(h.random.IntN(900)-20), "jti": fmt.Sprint("id-", h.random.IntN(8)),
		"client_id": fmt.Sprint("client/", h.random.Uint32()),
	}
	optional := map[string]any{
		"aud":          oneOf[any](h.realm, []string{"other", signerAudience}, []string{signerAudience, "second"}, "second"),
		"nbf":          now + int64(h.random.IntN(120)-110),
		"iat":          float64(now) - h.random.Float64()*30,
		"exp":          float64(now) + h.random.Float64()*300,
		"scope":        oneOf(h.realm, "read", "read write admin", "", strings.Repeat("a b ", h.random.IntN(20))),
		"scp":          []string{"x", "y/z"},
		"realm_access": map[string]any{"roles": []string{"user", "auditor"}},
		"groups":       oneOf[any](h.realm, []string{}, "one", make([]string, h.random.IntN(12))),
		"azp":          "party", "sid": "session", "cid": "okta", "note": strings.Repeat("n", h.random.IntN(2000)),
		"ünïcode": "\u2028 <&> \"quoted\" \\ é",
	}
	for _, name := range slices.Sorted(maps.Keys(optional)) {
		if rare(3) || name == "iat" && rare(2) {
			claims[name] = optional[name]
		}
	}
	mistakes := map[string]any{
		"iss": "https://other.example.com", "aud": []string{"other"}, "exp": "soon", "sub": nil, "jti": "",
		"cnf": map[string]any{"jkt": "x"}, "nonce": "n", "iat": now + 3600,
	}
	for _, name := range slices.Sorted(maps.Keys(mistakes)) {
		if rare(150) {
			claims[name] = mistakes[name]
		}
	}
	if rare(150) {
		delete(claims, oneOf(h.realm, "iss", "aud", "exp", "sub"))
	}
	headerText, claimsText := text(header), text(claims)
	if rare(4) {
		// As PHP writes it, so that most strings are no part of the text.
		claimsText = strings.ReplaceAll(claimsText, "/", `\/`)
	}
	input := encodeSegment(headerText) + "." + encodeSegment(claimsText)
	return input + "." + encodeSegment(modelMaterial[key.material].sign(alg, input))
}

func text(v any) string {
	all, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(all)
}

const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// tamper makes of a token one that nobody signed.
func (h *replay) tamper(token string) string {
	switch h.random.IntN(6) {
	case 0:
		return token[:h.random.IntN(len(token))]
	case 1:
		return token + oneOf(h.realm, "=", "A", ".", " ", "\n")
	case 2: // the parts of two tokens
		a, b := strings.Split(token, "."), strings.Split(oneOf(h.realm, h.tokens...), ".")
		i := h.random.IntN(3)
		a[i] = b[i]
		return strings.Join(a, ".")
	default: // one character
		at := h.random.IntN(len(token))
		if h.random.IntN(2) == 0 { // the last ones are of the signature
			at = len(token) - 1 - h.random.IntN(40)
		}
		return token[:at] + string(base64url[h.random.IntN(len(base64url))]) + token[at+1:]
	}
}
