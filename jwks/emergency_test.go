package jwks_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
)

// names are what a key can be denied by.
func names(t *testing.T, cache *jwks.Cache, kid string) map[string]string {
	t.Helper()
	for _, k := range cache.Status().Keys {
		if k.KeyID == kid {
			return map[string]string{"kid": kid, "thumbprint": k.Thumbprint}
		}
	}
	t.Fatal("no such key")
	return nil
}

// denying runs a test for each way to name key a, with keys a and b at hand in a
// set that is older than the Cooldown.
func denying(t *testing.T, test func(t *testing.T, i *issuer, cache *jwks.Cache, a string)) {
	for _, way := range []string{"kid", "thumbprint"} {
		t.Run("by "+way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer(t)
				i.publish(keyA, keyB)
				cache := i.ready(t)
				time.Sleep(quiet)
				test(t, i, cache, names(t, cache, "a")[way])
			})
		})
	}
}

func TestADeniedKeyIsDeadAtOnceAndCostsNoFetch(t *testing.T) {
	denying(t, func(t *testing.T, i *issuer, cache *jwks.Cache, name string) {
		b, began, fetched := requireKey(t, cache, "b"), time.Now(), cache.Status().Fetched
		cache.Deny(name)
		require.Equal(t, fetched, cache.Status().Fetched)
		for range 10_000 {
			requireNoSuchKey(t, cache, "a")
		}
		require.Same(t, b, requireKey(t, cache, "b"))
		require.Zero(t, time.Since(began))
		for range 60 { // and longer than any Cooldown, until the next refresh
			time.Sleep(5 * time.Second)
			requireNoSuchKey(t, cache, "a")
		}
		require.Equal(t, 1, i.fetches())
		require.Zero(t, cache.Status().UnknownKeyFetches)
		for _, k := range cache.Status().Keys {
			require.Equal(t, k.KeyID == "a", k.Denied)
		}
		requireNoSuchKey(t, cache, "unknown")
		require.Equal(t, 2, i.fetches(), "the bucket is full as ever")
	})
}

func TestADeniedKeyStaysDeadWhateverTheIssuerAnswers(t *testing.T) {
	denying(t, func(t *testing.T, i *issuer, cache *jwks.Cache, name string) {
		b := requireKey(t, cache, "b")
		cache.Deny(name)
		again := validated(`"1"`, "", set(keyA, keyB)) // at the second time a 304
		for n, answer := range []http.HandlerFunc{
			text(set(keyA, keyB)), text(set(keyC, keyB, keyA)), text(set(keyB)), text(set(keyA, keyB)), again, again,
		} {
			i.serve("/keys", answer)
			require.NoError(t, cache.Refresh(t.Context()))
			requireNoSuchKey(t, cache, "a")
			require.Same(t, b, requireKey(t, cache, "b"), n)
		}
		i.serve("/keys", status(500))
		requireUnavailable(t, cache.Refresh(t.Context()))
		requireNoSuchKey(t, cache, "a")
		i.publish(keyA, keyB)
		time.Sleep(24 * time.Hour)
		requireNoSuchKey(t, cache, "a")
	})
}

func TestAllowLiftsADenialOfTheSameName(t *testing.T) {
	denying(t, func(t *testing.T, i *issuer, cache *jwks.Cache, name string) {
		a := requireKey(t, cache, "a")
		for range 3 {
			cache.Deny(name)
			cache.Deny(name)
			for _, other := range names(t, cache, "a") {
				if other != name {
					cache.Allow(other)
				}
			}
			requireNoSuchKey(t, cache, "a")
			cache.Allow("b")
			requireNoSuchKey(t, cache, "a")
			require.NoError(t, cache.Refresh(t.Context()))
			before := i.fetches()
			cache.Allow(name)
			require.Same(t, a, requireKey(t, cache, "a"), "the key it was")
			require.Equal(t, before, i.fetches())
			require.False(t, cache.Status().Keys[0].Denied)
		}
		cache.Deny(name)
		require.NoError(t, cache.Refresh(t.Context()))
		cache.Allow(name)
		require.NoError(t, cache.Refresh(t.Context()))
		require.Same(t, a, requireKey(t, cache, "a"))
	})
}

func TestAKeyDeniedByThumbprintIsDeadUnderEveryKid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		cache.Deny(names(t, cache, "a")["thumbprint"])
		i.publish(keyA.with(jwk{"kid": "again"}), keyA, keyB, keyC.with(jwk{"kid": "c"}))
		require.NoError(t, cache.Refresh(t.Context()))
		requireNoSuchKey(t, cache, "a")
		requireNoSuchKey(t, cache, "again")
		require.Equal(t, 2, i.fetches())
	})
}

