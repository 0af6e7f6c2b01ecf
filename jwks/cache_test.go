package jwks_test

import (
	"compress/gzip"
	"context"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
)

func TestNewReturnsAtOnceThoughTheIssuerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.serve("/keys", hang)
		began := time.Now()
		i.cache(t)
		require.Zero(t, time.Since(began))
	})
}

func TestAFirstCallerWaitsForTheKeyButTwoSecondsAtMost(t *testing.T) {
	for _, c := range []struct{ answers, patience, waits time.Duration }{
		{answers: 0, patience: time.Hour, waits: 0},
		{answers: 1900 * time.Millisecond, patience: time.Hour, waits: 1900 * time.Millisecond},
		{answers: 2100 * time.Millisecond, patience: time.Hour, waits: 2 * time.Second},
		{answers: 2100 * time.Millisecond, patience: time.Second, waits: time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			i := newIssuer(t)
			i.serve("/keys", slow(c.answers, text(set(keyA))))
			cache := i.cache(t)
			ctx, cancel := context.WithTimeout(t.Context(), c.patience)
			defer cancel()
			began := time.Now()
			k, err := cache.Key(ctx, "a", "EdDSA")
			require.Equal(t, c.waits, time.Since(began))
			if c.waits == c.answers {
				require.NoError(t, err)
				require.NotNil(t, k)
				return
			}
			require.Nil(t, k)
			require.Positive(t, requireUnavailable(t, err))
			require.Equal(t, c.waits == c.patience, ctx.Err() != nil)
			if ctx.Err() != nil {
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
		})
	}
}

func TestFirstCallersShareOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.serve("/keys", slow(time.Second, text(set(keyA))))
		cache := i.cache(t)
		var callers sync.WaitGroup
		for range 200 {
			callers.Go(func() { requireKey(t, cache, "a") })
		}
		callers.Wait()
		require.Equal(t, 1, i.fetches())
	})
}

func TestBetweenTriesCallersAreRefusedAtOnceAndToldWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.serve("/keys", status(http.StatusInternalServerError))
		cache := i.cache(t)
		synctest.Wait()
		for range 10 {
			began := time.Now()
			for range 100 {
				wait := requireUnavailableKey(t, cache, "a")
				require.Equal(t, time.Until(cache.Status().NextRefresh), wait)
				require.Positive(t, wait)
			}
			require.Zero(t, time.Since(began))
			time.Sleep(requireUnavailableKey(t, cache, "a"))
			synctest.Wait()
		}
		require.Equal(t, 11, i.fetches(), "callers cause no fetch of their own")
	})
}

func TestAnIssuerThatComesUpAfterTheProgramIsFoundSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		cache := i.cache(t)
		time.Sleep(time.Hour)
		require.NotEmpty(t, i.gaps())
		for n, gap := range i.gaps() {
			most := min(time.Second<<min(n, 10), 30*time.Second)
			require.LessOrEqual(t, gap, most)
			require.GreaterOrEqual(t, gap, most/2)
		}
		i.publish(keyA)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		requireKey(t, cache, "a")
	})
}

func TestKeysAreRefreshedWithoutAnyTrafficAndNotInStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA)
		i.cache(t)
		time.Sleep(24 * time.Hour)
		gaps := map[time.Duration]bool{}
		for _, gap := range i.gaps() {
			require.LessOrEqual(t, gap, 10*time.Minute)
			require.GreaterOrEqual(t, gap, 8*time.Minute)
			gaps[gap] = true
		}
		require.Greater(t, len(gaps), 100, "each is drawn anew")
	})
}

func TestTheIssuerMayAskForMoreRefreshesButNotForFewer(t *testing.T) {
	for _, c := range []struct {
		control       string
		refresh, want time.Duration
	}{
		{"max-age=120", 0, 2 * time.Minute},
		{"max-age=15", 0, time.Minute},
		{"max-age=0, no-store", 0, time.Minute},
		{"max-age=3283200", 0, 10 * time.Minute},
		{"max-age=5", 20 * time.Second, 20 * time.Second},
		{"max-age=600", time.Hour, 10 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			i := newIssuer(t)
			i.serve("/keys", cached(c.control, text(set(keyA))))
			i.cache(t, func(config *jwks.Config) { config.Refresh = c.refresh })
			time.Sleep(100 * c.want)
			require.GreaterOrEqual(t, len(i.gaps()), 98)
			for _, gap := range i.gaps() {
				require.LessOrEqual(t, gap, c.want, c.control)
				require.GreaterOrEqual(t, gap, c.want*8/10, c.control)
			}
		})
	}
}

func TestAWithdrawnKeyIsDeadAfterARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA, keyB)
		cache := i.ready(t)
		requireKey(t, cache, "a")
		i.publish(keyB) // and no key added, which nobody would ask for
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		requireNoSuchKey(t, cache, "a")
		requireKey(t, cache, "b")
	})
}

func TestAnUnchangedKeyKeepsItsIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA, keyB, rsaJWK.with(jwk{"kid": "r"}))
		cache := i.ready(t)
		a, b := requireKey(t, cache, "a"), requireKey(t, cache, "b")
		r, err := cache.Key(t.Context(), "r", "PS256")
		require.NoError(t, err)

		i.publish(rsaJWK.with(jwk{"kid": "r"}), keyA, keyC.with(jwk{"kid": "b"}))
		require.NoError(t, cache.Refresh(t.Context()))
		require.Same(t, a, requireKey(t, cache, "a"))
		require.NotSame(t, b, requireKey(t, cache, "b"), "another key under an old kid is another key")
		again, err := cache.Key(t.Context(), "", "PS256")
		require.NoError(t, err)
		require.Same(t, r, again, "by whatever name it is found")

		i.publish(keyA.with(jwk{"alg": nil}), keyB)
		require.NoError(t, cache.Refresh(t.Context()))
		require.NotSame(t, a, requireKey(t, cache, "a"), "it serves more than before")
		require.NotSame(t, b, requireKey(t, cache, "b"), "it had been withdrawn")
	})
}

// badAnswers are those that must not replace a good set.
var badAnswers = map[string]http.HandlerFunc{
	"not found":             http.NotFound,
	"error with a good set": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500); text(set(keyB))(w, r) },
	"partial with a set":    func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(206); text(set(keyB))(w, r) },
	"not modified":          status(http.StatusNotModified),
	"no content":            status(http.StatusNoContent),
	"empty body":            text(""),
	"empty object":          text("{}"),
	"empty set":             text(set()),
	"keys is null":          text(`{"keys":null}`),
	"keys is an object":     text(`{"keys":{"a":{}}}`),
	"a bare JWK":            text(set(keyB)[len(`{"keys":[`) : len(set(keyB))-2]),
	"no usable key":         text(set(jwk{"kty": "oct", "k": "AAAA"}, keyB.with(jwk{"use": "enc"}))),
	"only ambiguous keys":   text(set(keyB, keyC.with(jwk{"kid": "b"}))),
	"101 keys":              text(`{"keys":[` + strings.Repeat("{},", 100) + set(keyB)[len(`{"keys":[`):]),
	"duplicate keys member": text(`{"keys":[],` + set(keyB)[1:]),
	"duplicate in an entry": text(strings.Replace(set(keyB), `"kid"`, `"kid":"c","kid"`, 1)),
	"HTML":                  text("<!doctype html><title>Sign in</title>"),
	"error document":        text(`{"error":"server_error"}`),
	"truncated":             text(set(keyB)[:40]),
	"trailing garbage":      text(set(keyB) + "{}"),
	"invalid UTF-8":         text(strings.Replace(set(keyB), `"b"`, "\"\xff\"", 1)),
	"oversized":             text(set(keyB) + strings.Repeat(" ", 256<<10)),
	"endless": func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	},
	"decompression bomb": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte(set(keyB) + strings.Repeat(" ", 256<<10)))
		_ = z.Close()
	},
	"body cut short": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10000")
		text(set(keyB))(w, r)
	},
	"connection cut":        func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	"hangs":                 hang,
	"redirect elsewhere":    http.RedirectHandler("https://elsewhere.example/keys", http.StatusFound).ServeHTTP,
	"redirect to itself":    http.RedirectHandler("/keys", http.StatusFound).ServeHTTP,
	"redirect to plaintext": http.RedirectHandler("http://issuer.example/keys", http.StatusFound).ServeHTTP,
}

func TestABadAnswerReplacesNothing(t *testing.T) {
	for name, answer := range badAnswers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer(t)
				i.publish(keyA)
				cache := i.ready(t)
				a, good := requireKey(t, cache, "a"), cache.Status()
				i.serve("/keys", answer)
				requireUnavailable(t, cache.Refresh(t.Context()))

				require.Same(t, a, requireKey(t, cache, "a"))
				now := cache.Status()
				require.Equal(t, good.Fetched, now.Fetched)
				require.Equal(t, good.Keys, now.Keys)
				require.NotEmpty(t, now.LastError)
				require.EqualValues(t, 1, now.Failures)

				time.Sleep(time.Hour)
				require.Same(t, a, requireKey(t, cache, "a"))
				i.publish(keyB)
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				requireKey(t, cache, "b")
				requireNoSuchKey(t, cache, "a")
				require.Empty(t, cache.Status().LastError)
			})
		})
	}
}

func TestFailuresWithKeysInHandBackOffSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA)
		cache := i.ready(t)
		for range 2 {
			before := i.fetches()
			i.serve("/keys", status(http.StatusInternalServerError))
			time.Sleep(6 * time.Hour)
			gaps := i.gaps()[before:] // without the one after a success
			require.Greater(t, len(gaps), 10)
			for n, gap := range gaps {
				most := min(30*time.Second<<min(n, 10), 10*time.Minute)
				require.LessOrEqual(t, gap, most)
				require.GreaterOrEqual(t, gap, most/2)
			}
			i.publish(keyA)
			require.NoError(t, cache.Refresh(t.Context()))
		}
	})
}

func TestRetryAfterIsObeyedUpToRefresh(t *testing.T) {
	date := func(d time.Duration) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			// Such a date has no fraction of a second, so it must not be cut.
			until := time.Now().Add(d + time.Second - 1).Truncate(time.Second)
			status(429, "Retry-After", until.UTC().Format(http.TimeFormat))(w, r)
		}
	}
	for _, c := range []struct {
		answer http.HandlerFunc
		want   time.Duration
	}{
		{status(503, "Retry-After", "1"), time.Second},
		{status(429, "Retry-After", "300"), 5 * time.Minute},
		{status(429, "Retry-After", "99999999999999999999"), 10 * time.Minute},
		{date(2 * time.Minute), 2 * time.Minute},
		{date(24 * time.Hour), 10 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			i := newIssuer(t)
			i.serve("/keys", c.answer)
			cache := i.cache(t)
			synctest.Wait()
			// And spread, so that a fleet does not come back in one second.
			const spread = 18 * time.Second // 0.6 of 30 s
			within := func(wait time.Duration) {
				require.GreaterOrEqual(t, wait, c.want)
				require.Less(t, wait, c.want+time.Second+spread)
			}
			within(requireUnavailableKey(t, cache, "a"))
			time.Sleep(10 * (c.want + spread))
			synctest.Wait()
			require.GreaterOrEqual(t, len(i.gaps()), 10)
			for _, gap := range i.gaps() {
				within(gap)
			}
		})
	}
}

func TestKeysOlderThanMaxStaleServeNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA)
		cache := i.ready(t, func(c *jwks.Config) { c.MaxStale = time.Hour })
		i.serve("/keys", status(http.StatusInternalServerError))

		time.Sleep(time.Hour - 1)
		requireKey(t, cache, "a")
		require.NoError(t, cache.Ready(t.Context()))
		time.Sleep(time.Nanosecond)
		wait := requireUnavailableKey(t, cache, "a")
		require.Equal(t, time.Until(cache.Status().NextRefresh), wait)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, cache.Ready(ctx), jwks.ErrUnavailable)

		i.publish(keyA)
		require.NoError(t, cache.Ready(t.Context()), "Ready waits for it to heal")
		requireKey(t, cache, "a")
	})
}

func TestAfterMaxStaleTriesComeAsFastAsWithoutAnyKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA)
		cache := i.ready(t, func(c *jwks.Config) { c.MaxStale = time.Hour })
		i.serve("/keys", status(http.StatusInternalServerError))
		time.Sleep(time.Hour)
		time.Sleep(time.Until(cache.Status().NextRefresh))
		synctest.Wait()
		before := i.fetches()
		time.Sleep(time.Hour)
		require.Greater(t, i.fetches()-before, 100)
		for _, gap := range i.gaps()[before:] {
			require.LessOrEqual(t, gap, 30*time.Second)
		}
	})
}

func TestByDefaultAnOutageIsOutlivedForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA)
		cache := i.ready(t)
		i.serve("/keys", hang)
		time.Sleep(24*time.Hour - 1)
		requireKey(t, cache, "a")
		time.Sleep(time.Nanosecond)
		requireUnavailableKey(t, cache, "a")
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestARoundTripperThatMisbehavesIsAnErrorLikeAnyOther(t *testing.T) {
	for name, misbehave := range map[string]func() (*http.Response, error){
		"panics":              func() (*http.Response, error) { panic("a bug of theirs, with a secret") },
		"ends its goroutine":  func() (*http.Response, error) { runtime.Goexit(); return nil, nil },
		"returns nothing":     func() (*http.Response, error) { return nil, nil },
		"returns a nil body":  func() (*http.Response, error) { return &http.Response{StatusCode: 200}, nil },
		"body panics on Read": func() (*http.Response, error) { return &http.Response{StatusCode: 200, Body: panicking{}}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer(t)
				i.publish(keyA)
				var healed atomic.Bool
				cache := i.cache(t, func(c *jwks.Config) {
					c.Client = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
						if healed.Load() {
							return i.client.Transport.RoundTrip(r)
						}
						return misbehave()
					})}
				})
				synctest.Wait()
				requireUnavailableKey(t, cache, "a")
				require.NotEmpty(t, cache.Status().LastError)
				require.NotContains(t, cache.Status().LastError, "secret")
				healed.Store(true)
				require.NoError(t, cache.Ready(t.Context()))
				requireKey(t, cache, "a")
			})
		})
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("a bug of theirs, with a secret") }
func (panicking) Close() error             { return nil }
