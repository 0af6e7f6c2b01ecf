package jwks_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
)

// Longer than the default Cooldown, shorter than the time to the next refresh.
const quiet = time.Minute

// settled is an issuer that published key a, and a cache whose set is older than
// the Cooldown.
func settled(t *testing.T, changes ...func(*jwks.Config)) (*issuer, *jwks.Cache) {
	i := newIssuer(t)
	i.publish(keyA)
	cache := i.ready(t, changes...)
	time.Sleep(quiet)
	require.Equal(t, 1, i.fetches())
	return i, cache
}

func TestAFreshlyRotatedKeyIsFetchedAtOnceTwiceInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		began := time.Now()
		i.publish(keyA, keyB)
		requireKey(t, cache, "b")
		i.publish(keyA, keyB, keyC)
		requireKey(t, cache, "c")
		require.Equal(t, 3, i.fetches())
		require.Zero(t, time.Since(began))
		require.EqualValues(t, 2, cache.Status().UnknownKeyFetches)
	})
}

func TestARotatedKeyIsFoundThoughAnotherAlgorithmWasKnownForItsKid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		i.publish(keyA.with(jwk{"alg": nil}))
		_, err := cache.Key(t.Context(), "a", "Ed25519")
		require.NoError(t, err)
	})
}

func TestAFloodOfUnknownKidsCostsTwoFetchesAndOnePerCooldown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		strange := 0
		flood := func(size int) {
			for range size {
				strange++
				requireNoSuchKey(t, cache, fmt.Sprint("strange ", strange))
			}
			began := time.Now()
			requireKey(t, cache, "a")
			require.Zero(t, time.Since(began))
		}
		flood(10_000)
		require.LessOrEqual(t, i.fetches(), 1+2)
		before := i.fetches()
		for cooldown := 1; cooldown <= 10; cooldown++ {
			time.Sleep(30 * time.Second)
			flood(1000)
			require.LessOrEqual(t, i.fetches(), before+cooldown)
		}
		// A rotation in the midst of a flood is not starved by it.
		i.publish(keyB)
		time.Sleep(30 * time.Second)
		requireNoSuchKey(t, cache, "stranger still")
		requireKey(t, cache, "b")
	})
}

func TestAFloodDuringAnOutageCostsNoMore(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{"errors": status(500), "an empty set": text(set())} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i, cache := settled(t)
				i.serve("/keys", answer)
				for n := range 10_000 {
					wait := requireUnavailableKey(t, cache, fmt.Sprint(n))
					require.LessOrEqual(t, wait, 30*time.Second)
					if n >= 2 {
						require.Positive(t, wait)
					}
				}
				requireKey(t, cache, "a")
				require.Equal(t, 1+2, i.fetches())
			})
		})
	}
}

func TestAFloodAtOnceSharesItsFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		i.serve("/keys", slow(time.Second, text(set(keyA))))
		var callers sync.WaitGroup
		var refused, crowdedOut atomic.Int32
		for n := range 1024 + times(9000) {
			callers.Go(func() {
				_, err := cache.Key(t.Context(), fmt.Sprint(n), "EdDSA")
				switch {
				case err == jwks.ErrKeyNotFound:
					refused.Add(1)
				default:
					requireUnavailable(t, err)
					crowdedOut.Add(1)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		requireKey(t, cache, "a")
		require.Zero(t, time.Since(began), "a known key waits for nobody")
		callers.Wait()
		require.EqualValues(t, 1024, refused.Load(), "so many may wait")
		require.EqualValues(t, times(9000), crowdedOut.Load())
		require.Equal(t, 1+1, i.fetches())
	})
}

func TestWhoJoinsAFetchThatIsOlderThanTheTokenGetsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		// The answer is made when the request comes and takes a second to arrive.
		old, now := text(set(keyA)), text(set(keyA, keyB))
		i.serve("/keys", slow(time.Second, old))
		var callers sync.WaitGroup
		defer callers.Wait()
		callers.Go(func() { require.NoError(t, cache.Refresh(t.Context())) })
		synctest.Wait()
		i.serve("/keys", slow(500*time.Millisecond, now))
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		requireKey(t, cache, "b")
		require.Equal(t, 1400*time.Millisecond, time.Since(began))
		require.Equal(t, 1+2, i.fetches())
	})
}