func TestAKidThatIsDeniedIsDeniedForEveryKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		cache.Deny("a")
		i.publish(keyC.with(jwk{"kid": "a", "alg": nil}), rsaJWK.with(jwk{"kid": "a"}), keyB)
		require.NoError(t, cache.Refresh(t.Context()))
		for _, alg := range []string{"EdDSA", "Ed25519", "RS256", "PS512", "ES256"} {
			_, err := cache.Key(t.Context(), "a", alg)
			require.ErrorIs(t, err, jwks.ErrKeyNotFound)
		}
		requireKey(t, cache, "b")
		require.Equal(t, 2, i.fetches())
	})
}

func TestATokenWithoutAKidDoesNotReachADeniedKey(t *testing.T) {
	for _, way := range []string{"kid", "thumbprint"} {
		synctest.Test(t, func(t *testing.T) {
			i := newIssuer(t)
			i.publish(keyA, rsaJWK.with(jwk{"kid": "r"}))
			cache := i.ready(t)
			time.Sleep(quiet)
			a := requireKey(t, cache, "")
			r, err := cache.Key(t.Context(), "", "RS256")
			require.NoError(t, err)
			name := names(t, cache, "a")[way]
			cache.Deny(name)
			for range 1000 {
				requireNoSuchKey(t, cache, "")
			}
			again, err := cache.Key(t.Context(), "", "RS256")
			require.NoError(t, err)
			require.Same(t, r, again)
			require.Equal(t, 1, i.fetches())

			// To deny one of two does not make the other the only one.
			i.publish(keyA, keyB)
			require.NoError(t, cache.Refresh(t.Context()))
			requireNoSuchKey(t, cache, "")
			i.publish(keyA)
			require.NoError(t, cache.Refresh(t.Context()))
			cache.Allow(name)
			require.Same(t, a, requireKey(t, cache, ""))
		})
	}
}

func TestAKeyCanBeDeniedBeforeItIsThere(t *testing.T) {
	denying(t, func(t *testing.T, i *issuer, old *jwks.Cache, name string) {
		i.serve("/keys", slow(time.Second, text(set(keyA, keyB))))
		cache := i.cache(t)
		cache.Deny(name)
		require.NoError(t, cache.Ready(t.Context()))
		requireNoSuchKey(t, cache, "a")
		requireKey(t, cache, "b")
		require.Zero(t, cache.Status().UnknownKeyFetches)
		require.True(t, cache.Status().Keys[0].Denied)
	})
}

func TestADeniedKidThatHasNoKeyCostsNoFetchEither(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		cache.Deny("stolen")
		i.serve("/keys", hang)
		began := time.Now()
		for range 10_000 {
			requireNoSuchKey(t, cache, "stolen")
		}
		require.Equal(t, 1, i.fetches())

		// Before there is any set, and when the last is too old, as well.
		starting := i.cache(t)
		starting.Deny("stolen")
		requireNoSuchKey(t, starting, "stolen")
		require.Zero(t, time.Since(began))
		time.Sleep(25 * time.Hour)
		requireUnavailableKey(t, cache, "a")
		requireNoSuchKey(t, cache, "stolen")

		i.publish(keyA, keyB.with(jwk{"kid": "stolen"}))
		require.NoError(t, cache.Refresh(t.Context()))
		requireNoSuchKey(t, cache, "stolen")
		cache.Allow("stolen")
		requireKey(t, cache, "stolen")
	})
}

func TestNoReaderGetsAKeyAfterDenyReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA, keyB)
		cache := i.ready(t)
		b := requireKey(t, cache, "b")
		var storm sync.WaitGroup
		var done atomic.Bool
		storm.Go(func() {
			for n := 0; !done.Load(); n++ {
				if n%2 == 0 {
					i.publish(keyA, keyB)
				} else {
					i.publish(keyB, keyA, keyC)
				}
				if err := cache.Refresh(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
		for n := range times(2000) {
			cache.Deny("a")
			for range n % 5 {
				if _, err := cache.Key(t.Context(), "a", "EdDSA"); err != jwks.ErrKeyNotFound {
					t.Fatal("the denied key was found", fmt.Sprint(err))
				}
			}
			require.Same(t, b, requireKey(t, cache, "b"))
			cache.Allow("a")
			requireKey(t, cache, "a")
		}
		done.Store(true)
		storm.Wait()
	})
}

func TestDenyAndAllowOfNothingChangeNothing(t *testing.T) {
	var none *jwks.Cache
	for _, cache := range []*jwks.Cache{none, new(jwks.Cache)} {
		cache.Deny("a")
		cache.Allow("a")
		requireUnavailableKey(t, cache, "a")
	}
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA.with(jwk{"kid": nil}), rsaJWK.with(jwk{"kid": "r"}))
		cache := i.ready(t)
		k := requireKey(t, cache, "")
		cache.Deny("")
		cache.Allow("never denied")
		require.Same(t, k, requireKey(t, cache, ""), "no kid is not a name")

		require.NoError(t, cache.Close())
		cache.Deny("r")
		cache.Allow("r")
		cache.Deny("r")
		for _, kid := range []string{"", "r", "x"} {
			requireUnavailableKey(t, cache, kid)
		}
		require.Empty(t, cache.Status().Keys)
		require.Nil(t, cache.Snapshot())
	})
}
