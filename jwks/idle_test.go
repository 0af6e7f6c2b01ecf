package jwks_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
)

// many are Caches that use our own client and have had their first fetch.
func many(t testing.TB, n int, url string, changes ...func(*jwks.Config)) []*jwks.Cache {
	caches := make([]*jwks.Cache, n)
	var batch sync.WaitGroup
	const atOnce = 32 // or the connections would
	for first := range min(n, atOnce) {
		batch.Go(func() {
			for at := first; at < n; at += atOnce {
				config := jwks.Config{URL: url, Logger: slog.New(slog.DiscardHandler)}
				for _, change := range changes {
					change(&config)
				}
				c, err := jwks.New(config)
				if err != nil {
					t.Error(err)
					return
				}
				if err := c.Ready(t.Context()); err != nil {
					t.Error(err)
				}
				caches[at] = c
			}
		})
	}
	batch.Wait()
	require.False(t, t.Failed())
	return caches
}

func closeAll(t testing.TB, caches []*jwks.Cache) {
	for _, c := range caches {
		require.NoError(t, c.Close())
	}
}

// goroutines counts those that stay.
func goroutines(t testing.TB, atMost int) {
	t.Helper()
	var n int
	for range 200 {
		if n = runtime.NumGoroutine(); n <= atMost {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	stacks := make([]byte, 1<<16)
	t.Fatalf("%d goroutines instead of %d:\n%s", n, atMost, stacks[:runtime.Stack(stacks, true)])
}

// mostHeld is what an idle Cache may cost beyond its keys, in bytes.
const mostHeld = 8 << 10

// held is how many bytes n of something keep alive, each.
func held[T any](n int, make func(n int) T) (float64, T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	kept := make(n)
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse) / float64(n), kept
}

func TestThousandsOfIdleCachesCostNoGoroutineAndLittleMemory(t *testing.T) {
	s := httptest.NewServer(text(set(keyA)))
	defer s.Close()
	inMemory := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		text(set(keyA))(w, r)
		return w.Result(), nil
	})}
	for _, c := range []struct {
		client *http.Client
		n      int
	}{{nil, 1000}, {inMemory, 10_000}} {
		before := runtime.NumGoroutine()
		each, caches := held(c.n, func(n int) []*jwks.Cache {
			return many(t, n, s.URL, func(config *jwks.Config) { config.Client = c.client })
		})
		goroutines(t, before+2)
		require.Less(t, each, float64(mostHeld))
		for _, c := range caches {
			requireKey(t, c, "a")
			require.False(t, c.Status().NextRefresh.IsZero(), "and yet each will be refreshed")
		}
		closeAll(t, caches)
		goroutines(t, before)
	}
}

func TestCloseEndsEveryGoroutineOfAFetchToo(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(hang))
	defer s.Close()
	before := runtime.NumGoroutine()
	for range 20 {
		c, err := jwks.New(jwks.Config{URL: s.URL, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		time.Sleep(time.Millisecond) // so that Close comes at any stage of it
		require.NoError(t, c.Close())
	}
	goroutines(t, before)
}

func TestATimerKeepsNoCacheThatWasClosed(t *testing.T) {
	s := httptest.NewServer(text(set(keyA)))
	defer s.Close()
	closed := func() weak.Pointer[jwks.Cache] {
		c := many(t, 1, s.URL)[0]
		require.NoError(t, c.Close())
		return weak.Make(c)
	}()
	require.Eventually(t, func() bool { runtime.GC(); return closed.Value() == nil }, time.Minute, time.Millisecond)
}

// A bubble of synctest ends only when no goroutine is left in it.
func TestCloseIsFineWhileATimerFires(t *testing.T) {
	for n := range times(200) {
		synctest.Test(t, func(t *testing.T) {
			i := newIssuer(t)
			i.publish(keyA)
			cache := i.ready(t, with(time.Minute, 30*time.Second))
			i.serve("/keys", status(500))
			if n%2 == 0 {
				time.Sleep(time.Until(cache.Status().NextRefresh))
			} else {
				time.Sleep(30 * time.Second) // half of MaxStale
			}
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() { require.NoError(t, cache.Close()) })
			}
			all.Wait()
			synctest.Wait() // a request that was on its way arrives
			asked := i.fetches()
			time.Sleep(time.Hour)
			require.Equal(t, asked, i.fetches())
		})
	}
}

func TestTheTimerFetchesOnceAtATimeHoweverSlowTheIssuerIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		cache := i.cache(t, with(time.Minute, time.Second))
		i.serve("/keys", slow(4*time.Second, text(set(keyA)))) // slower than Refresh
		time.Sleep(time.Duration(times(60)) * time.Minute)
		for _, gap := range i.gaps()[1:] {
			require.GreaterOrEqual(t, gap, 4*time.Second)
		}
		require.Greater(t, i.fetches(), times(600))
		requireKey(t, cache, "a")
	})
}