func TestWhoJoinsAFetchThatBeganLaterNeedsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		i.serve("/keys", slow(500*time.Millisecond, text(set(keyA))))
		var callers sync.WaitGroup
		defer callers.Wait()
		callers.Go(func() { require.NoError(t, cache.Refresh(t.Context())) })
		time.Sleep(100 * time.Millisecond)
		for n := range 100 {
			callers.Go(func() { requireNoSuchKey(t, cache, fmt.Sprint(n)) })
		}
		callers.Wait()
		require.EqualValues(t, 1, cache.Status().UnknownKeyFetches, "the bucket is not emptied by one moment")
	})
}

func TestADeniedKidClaimsNoFetchDuringACooldown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		requireNoSuchKey(t, cache, "x")
		require.Equal(t, 2, i.fetches())
		for range 29 {
			time.Sleep(time.Second)
			requireNoSuchKey(t, cache, "x")
		}
		require.Equal(t, 2, i.fetches(), "though the bucket holds another")
		time.Sleep(time.Second)
		requireNoSuchKey(t, cache, "x")
		require.Equal(t, 3, i.fetches())
	})
}

func TestADeniedKidIsFoundAsSoonAsAnyFetchBringsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		requireNoSuchKey(t, cache, "b")
		i.publish(keyA, keyB)
		requireNoSuchKey(t, cache, "another") // causes one
		requireKey(t, cache, "b")
	})
}

func TestAKidIsDeniedOnlyByAFreshSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		requireNoSuchKey(t, cache, "x") // the bucket's first, which succeeded
		i.serve("/keys", status(500))
		requireNoSuchKey(t, cache, "y") // its second, which failed; but the set is of this moment
		time.Sleep(30 * time.Second)
		requireNoSuchKey(t, cache, "z")
		time.Sleep(time.Nanosecond)
		requireUnavailableKey(t, cache, "z")
		requireUnavailableKey(t, cache, "x")
		requireKey(t, cache, "a")
	})
}

func TestAHangingIssuerHoldsWaitersForTwoSecondsAndKnownKeysNotAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		i.serve("/keys", hang)
		var callers sync.WaitGroup
		began := time.Now()
		for n := range 1000 {
			callers.Go(func() {
				require.Positive(t, requireUnavailableKey(t, cache, fmt.Sprint(n)))
				require.Equal(t, 2*time.Second, time.Since(began))
			})
		}
		callers.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_, err := cache.Key(ctx, "mine", "EdDSA")
			requireUnavailable(t, err)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, 100*time.Millisecond, time.Since(began))
		})
		for range 100 {
			time.Sleep(10 * time.Millisecond)
			now := time.Now()
			requireKey(t, cache, "a")
			require.Zero(t, time.Since(now))
		}
		callers.Wait()
		require.Equal(t, 2, i.fetches())
	})
}

func TestNoMoreThan1024CallersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.serve("/keys", hang)
		cache := i.cache(t)
		began := time.Now()
		var callers sync.WaitGroup
		var atOnce, waited atomic.Int32
		for range 1100 {
			callers.Go(func() {
				require.Positive(t, requireUnavailableKey(t, cache, "a"))
				if time.Since(began) == 0 {
					atOnce.Add(1)
				} else {
					waited.Add(1)
				}
			})
		}
		callers.Wait()
		require.EqualValues(t, 1024, waited.Load())
		require.EqualValues(t, 76, atOnce.Load())

		// And the places are given back.
		i.publish(keyA)
		require.NoError(t, cache.Ready(t.Context()))
		i.serve("/keys", slow(time.Second, text(set(keyA, keyB))))
		time.Sleep(quiet)
		requireKey(t, cache, "b")
	})
}

func TestACallerWhoGoesAwayTakesNobodysAnswerAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		i.serve("/keys", slow(time.Second, text(set(keyA, keyB))))
		ctx, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		callers.Go(func() { // the one who causes the fetch
			_, err := cache.Key(ctx, "b", "EdDSA")
			requireUnavailable(t, err)
			require.ErrorIs(t, err, context.Canceled)
		})
		synctest.Wait()
		callers.Go(func() { requireKey(t, cache, "b") })
		synctest.Wait()
		cancel()
		callers.Wait()
		require.Equal(t, 2, i.fetches())
	})
}

func TestAFetchThatNobodyWaitsForAnyMoreGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		i.serve("/keys", slow(time.Second, text(set(keyA, keyB))))
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := cache.Key(ctx, "b", "EdDSA")
		requireUnavailable(t, err)
		time.Sleep(time.Second)
		synctest.Wait()
		requireKey(t, cache, "b")
		require.Equal(t, 2, i.fetches())
	})
}

func TestAKnownKeyComesWhateverTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, cache := settled(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		k, err := cache.Key(ctx, "a", "EdDSA")
		require.NoError(t, err)
		require.Same(t, requireKey(t, cache, "a"), k)
	})
}

func TestAfterRetryAfterNoUnknownKidCausesAFetchForThatLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		i.serve("/keys", status(429, "Retry-After", "120"))
		require.Equal(t, 2*time.Minute, requireUnavailableKey(t, cache, "x"))
		i.publish(keyA, keyB)
		for range 119 {
			time.Sleep(time.Second)
			require.Positive(t, requireUnavailableKey(t, cache, "b"))
		}
		require.Equal(t, 2, i.fetches())
		time.Sleep(time.Second)
		requireKey(t, cache, "b")

		i.serve("/keys", status(503, "Retry-After", "86400"))
		time.Sleep(quiet)
		require.Equal(t, 10*time.Minute, requireUnavailableKey(t, cache, "c"), "but no longer than Refresh")
	})
}

func TestAGoodAnswerEndsTheWaitThatRetryAfterAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		i.serve("/keys", status(429, "Retry-After", "300"))
		requireUnavailableKey(t, cache, "b")
		i.publish(keyA)
		require.NoError(t, cache.Refresh(t.Context()))
		i.publish(keyB)
		requireKey(t, cache, "b")
	})
}

func TestUnknownKidsDoNotTouchTheTimersBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		i.serve("/keys", status(500))
		next := cache.Status().NextRefresh
		for n := range 1000 {
			requireUnavailableKey(t, cache, fmt.Sprint(n))
			time.Sleep(100 * time.Millisecond)
		}
		require.Equal(t, next, cache.Status().NextRefresh, "failures that strangers cause do not move it")
		before := i.fetches()
		time.Sleep(time.Until(next) + 1)
		synctest.Wait()
		require.Equal(t, before+1, i.fetches(), "nor does an empty bucket stop it")
		after := time.Until(cache.Status().NextRefresh)
		require.LessOrEqual(t, after, 30*time.Second, "nor do they count as failures of its own")
	})
}

func TestAFetchForAnUnknownKidDoesNotPutTheTimerOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		due := cache.Status().NextRefresh
		time.Sleep(5 * time.Minute)
		requireNoSuchKey(t, cache, "x")
		require.Equal(t, 2, i.fetches())
		require.Equal(t, due, cache.Status().NextRefresh)
		time.Sleep(time.Until(due) - time.Nanosecond)
		require.Equal(t, 2, i.fetches())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, 3, i.fetches())
	})
}

func TestAFetchForAnUnknownKidBringsTheTimerForwardWhenTheServerSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		i.serve("/keys", cached("max-age=60", text(set(keyA))))
		requireNoSuchKey(t, cache, "x")
		require.LessOrEqual(t, time.Until(cache.Status().NextRefresh), time.Minute)
	})
}

func TestAFetchForAnUnknownKidThatSucceedsEndsABackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		i.serve("/keys", status(503))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.NotEmpty(t, cache.Status().LastError)
		i.publish(keyA)
		requireNoSuchKey(t, cache, "x")
		require.GreaterOrEqual(t, time.Until(cache.Status().NextRefresh), 8*time.Minute)
	})
}

func TestATokenWithoutAKidAsksAnewOnlyWithinTheSameBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA, keyB)
		cache := i.ready(t)
		time.Sleep(quiet)
		for range 1000 {
			requireNoSuchKey(t, cache, "") // two keys fit
		}
		require.Equal(t, 2, i.fetches())
		i.publish(keyB)
		time.Sleep(30 * time.Second)
		requireKey(t, cache, "")
	})
}

func TestCooldownIsTheOperatorsToChoose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t, func(c *jwks.Config) { c.Cooldown = 5 * time.Second })
		for n := range 600 {
			requireNoSuchKey(t, cache, fmt.Sprint(n))
			time.Sleep(100 * time.Millisecond)
		}
		require.Equal(t, 1+2+11, i.fetches())
	})
}

func TestACallerWhoIsGoneCausesNoFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.serve("/keys", text(set(keyA)))
		cache := i.ready(t)
		time.Sleep(quiet)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		before := cache.Status().Fetches
		_, err := cache.Key(ctx, "b", "EdDSA")
		requireUnavailable(t, err)
		require.ErrorIs(t, err, context.Canceled)
		synctest.Wait()
		require.Equal(t, before, cache.Status().Fetches)
		requireKey(t, cache, "a")
	})
}

