package jwtverify_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
)

var oneHistory = flag.Uint64("history", 0, "seed of the one random history to play")

const histories = 2000

// An outage is not a bad token: whatever happens to an issuer and on the way to
// it, nobody is told to throw away a token whose key is published.
//
// A key counts as published for everyone a Cooldown and the time of one fetch
// after its issuer published it: until then a set from just before may be taken
// at its word, since a flood of unknown kids must cost the issuer nothing.
func TestNoInfrastructureFaultMakesAGoodTokenInvalid(t *testing.T) {
	keys := make([]historyKey, 10)
	for n := range keys {
		s, kid := newSigner(t), fmt.Sprintf("key-%d", n)
		keys[n].token = s.sign(t, `{"alg":"ES256","typ":"at+jwt","kid":"`+kid+`"}`, s.claims(t, nil))
		keys[n].jwk = s.jwk(t, kid)
	}
	if *oneHistory != 0 {
		playHistory(t, *oneHistory, keys, map[string]int{})
		return
	}
	seed, seen := rand.Uint64(), map[string]int{}
	var mu sync.Mutex
	t.Run("histories", func(t *testing.T) {
		const shards = 4
		for shard := range uint64(shards) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				here := map[string]int{}
				for n := shard; n < histories; n += shards {
					playHistory(t, seed+n, keys, here)
				}
				mu.Lock()
				defer mu.Unlock()
				for what, often := range here {
					seen[what] += often
				}
			})
		}
	})
	t.Log(seen)
	// It would prove little if the tokens were never at risk, or never good.
	require.Greater(t, seen["verified"], histories)
	require.Greater(t, seen["unavailable"], histories/4)
	require.Greater(t, seen["restarts"], histories/4)
	require.Greater(t, seen["unknown keys"], histories/10)
	for _, f := range faults {
		require.Greater(t, seen["fault: "+f.name], histories/50, f.name)
	}
}

func playHistory(t *testing.T, seed uint64, keys []historyKey, seen map[string]int) {
	synctest.Test(t, func(t *testing.T) {
		h := &history{
			t: t, random: rand.New(rand.NewPCG(seed, 0)), seen: seen,
			world: &world{fault: faults[0], path: "/keys"}, keys: slices.Clone(keys),
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("to play it again: go test -run NoInfrastructureFault ./jwtverify -history %d\n%s", seed, strings.Join(h.told, "\n"))
			}
		})
		h.config = jwks.Config{
			Issuer: signerIssuer, Client: &http.Client{Transport: h.world}, Logger: slog.New(slog.DiscardHandler),
			Refresh:  pick(h.random, 10*time.Minute, 3*time.Minute),
			Cooldown: pick(h.random, 30*time.Second, 5*time.Second),
			MaxStale: pick(h.random, 10*time.Minute, 20*time.Minute),
		}
		h.publish()
		h.start(nil)
		defer h.stop()
		for range 20 {
			h.step()
		}
		h.heals()
	})
}

func pick[T any](random *rand.Rand, from ...T) T { return from[random.IntN(len(from))] }

// history is one Verifier, and what happens to it and to its issuer.
type history struct {
	t      *testing.T
	random *rand.Rand
	seen   map[string]int
	told   []string
	*world

	config   jwks.Config
	cache    *jwks.Cache
	verifier *jwtverify.Verifier
	keys     []historyKey
	strange  int
}

type historyKey struct {
	token     string
	jwk       map[string]string
	published time.Time
	withdrawn bool
}

func (h *history) tell(format string, args ...any) {
	h.told = append(h.told, time.Now().Format(time.DateTime+".000 ")+fmt.Sprintf(format, args...))
}

func (h *history) start(snapshot []byte) {
	config := h.config
	config.Snapshot = snapshot
	var err error
	h.cache, err = jwks.New(config)
	require.NoError(h.t, err)
	h.verifier, err = jwtverify.New(jwtverify.Config{
		Issuer: signerIssuer, Audience: []string{signerAudience}, Keys: h.cache,
		Now: func() time.Time { return signerTime }, Logger: config.Logger,
	})
	require.NoError(h.t, err)
}

func (h *history) stop() {
	require.NoError(h.t, h.verifier.Close())
	require.NoError(h.t, h.cache.Close())
}

