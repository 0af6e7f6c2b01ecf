package jwks_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
)

func TestAFetchedSetReplacesTheSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA, keyB)
		saved := save(t, i)
		time.Sleep(time.Hour)
		i.serve("/keys", slow(time.Second, text(set(keyB, keyC))))
		cache := i.cache(t, from(saved))
		requireKey(t, cache, "a") // withdrawn since then, but nobody knows yet
		b := requireKey(t, cache, "b")
		time.Sleep(time.Second)
		synctest.Wait()
		requireNoSuchKey(t, cache, "a")
		require.Same(t, b, requireKey(t, cache, "b"))
		requireKey(t, cache, "c")
		require.Equal(t, time.Now(), cache.Status().Fetched)
		require.NotEqual(t, saved, cache.Snapshot())
	})
}

func TestAnUnknownKidIsNotJudgedByAnOldSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA)
		saved := save(t, i)
		time.Sleep(quiet)
		i.serve("/keys", slow(time.Second, text(set(keyA, keyB))))
		before := i.fetches()
		cache := i.cache(t, from(saved))
		began := time.Now()
		var callers sync.WaitGroup
		callers.Go(func() { requireKey(t, cache, "b") })
		callers.Go(func() { requireNoSuchKey(t, cache, "x") })
		callers.Wait()
		require.Equal(t, time.Second, time.Since(began))
		require.Equal(t, before+1, i.fetches(), "the first fetch brings both answers")

		i.serve("/keys", status(500))
		require.NoError(t, cache.Close())
		cache = i.cache(t, from(saved))
		for n := range 100 {
			requireUnavailableKey(t, cache, fmt.Sprint(n))
		}
		requireKey(t, cache, "a")
		require.LessOrEqual(t, i.fetches(), before+1+1+2)
	})
}

func TestFailuresAfterASnapshotBackOffAsWithAnyOtherSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA)
		saved := save(t, i)
		i.serve("/keys", status(500))
		before := i.fetches()
		i.cache(t, from(saved))
		time.Sleep(6 * time.Hour)
		gaps := i.gaps()[before:]
		require.Greater(t, len(gaps), 10)
		for n, gap := range gaps {
			most := min(30*time.Second<<min(n, 10), 10*time.Minute)
			require.LessOrEqual(t, gap, most)
			require.GreaterOrEqual(t, gap, most/2)
		}
	})
}

func TestWithASnapshotTheFirstFetchHasNoConditions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.serve("/keys", validated(`"v1"`, lastYear, set(keyA)))
		cache := i.ready(t)
		saved := cache.Snapshot()
		i.cache(t, from(saved))
		synctest.Wait()
		require.Equal(t, unconditional, i.condition("/keys"))
	})
}

func TestADeniedKeyIsInTheSnapshotAndMustBeDeniedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA, keyB)
		before := i.ready(t)
		before.Deny("a")
		requireNoSuchKey(t, before, "a")
		saved := before.Snapshot()
		i.serve("/keys", hang)

		cache := i.cache(t, from(saved))
		require.Len(t, cache.Status().Keys, 2, "what is denied is the process's affair")
		requireKey(t, cache, "a")
		cache.Deny("a")
		requireNoSuchKey(t, cache, "a")
		b := requireKey(t, cache, "b")

		i.publish(keyA, keyB)
		require.NoError(t, cache.Refresh(t.Context()))
		requireNoSuchKey(t, cache, "a")
		require.Same(t, b, requireKey(t, cache, "b"))
	})
}

func TestASnapshotHoldsPublicKeysAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(
			keyA.with(jwk{"x5c": []string{"c2VjcmV0"}, "note": "c2VjcmV0"}), rsaJWK, ecJWK,
			jwk{"kty": "oct", "k": "c2VjcmV0", "kid": "hs"}, keyB.with(jwk{"d": "c2VjcmV0"}),
			rsaJWK.with(jwk{"kid": "r", "d": "c2VjcmV0", "p": "c2VjcmV0"}),
		)
		saved := save(t, i)
		require.NotContains(t, string(saved), "c2VjcmV0")
		var all struct {
			URL     string           `json:"url"`
			Fetched int64            `json:"fetched"`
			Keys    []map[string]any `json:"keys"`
		}
		require.NoError(t, json.Unmarshal(saved, &all))
		require.Equal(t, keysURL, all.URL)
		require.Equal(t, time.Now().Unix(), all.Fetched)
		require.Len(t, all.Keys, 3)
		for _, k := range all.Keys {
			for member := range k {
				require.Contains(t, []string{"kty", "crv", "x", "y", "n", "e", "kid", "alg"}, member)
			}
		}
	})
}

func TestWithoutASetThereIsNoSnapshot(t *testing.T) {
	var none *jwks.Cache
	require.Nil(t, none.Snapshot())
	require.Nil(t, new(jwks.Cache).Snapshot())
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		cache := i.cache(t, from([]byte{}))
		synctest.Wait()
		require.Nil(t, cache.Snapshot())
		i.publish(keyA)
		require.NoError(t, cache.Ready(t.Context()))
		require.NotNil(t, cache.Snapshot())
		require.NoError(t, cache.Close())
		require.Nil(t, cache.Snapshot(), "the Cache has let go of its keys")
	})
}

func TestASnapshotIsTheCallersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA)
		saved := save(t, i)
		i.serve("/keys", hang)
		mine := slices.Clone(saved)
		cache := i.cache(t, from(mine))
		clear(mine)
		requireKey(t, cache, "a")
		clear(cache.Snapshot())
		require.Equal(t, saved, cache.Snapshot())
		requireKey(t, cache, "a")
	})
}
