package jwks_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
)

func TestReadyWaitsForAFirstSetAndForItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.serve("/keys", status(http.StatusInternalServerError))
		cache := i.cache(t)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		err := cache.Ready(ctx)
		requireUnavailable(t, err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "status 500", "the error says why there is none")
		require.Equal(t, 5*time.Second, time.Since(began))

		i.publish(keyA)
		require.NoError(t, cache.Ready(t.Context()))
		began = time.Now()
		require.NoError(t, cache.Ready(t.Context()))
		require.Zero(t, time.Since(began))
	})
}

func TestReadyDuringTheFirstFetchSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.serve("/keys", hang)
		cache := i.cache(t)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		err := cache.Ready(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "under way")
	})
}

func TestRefreshFetchesNowWhateverTheBucketAndRetryAfterSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		i.serve("/keys", status(429, "Retry-After", "300"))
		for n := range 5 {
			requireUnavailableKey(t, cache, "x")
			requireUnavailable(t, cache.Refresh(t.Context()))
			require.Equal(t, 1+1+n+1, i.fetches())
		}
		i.publish(keyB)
		require.NoError(t, cache.Refresh(t.Context()))
		requireKey(t, cache, "b")
		requireNoSuchKey(t, cache, "a")
	})
}

func TestRefreshIsNotContentWithAnAnswerOlderThanItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		i.serve("/keys", slow(time.Second, text(set(keyA, keyB))))
		go func() { _, _ = cache.Key(t.Context(), "x", "EdDSA") }()
		synctest.Wait()
		i.publish(keyB) // key a was stolen and is withdrawn
		require.NoError(t, cache.Refresh(t.Context()))
		requireNoSuchKey(t, cache, "a")
	})
}

func TestRefreshEndsWithItsContextAndTheFetchGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, cache := settled(t)
		i.serve("/keys", slow(time.Second, text(set(keyB))))
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		err := cache.Refresh(ctx)
		requireUnavailable(t, err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(time.Second)
		synctest.Wait()
		requireKey(t, cache, "b")
	})
}

func TestStatusTellsAnOperatorWhatThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		i := newIssuer(t)
		i.serve("/keys", text(set(keyA, rsaJWK.with(jwk{"kid": "r"}), ec384JWK, jwk{"kty": "oct", "k": "c2VjcmV0", "kid": "hs"})))
		cache := i.ready(t)
		s := cache.Status()
		require.Equal(t, keysURL, s.URL)
		var keys [][3]string
		for _, k := range s.Keys {
			keys = append(keys, [3]string{k.KeyID, k.Algorithm, k.Type})
			require.Len(t, k.Thumbprint, 43)
			require.False(t, k.Denied)
		}
		require.Equal(t, [][3]string{{"a", "EdDSA", "OKP Ed25519"}, {"r", "", "RSA"}, {"", "", "EC P-384"}}, keys)
		require.Equal(t, []jwks.RefusedKey{{3, "hs", "a symmetric key, which no published set may hold"}}, s.Refused)
		require.Equal(t, began, s.Fetched)
		require.True(t, s.NextRefresh.After(began.Add(8*time.Minute-1)) && s.NextRefresh.Before(began.Add(10*time.Minute+1)))
		require.Empty(t, s.LastError)
		require.Zero(t, s.LastErrorAt)
		require.EqualValues(t, 1, s.Fetches)

		s.Refused[0].Reason, s.Keys[0].KeyID = "mine", "mine"
		require.NotContains(t, cache.Status().Keys, s.Keys[0], "a Status is the caller's own")
		require.NotContains(t, cache.Status().Refused, s.Refused[0])

		i.serve("/keys", status(500))
		time.Sleep(quiet)
		requireUnavailableKey(t, cache, "x")
		failed := cache.Status()
		require.Contains(t, failed.LastError, "status 500")
		require.Equal(t, began.Add(quiet), failed.LastErrorAt)
		require.Equal(t, began, failed.Fetched)
		require.Len(t, failed.Keys, 3)
		require.EqualValues(t, []uint64{2, 1, 1}, []uint64{failed.Fetches, failed.Failures, failed.UnknownKeyFetches})

		i.publish(keyA)
		require.NoError(t, cache.Refresh(t.Context()))
		healed := cache.Status()
		require.Empty(t, healed.LastError)
		require.Equal(t, failed.LastErrorAt, healed.LastErrorAt)
		require.Empty(t, healed.Refused)
	})
}