func (h *history) step() {
	switch h.random.IntN(13) {
	case 0, 1:
		f := pick(h.random, faults...)
		h.tell("fault: %s", f.name)
		h.seen["fault: "+f.name]++
		h.change(func(w *world) { w.fault = f })
	case 2:
		h.tell("healthy")
		h.change(func(w *world) { w.fault = faults[0] })
	case 3, 11:
		h.publish()
	case 4:
		h.withdraw()
	case 5, 6:
		pause := pick(h.random, time.Second, 10*time.Second, 16*time.Second, 41*time.Second, 2*time.Minute, 5*time.Minute, 11*time.Minute)
		h.tell("%s pass", pause)
		time.Sleep(pause)
	case 7:
		h.flood()
	case 8:
		h.tell("refresh")
		ctx, cancel := context.WithTimeout(h.t.Context(), pick(h.random, time.Second, time.Minute))
		defer cancel()
		_ = h.verifier.Refresh(ctx)
	case 9:
		if h.random.IntN(2) == 0 {
			break
		}
		saved := h.cache.Snapshot()
		if h.random.IntN(4) == 0 {
			saved = nil
		}
		h.tell("restart with a snapshot of %d bytes", len(saved))
		h.seen["restarts"]++
		h.stop()
		h.start(saved)
	case 10:
		h.tell("moved, cached: %d", h.random.IntN(3))
		h.change(func(w *world) {
			w.path = pick(h.random, "/keys", "/moved")
			w.control = pick(h.random, "", "max-age=15", "max-age=3283200")
			w.validators = h.random.IntN(2) == 0
		})
	}
	h.verify(h.random.IntN(len(h.keys)))
}

func (h *history) publish() {
	for n := range h.keys {
		if k := &h.keys[n]; k.published.IsZero() {
			h.tell("key %d is published", n)
			k.published = time.Now()
			h.change(func(w *world) { w.keys = append(w.keys, k.jwk) })
			return
		}
	}
}

func (h *history) withdraw() {
	n := h.random.IntN(len(h.keys))
	k := &h.keys[n]
	h.change(func(w *world) {
		if k.published.IsZero() || k.withdrawn || len(w.keys) == 1 {
			return
		}
		h.tell("key %d is withdrawn", n)
		k.withdrawn = true
		var left []map[string]string
		for _, j := range w.keys {
			if j["kid"] != k.jwk["kid"] {
				left = append(left, j)
			}
		}
		w.keys = left
	})
}

// flood sends tokens of kids that nobody has, all at once.
func (h *history) flood() {
	size := pick(h.random, 1, 3, 30)
	h.tell("%d unknown kids", size)
	var all sync.WaitGroup
	for range size {
		h.strange++
		token := encodeSegment(fmt.Sprintf(`{"alg":"ES256","kid":"strange-%d"}`, h.strange)) +
			h.keys[0].token[strings.Index(h.keys[0].token, "."):]
		all.Go(func() {
			if tok, err := h.verifier.Verify(h.t.Context(), token); tok != nil || err == nil {
				h.t.Error("a stranger's token was taken")
			}
		})
	}
	all.Wait()
}

// verify asks for the first key from the nth on of which the promise holds.
func (h *history) verify(n int) {
	grace := h.config.Cooldown + 10*time.Second
	for k := h.keys[n]; k.published.IsZero() || k.withdrawn || time.Since(k.published) < grace; k = h.keys[n] {
		if n++; n == len(h.keys) {
			return
		}
	}
	k := h.keys[n]
	ctx, cancel := context.WithTimeout(h.t.Context(), pick(h.random, time.Nanosecond, time.Second, time.Minute))
	defer cancel()
	before := h.cache.Status().UnknownKeyFetches
	_, err := h.verifier.Verify(ctx, k.token)
	switch {
	case err == nil:
		h.seen["verified"]++
	case errors.Is(err, jwtverify.ErrUnavailable):
		h.seen["unavailable"]++
	}
	if h.cache.Status().UnknownKeyFetches > before {
		h.seen["unknown keys"]++
	}
	require.NotErrorIs(h.t, err, jwtverify.ErrInvalidToken, "the token of key %d, which was published at %s", n, k.published)
	if err != nil {
		require.ErrorIs(h.t, err, jwtverify.ErrUnavailable)
	}
}

// heals requires that nothing that happened lasts.
func (h *history) heals() {
	h.tell("all is well again")
	h.change(func(w *world) { w.fault = faults[0] })
	time.Sleep(2 * h.config.Refresh)
	for n, k := range h.keys {
		if !k.published.IsZero() && !k.withdrawn {
			_, err := h.verifier.Verify(h.t.Context(), k.token)
			require.NoError(h.t, err, "the token of key %d", n)
		}
	}
}