// So whoever has more to check than the key can ask first, at no cost to the
// issuer, whether the key alone decides.
func TestACallerWhoIsGoneHearsOfAKeyThatNoFetchCouldBring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		ask := func(kid string) error {
			_, err := cache.Key(ended, kid, "EdDSA")
			return err
		}
		requireUnavailable(t, ask("b"))
		requireNoSuchKey(t, cache, "b")
		require.Equal(t, jwks.ErrKeyNotFound, ask("b"), "a fetch did not bring it")
		requireUnavailable(t, ask("c")) // another fetch might
		requireNoSuchKey(t, cache, "c")
		require.Equal(t, jwks.ErrKeyNotFound, ask("d"), "there is no fetch left")
		before := i.fetches()
		time.Sleep(31 * time.Second)
		requireUnavailable(t, ask("b"))
		requireUnavailable(t, ask("d"))
		i.serve("/keys", status(429, "Retry-After", "40"))
		requireUnavailable(t, func() error { _, err := cache.Key(t.Context(), "d", "EdDSA"); return err }())
		requireUnavailable(t, ask("d")) // the set is too old to say so
		require.Equal(t, before+1, i.fetches())
		require.NoError(t, cache.Close())
		requireUnavailable(t, ask("b"))
	})
}

func TestTwoSecondsCoverBothFetchesThatACallerWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		i.serve("/keys", slow(1500*time.Millisecond, text(set(keyA))))
		var callers sync.WaitGroup
		defer callers.Wait()
		callers.Go(func() { require.NoError(t, cache.Refresh(t.Context())) })
		synctest.Wait()
		time.Sleep(time.Nanosecond) // so that one is older than the token
		began := time.Now()
		requireUnavailableKey(t, cache, "b")
		require.Equal(t, 2*time.Second, time.Since(began))
	})
}

func TestADeniedKidDoesNotWaitForAFetchOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		requireNoSuchKey(t, cache, "x")
		i.serve("/keys", slow(time.Second, text(set(keyA))))
		var callers sync.WaitGroup
		defer callers.Wait()
		callers.Go(func() { require.NoError(t, cache.Refresh(t.Context())) })
		synctest.Wait()
		began := time.Now()
		requireNoSuchKey(t, cache, "x")
		require.Zero(t, time.Since(began))
	})
}

func TestAFetchThatFailsDeniesNoKid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA)
		cache := i.ready(t)
		time.Sleep(10 * time.Second)
		i.serve("/keys", status(500))
		requireNoSuchKey(t, cache, "b") // the set at hand is young enough to say so
		i.publish(keyA, keyB)
		requireKey(t, cache, "b")
		require.Equal(t, 3, i.fetches())
	})
}

func TestAKidIsDeniedForOneAlgorithmOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		requireNoSuchKey(t, cache, "r")
		i.publish(keyA, rsaJWK.with(jwk{"kid": "r"}))
		_, err := cache.Key(t.Context(), "r", "RS256")
		require.NoError(t, err)
	})
}

func TestASetThatIsTooOldDeniesNoKidHoweverLongTheCooldownIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA)
		cache := i.ready(t, with(20*time.Second, 10*time.Second))
		i.serve("/keys", status(500))
		time.Sleep(20 * time.Second)
		synctest.Wait()
		requireUnavailableKey(t, cache, "x")
		requireUnavailableKey(t, cache, "a")
	})
}

func TestWhoIsTurnedAwayDuringAFetchLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		i.serve("/keys", hang)
		var callers sync.WaitGroup
		for n := range 1024 { // as many as may wait
			callers.Go(func() { requireUnavailableKey(t, cache, fmt.Sprint(n)) })
		}
		synctest.Wait()
		held := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before := held()
		for range times(100_000) {
			_, _ = cache.Key(t.Context(), "strange", "EdDSA")
		}
		require.Less(t, held()-before, int64(1<<20))
		callers.Wait()
	})
}

func TestTheTimerObeysTheRetryAfterOfAFetchForAnUnknownKid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		time.Sleep(time.Until(cache.Status().NextRefresh) - time.Minute)
		i.serve("/keys", status(429, "Retry-After", "300"))
		asked := time.Now()
		requireUnavailableKey(t, cache, "x")
		require.GreaterOrEqual(t, cache.Status().NextRefresh.Sub(asked), 5*time.Minute)
		time.Sleep(5*time.Minute - time.Nanosecond)
		require.Equal(t, 2, i.fetches())
	})
}