// everything is every question to a Cache that has an error to answer with.
var everything = map[string]func(context.Context, *jwks.Cache) error{
	"known key":   func(ctx context.Context, c *jwks.Cache) error { _, err := c.Key(ctx, "a", "EdDSA"); return err },
	"unknown key": func(ctx context.Context, c *jwks.Cache) error { _, err := c.Key(ctx, "x", "EdDSA"); return err },
	"no kid":      func(ctx context.Context, c *jwks.Cache) error { _, err := c.Key(ctx, "", "EdDSA"); return err },
	"Ready":       func(ctx context.Context, c *jwks.Cache) error { return c.Ready(ctx) },
	"Refresh":     func(ctx context.Context, c *jwks.Cache) error { return c.Refresh(ctx) },
}

func TestAfterCloseEverythingIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA)
		cache := i.ready(t)
		for range 3 {
			require.NoError(t, cache.Close())
		}
		began := time.Now()
		for name, ask := range everything {
			requireUnavailable(t, ask(t.Context(), cache))
			require.ErrorContains(t, ask(t.Context(), cache), "closed", name)
		}
		require.Zero(t, time.Since(began))
		require.Empty(t, cache.Status().Keys)
		require.Zero(t, cache.Status().NextRefresh)
		time.Sleep(24 * time.Hour)
		require.Equal(t, 1, i.fetches())
	})
}

func TestCloseEndsAFetchAndAllWhoWaitForIt(t *testing.T) {
	for _, known := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			i := newIssuer(t)
			var cache *jwks.Cache
			if known {
				i, cache = settled(t)
				i.serve("/keys", hang)
			} else {
				i.serve("/keys", hang)
				cache = i.cache(t)
			}
			began := time.Now()
			var callers sync.WaitGroup
			for name, ask := range everything {
				if known && (name == "known key" || name == "no kid" || name == "Ready") {
					continue // they have their answer
				}
				callers.Go(func() {
					err := ask(t.Context(), cache)
					requireUnavailable(t, err)
					require.ErrorContains(t, err, "closed", name)
				})
			}
			synctest.Wait()
			for range 3 {
				callers.Go(func() { require.NoError(t, cache.Close()) })
			}
			callers.Wait()
			require.Zero(t, time.Since(began))
		})
	}
}

func TestCloseWaitsForAFetchToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		i := newIssuer(t)
		cache := i.cache(t, func(c *jwks.Config) {
			c.Client = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				time.Sleep(time.Second) // it takes its time
				ended = true
				return nil, r.Context().Err()
			})}
		})
		synctest.Wait()
		require.NoError(t, cache.Close())
		require.True(t, ended)
	})
}

func TestNothingIsFetchedAndNothingComesBackAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		i := newIssuer(t)
		cache := i.cache(t, func(c *jwks.Config) {
			c.Client = &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
				asked.Add(1)
				time.Sleep(time.Second) // whatever the context says
				w := httptest.NewRecorder()
				text(set(keyA))(w, nil)
				return w.Result(), nil
			})}
		})
		synctest.Wait()
		require.NoError(t, cache.Close())
		for _, ask := range everything {
			requireUnavailable(t, ask(t.Context(), cache))
		}
		require.Empty(t, cache.Status().Keys)
		time.Sleep(time.Hour)
		require.EqualValues(t, 1, asked.Load())
	})
}

func TestNilAndZeroCachesAreUnavailable(t *testing.T) {
	for _, cache := range []*jwks.Cache{nil, {}} {
		for _, ask := range everything {
			requireUnavailable(t, ask(t.Context(), cache))
		}
		require.Zero(t, cache.Status())
		require.NoError(t, cache.Close())
	}
}

// lines are what a cache logged, one entry a line.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// take returns the lines since the last time.
func (l *lines) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return strings.Split(strings.TrimSpace(l.text.String()), "\n")
}

func TestEachChangeIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		handler := slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})
		i := newIssuer(t)
		i.serve(openID, metadata(issuerID, keysURL))
		secret := jwk{"kty": "oct", "k": "c2VjcmV0", "kid": "evil\n\x1b[31mline\u202e" + strings.Repeat("x", 400)}
		private := keyC.with(jwk{"d": "c2VjcmV0"})
		i.publish(keyA, secret, private)
		i.cache(t, byDiscovery, func(c *jwks.Config) { c.Logger = slog.New(handler) })
		synctest.Wait()
		require.Equal(t, []string{
			`level=INFO msg="jwks: keys fetched" issuer=https://issuer.example url=https://issuer.example/keys keys=1`,
			`level=WARN msg="jwks: a key was left out" issuer=https://issuer.example index=1 kid="evil  [31mline ` +
				strings.Repeat("x", 300-len("evil\n\x1b[31mline\u202e")) + `…" reason="a symmetric key, which no published set may hold"`,
			`level=WARN msg="jwks: a key was left out" issuer=https://issuer.example index=2 kid=c reason="the private half of a key is published: its owner must revoke it"`,
		}, log.take())

		time.Sleep(time.Hour)
		i.publish(private, secret, keyA)
		time.Sleep(time.Hour)
		require.Equal(t, []string{""}, log.take(), "nothing changed but the order")

		i.publish(keyB, keyC)
		time.Sleep(time.Hour)
		require.Equal(t, []string{`level=INFO msg="jwks: the keys changed" issuer=https://issuer.example added=2 withdrawn=1`}, log.take())

		for range 2 {
			i.serve("/keys", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500); text("c2VjcmV0\n")(w, r) })
			time.Sleep(36 * time.Hour)
			outage := log.take()
			require.Len(t, outage, 3)
			require.Contains(t, outage[0], `level=WARN msg="jwks: fetching keys fails"`)
			require.Contains(t, outage[0], "status 500")
			require.Contains(t, outage[1], `level=ERROR msg="jwks: keys have reached half of MaxStale`)
			require.Contains(t, outage[2], `level=ERROR msg="jwks: keys are older than MaxStale`)
			require.NotContains(t, strings.Join(outage, ""), "c2VjcmV0")

			i.publish(keyB, keyC)
			time.Sleep(time.Hour)
			require.Equal(t, []string{
				`level=INFO msg="jwks: keys fetched" issuer=https://issuer.example url=https://issuer.example/keys keys=2`,
			}, log.take())
		}
	})
}

func TestWhatAnErrorQuotesIsEscapedAndBoundedWhereverItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		i := newIssuer(t)
		cache := i.cache(t, func(c *jwks.Config) {
			c.Logger = slog.New(slog.NewJSONHandler(&log, nil))
			c.Client = &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
				return nil, errors.New("malformed answer: evil\n\x1b[31m\u202e" + strings.Repeat("x", 1<<10))
			})}
		})
		refreshed := cache.Refresh(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, told := range []string{refreshed.Error(), cache.Ready(ctx).Error(), cache.Status().LastError} {
			require.Contains(t, told, "evil  [31m xxx")
			require.Less(t, len(told), 400)
		}
		told := log.take()
		require.Len(t, told, 1)
		require.Contains(t, told[0], "evil  [31m xxx")
		require.Less(t, len(told[0]), 600)
	})
}

// stuck is a log handler whose first line waits for release.
type stuck struct {
	slog.Handler
	stuck   *atomic.Bool
	release <-chan struct{}
}

func (s stuck) Enabled(context.Context, slog.Level) bool { return true }

func (s stuck) Handle(context.Context, slog.Record) error {
	if !s.stuck.Swap(true) {
		<-s.release
	}
	return nil
}

func TestALoggerThatHangsHoldsUpNoKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release) // Close waits for the Logger too
		i, cache := settled(t, func(c *jwks.Config) {
			c.Logger = slog.New(stuck{slog.DiscardHandler, new(atomic.Bool), release})
		})
		requireKey(t, cache, "a")
		i.publish(keyB)
		requireKey(t, cache, "b")
		time.Sleep(time.Hour)
		require.Greater(t, i.fetches(), 5)
	})
}

func TestALoggerThatIsSlowHoldsUpNobodyWhoWaitsForTheFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		i, stuckNow := newIssuer(t), new(atomic.Bool)
		stuckNow.Store(true) // not yet
		i.publish(keyA)
		cache := i.ready(t, func(c *jwks.Config) { c.Logger = slog.New(stuck{slog.DiscardHandler, stuckNow, release}) })
		time.Sleep(quiet)
		stuckNow.Store(false)
		i.publish(keyB)
		began := time.Now()
		requireKey(t, cache, "b")
		require.Zero(t, time.Since(began))
	})
}

func TestAFloodIsNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		_, cache := settled(t, func(c *jwks.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		log.take()
		for range 100 {
			requireNoSuchKey(t, cache, "x")
			time.Sleep(time.Second)
		}
		require.Equal(t, []string{""}, log.take())
	})
}
