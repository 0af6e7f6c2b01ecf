package jwtverify_test

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

// turning is a KeySource and a clock that change while others ask.
type turning struct {
	set atomic.Pointer[jwks.Set]
	now atomic.Int64
}

func (s *turning) Key(ctx context.Context, kid, alg string) (*jwks.Key, error) {
	return s.set.Load().Key(ctx, kid, alg)
}

// Callers of a few tokens see each turn of the keys and of the clock as soon as
// it is there, whatever was verified before it.
func TestEveryCallerSeesEveryTurn(t *testing.T) {
	other := mint{[]byte("the secret that takes the place of the other one")}
	tokens := []string{tokenMint.token(0, 0, `,"scope":"a b"`), other.token(0, 0, `,"scope":"c d"`), tokenMint.token(1, 0, "")}
	turns := []struct {
		set  *jwks.Set
		now  time.Time
		want []jwtverify.Reason
	}{
		{tokenMint.set(t), signerTime, []jwtverify.Reason{"", jwtverify.ErrSignature, ""}},
		{other.set(t), signerTime, []jwtverify.Reason{jwtverify.ErrSignature, "", jwtverify.ErrSignature}},
		{new(jwks.Set), signerTime, []jwtverify.Reason{jwtverify.ErrUnknownKey, jwtverify.ErrUnknownKey, jwtverify.ErrUnknownKey}},
		{tokenMint.set(t), signerTime, []jwtverify.Reason{"", jwtverify.ErrSignature, ""}},
		{tokenMint.set(t), signerTime.Add(time.Minute), []jwtverify.Reason{jwtverify.ErrExpired, jwtverify.ErrExpired, jwtverify.ErrExpired}},
	}
	var source turning
	var count atomic.Int64 // odd: a turn is being made
	turn := func(n int) {
		count.Add(1)
		source.set.Store(turns[n%len(turns)].set)
		source.now.Store(turns[n%len(turns)].now.UnixNano())
		count.Add(1)
	}
	turn(0)
	v := tokenMint.verifier(t, func(c *jwtverify.Config) {
		c.Keys, c.Now = &source, func() time.Time { return time.Unix(0, source.now.Load()) }
	})
	var wants [3]jwtverify.Token
	for n, at := range []int{0, 1, 0} {
		source.set.Store(turns[at].set)
		got, err := v.Verify(t.Context(), tokens[n])
		require.NoError(t, err)
		wants[n] = deepCopy(got)
	}
	turn(0)

	var callers, turner sync.WaitGroup
	var seen [5]atomic.Int64
	ended := make(chan struct{})
	turner.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-ended:
				return
			case <-time.After(20 * time.Microsecond):
				turn(n)
			}
		}
	})
	const enough = 200 // verdicts of each kind
	for caller := range 16 {
		callers.Go(func() {
			for n := caller; !t.Failed(); n++ {
				before := count.Load()
				got, err := v.Verify(t.Context(), tokens[n%len(tokens)])
				if err == nil && !reflect.DeepEqual(*got, wants[n%len(tokens)]) {
					t.Errorf("the Token is %+v", *got)
				}
				scribble(got)
				if before%2 != 0 || count.Load() != before {
					continue // there were two turns to judge by
				}
				now := int(before/2-2) % len(turns)
				if want := turns[now].want[n%len(tokens)]; jwtverify.ReasonOf(err) != want {
					t.Errorf("at turn %d, token %d: %v, and not %q", now, n%len(tokens), err, want)
				}
				seen[now].Add(1)
				done := true
				for i := range seen {
					done = done && seen[i].Load() >= enough
				}
				if done {
					return
				}
			}
		})
	}
	callers.Wait()
	close(ended)
	turner.Wait()
}

// lockedKeys is a KeySource that its callers wait for.
type lockedKeys struct {
	mu  sync.Mutex
	set *jwks.Set
}

func (s *lockedKeys) Key(ctx context.Context, kid, alg string) (*jwks.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	runtime.Gosched()
	return s.set.Key(ctx, kid, alg)
}

func TestNobodyWaitsForALockToHearOfAKnownToken(t *testing.T) {
	issuer := jwttest.NewIssuer(signerAudience)
	defer issuer.Close()
	v, err := jwtverify.New(issuer.Config())
	require.NoError(t, err)
	defer v.Close()
	require.NoError(t, v.Ready(t.Context()))
	var tokens []string
	for n := range 4 {
		tokens = append(tokens, issuer.Token(jwttest.Claims{"n": n}))
	}
	require.Empty(t, waits(t, v, tokens))

	// And the profiles show it where somebody does.
	locked := tokenMint.verifier(t, func(c *jwtverify.Config) { c.Keys = &lockedKeys{set: tokenMint.set(t)} })
	stacks := strings.Join(waits(t, locked, []string{tokenMint.token(0, 0, "")}), "")
	require.Contains(t, stacks, "sync.(*Mutex).Lock")
	require.Contains(t, stacks, "sync.(*Mutex).Unlock")
}

// waits are the stacks of this module's code that waited for a lock, a channel
// or anything of the kind, while many goroutines verified the same few tokens.
func waits(t *testing.T, v *jwtverify.Verifier, tokens []string) (stacks []string) {
	load := func(each int) {
		var callers sync.WaitGroup
		for caller := range 64 {
			callers.Go(func() {
				for n := range each {
					if _, err := v.Verify(t.Context(), tokens[(caller+n)%len(tokens)]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		callers.Wait()
	}
	// A short wait is spent turning in circles, which no profile shows. With more
	// threads than processors, some lose theirs while they hold a lock.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(16))
	// A collection empties the pools, and who first fills them again may wait for
	// the others: so none while it counts.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	before := map[string]bool{}
	for _, stack := range profiled() {
		before[stack] = true
	}
	for range 4 {
		runtime.GC()
		load(100)
		fraction := runtime.SetMutexProfileFraction(1)
		runtime.SetBlockProfileRate(1)
		load(1000)
		runtime.SetMutexProfileFraction(fraction)
		runtime.SetBlockProfileRate(0)
	}
	for _, stack := range profiled() {
		if !before[stack] {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

// profiled is what the profiles have of this module's own code, each with its
// count. The runtime's own locks, as of its memory, are left out: they are in the
// profile of mutexes, too.
func profiled() (stacks []string) {
	for _, profile := range []struct {
		read    func([]runtime.BlockProfileRecord) (int, bool)
		leaving string
	}{{runtime.MutexProfile, "runtime."}, {runtime.BlockProfile, "nothing"}} {
		n, _ := profile.read(nil)
		records := make([]runtime.BlockProfileRecord, n+100)
		n, _ = profile.read(records)
		for _, r := range records[:n] {
			text, ours := "", false
			frames := runtime.CallersFrames(r.Stack())
			for more := true; more; {
				var f runtime.Frame
				f, more = frames.Next()
				text += fmt.Sprintf("%s %s:%d\n", f.Function, f.File, f.Line)
				for _, room := range []string{"jwtverify.", "jwks.", "internal/"} {
					ours = ours || strings.HasPrefix(f.Function, "github.com/bearerguard/bearerguard/"+room)
				}
			}
			if ours && !strings.HasPrefix(text, profile.leaving) {
				stacks = append(stacks, fmt.Sprintf("%d times %s", r.Count, text))
			}
		}
	}
	return stacks
}
