package jwks_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
)

// alarms is a logger that keeps the errors, and when they came.
type alarms struct {
	slog.Handler
	mu    sync.Mutex
	heard []alarm
}

type alarm struct {
	at   time.Time
	text string
}

func newAlarms() *alarms { return &alarms{Handler: slog.DiscardHandler} }

func (a *alarms) Enabled(context.Context, slog.Level) bool { return true }

func (a *alarms) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.heard = append(a.heard, alarm{time.Now(), r.Message})
	}
	return nil
}

func (a *alarms) config(c *jwks.Config) { c.Logger = slog.New(a) }

// take returns the errors since the last time.
func (a *alarms) take() []alarm {
	a.mu.Lock()
	defer a.mu.Unlock()
	heard := a.heard
	a.heard = nil
	return heard
}

const (
	half = "half of MaxStale"
	dead = "older than MaxStale"
)

func requireAlarm(t *testing.T, text string, at time.Time, a alarm) {
	t.Helper()
	require.Contains(t, a.text, text)
	require.Equal(t, at, a.at)
}

func with(maxStale, refresh time.Duration) func(*jwks.Config) {
	return func(c *jwks.Config) { c.MaxStale, c.Refresh = maxStale, refresh }
}

var outages = map[string]http.HandlerFunc{
	"errors":    status(http.StatusInternalServerError),
	"busy":      status(http.StatusServiceUnavailable, "Retry-After", "3600"),
	"hangs":     hang,
	"empty set": text(set()),
	"cut":       func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
}

func TestAnOutageIsCriedOutAtHalfOfMaxStaleAndAtMaxStaleWithoutAnyTraffic(t *testing.T) {
	for name, outage := range outages {
		for _, maxStale := range []time.Duration{6 * time.Hour, time.Hour, 3*time.Hour + 1} {
			t.Run(name+" "+maxStale.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					i, heard := newIssuer(t), newAlarms()
					i.publish(keyA)
					cache := i.ready(t, heard.config, with(maxStale, 0))
					fetched := cache.Status().Fetched
					i.serve("/keys", outage)

					time.Sleep(maxStale/2 - 1)
					synctest.Wait()
					require.Empty(t, heard.take())
					require.False(t, cache.Status().HalfStale)
					time.Sleep(time.Nanosecond)
					synctest.Wait()
					require.True(t, cache.Status().HalfStale)
					require.False(t, cache.Status().TooStale)
					loud := heard.take()
					require.Len(t, loud, 1)
					requireAlarm(t, half, fetched.Add(maxStale/2), loud[0])

					time.Sleep(time.Until(fetched.Add(maxStale)) - 1)
					synctest.Wait()
					require.Empty(t, heard.take(), "once is enough")
					require.False(t, cache.Status().TooStale)
					time.Sleep(time.Nanosecond)
					synctest.Wait()
					require.True(t, cache.Status().TooStale)
					require.True(t, cache.Status().HalfStale)
					loud = heard.take()
					require.Len(t, loud, 1)
					requireAlarm(t, dead, fetched.Add(maxStale), loud[0])

					time.Sleep(maxStale)
					synctest.Wait()
					require.Empty(t, heard.take(), "once is enough")
				})
			})
		}
	}
}

func TestASuccessEndsTheAlarmAndTheNextOutageIsCriedOutAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, heard := newIssuer(t), newAlarms()
		good := validated(`"v1"`, "", set(keyA)) // from the second time on a 304
		i.serve("/keys", good)
		cache := i.ready(t, heard.config)
		for _, lasts := range []time.Duration{13 * time.Hour, 11 * time.Hour, 30 * time.Hour, 13 * time.Hour, 48 * time.Hour} {
			fetched := cache.Status().Fetched
			i.serve("/keys", status(http.StatusInternalServerError))
			time.Sleep(lasts)
			synctest.Wait()
			loud := heard.take()
			want := 0
			if lasts > 12*time.Hour {
				requireAlarm(t, half, fetched.Add(12*time.Hour), loud[0])
				want++
			}
			if lasts > 24*time.Hour {
				requireAlarm(t, dead, fetched.Add(24*time.Hour), loud[1])
				want++
			}
			require.Len(t, loud, want)

			i.serve("/keys", good)
			require.NoError(t, cache.Refresh(t.Context()))
			s := cache.Status()
			require.False(t, s.HalfStale || s.TooStale)
			time.Sleep(72 * time.Hour)
			require.Empty(t, heard.take(), "no alarm of the outage before is left over")
			require.NoError(t, cache.Refresh(t.Context()))
		}
	})
}

func TestNoAlarmSoundsWhileRefreshesSucceedHoweverShortMaxStaleIs(t *testing.T) {
	for _, maxStale := range []time.Duration{10 * time.Minute, 10*time.Minute + 1, 11 * time.Minute, 19 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			i, heard := newIssuer(t), newAlarms()
			i.serve("/keys", slow(4*time.Second, text(set(keyA))))
			cache := i.ready(t, heard.config, with(maxStale, 0))
			time.Sleep(24 * time.Hour)
			synctest.Wait()
			require.Empty(t, heard.take(), maxStale)
			require.Greater(t, i.fetches(), 100)

			// The next fetch has to fail, and not one that is under way.
			time.Sleep(time.Until(cache.Status().NextRefresh) + 5*time.Second)
			i.serve("/keys", status(http.StatusInternalServerError))
			next := cache.Status().NextRefresh
			fetched := cache.Status().Fetched
			time.Sleep(time.Hour)
			loud := heard.take()
			if next.Before(fetched.Add(maxStale)) {
				require.NotEmpty(t, loud)
				// The first that fails comes after half of MaxStale is over, or before.
				at := fetched.Add(maxStale / 2)
				if next.After(at) {
					at = next
				}
				requireAlarm(t, half, at, loud[0])
				loud = loud[1:]
			}
			require.Len(t, loud, 1)
			if at := fetched.Add(maxStale); next.Before(at) {
				requireAlarm(t, dead, at, loud[0])
			} else {
				requireAlarm(t, dead, next, loud[0])
			}
		})
	}
}

func TestWithoutAnySetThereIsNoAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, heard := newIssuer(t), newAlarms()
		cache := i.cache(t, heard.config)
		time.Sleep(26 * time.Hour)
		require.Empty(t, heard.take(), "it was logged that fetching fails, and nothing has changed since")
		require.False(t, cache.Status().HalfStale || cache.Status().TooStale)
	})
}

func TestKeysOfASnapshotAreCriedOutByTheirAgeToo(t *testing.T) {
	for _, age := range []time.Duration{0, 6 * time.Hour, 13 * time.Hour, 24*time.Hour - time.Second} {
		synctest.Test(t, func(t *testing.T) {
			i, heard := newIssuer(t), newAlarms()
			i.publish(keyA)
			before := i.ready(t)
			fetched, saved := before.Status().Fetched, before.Snapshot()
			require.NoError(t, before.Close())
			i.serve("/keys", status(http.StatusInternalServerError))
			time.Sleep(age)

			cache := i.cache(t, heard.config, func(c *jwks.Config) { c.Snapshot = saved })
			started := time.Now()
			synctest.Wait()
			require.Equal(t, age > 12*time.Hour, cache.Status().HalfStale)
			time.Sleep(25 * time.Hour)
			loud := heard.take()
			require.Len(t, loud, 2)
			at := fetched.Add(12 * time.Hour)
			if age > 12*time.Hour {
				at = started // when it turned out that fetching fails
			}
			requireAlarm(t, half, at, loud[0])
			requireAlarm(t, dead, fetched.Add(24*time.Hour), loud[1])
		})
	}
}

// blocking is a logger that takes its time over errors.
type blocking struct{ *alarms }

func (b *blocking) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		time.Sleep(time.Second)
	}
	return b.alarms.Handle(ctx, r)
}

func TestCloseEndsTheAlarmsAndWaitsForOneThatSounds(t *testing.T) {
	for _, closeAt := range []time.Duration{12*time.Hour - 1, 12 * time.Hour, 24*time.Hour - 1, 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			i, heard := newIssuer(t), &blocking{newAlarms()}
			i.publish(keyA)
			cache := i.ready(t, func(c *jwks.Config) { c.Logger = slog.New(heard) })
			i.serve("/keys", status(http.StatusInternalServerError))
			time.Sleep(closeAt)
			synctest.Wait()
			began := time.Now()
			require.NoError(t, cache.Close())
			waited := time.Since(began)
			texts := ""
			for _, a := range heard.take() {
				texts += a.text
			}
			require.Equal(t, closeAt >= 12*time.Hour, strings.Contains(texts, half))
			require.Equal(t, closeAt >= 24*time.Hour, strings.Contains(texts, dead))
			if closeAt%time.Hour == 0 {
				require.Equal(t, time.Second, waited)
			}
			time.Sleep(72 * time.Hour)
			require.Empty(t, heard.take())
			require.False(t, cache.Status().HalfStale || cache.Status().TooStale)
		})
	}
}
