package introspect_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
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
	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/introspect"
)

const metadata = `{"issuer":"https://issuer.example","introspection_endpoint":"https://issuer.example/introspect"}`

func raw64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func activeForAnHour() *http.Response { return responds(200, activeUntil(time.Now().Add(time.Hour))) }

type hungKeys chan struct{}

func (h hungKeys) Key(context.Context, string, string) (*jwks.Key, error) { <-h; return nil, io.EOF }

// What the Config brings may never come back, whatever its context says: that holds up no
// caller, and counts as what it is, an endpoint that cannot be asked.
func TestWhatTheConfigBroughtHoldsNobodyForLongerThanSevenSeconds(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for name, hung := range map[string]func(stop chan struct{}) introspect.Config{
		"a Transport": func(stop chan struct{}) introspect.Config {
			return inMemory(func(*http.Request) (*http.Response, error) { <-stop; return nil, io.EOF })
		},
		"a ClientKey": func(stop chan struct{}) introspect.Config {
			c := inMemory(nil)
			c.ClientSecret, c.ClientKey = "", brokenSigner{key, func() ([]byte, error) { <-stop; return nil, io.EOF }}
			return c
		},
		"a KeySource": func(stop chan struct{}) introspect.Config {
			c := inMemory(func(*http.Request) (*http.Response, error) {
				claims := fmt.Sprintf(`{"iss":"https://issuer.example","aud":%q,"iat":%d,"token_introspection":{"active":true}}`, clientID, time.Now().Unix())
				res := responds(200, raw64(`{"alg":"ES256","typ":"token-introspection+jwt"}`)+"."+raw64(claims)+".AA")
				res.Header.Set("Content-Type", signedType)
				return res, nil
			})
			c.Signed, c.Keys = true, hungKeys(stop)
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stop := make(chan struct{})
				defer close(stop)
				i := start(t, hung(stop))
				var callers sync.WaitGroup
				for n := range 200 {
					callers.Go(func() {
						began := time.Now()
						_, err := i.Verify(context.Background(), fmt.Sprintf("token-%d", n))
						require.ErrorIs(t, err, jwtverify.ErrUnavailable)
						require.LessOrEqual(t, time.Since(began), 7*time.Second)
					})
				}
				callers.Wait()
				require.True(t, i.Status().Down)
				require.EqualValues(t, 64, i.Status().Failures)
				require.NoError(t, i.Close(), "it waits no longer than callers do")
			})
		})
	}
}

// Metadata that cannot be had is no reason not to ask an endpoint that is known.
func TestAMetadataHostThatHangsMakesNoOutageOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var state atomic.Int32 // 0: all is well; else the endpoint's status, or 1 for a new life without metadata
		c := inMemory(func(r *http.Request) (*http.Response, error) {
			status := int(state.Load())
			if r.Method == http.MethodGet {
				if status > 0 {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}
				return responds(200, metadata), nil
			}
			if err := r.Context().Err(); err != nil {
				return nil, err
			}
			if status > 1 {
				return responds(status, ""), nil
			}
			return activeForAnHour(), nil
		})
		c.Endpoint = ""
		i := start(t, c)
		_, err := i.Verify(t.Context(), "first")
		require.NoError(t, err)
		for _, status := range []int{503, 404} {
			state.Store(int32(status))
			for n := range 3 {
				requireReason(t, i, fmt.Sprintf("lost-%d-%d", status, n), jwtverify.ErrUnavailable)
			}
			require.True(t, i.Status().Down)
			state.Store(1)
			time.Sleep(time.Second)
			began := time.Now()
			// Whoever tries it out may leave before the metadata are given up.
			_, _ = i.Verify(t.Context(), fmt.Sprintf("try-%d", status))
			require.LessOrEqual(t, time.Since(began), time.Second)
			time.Sleep(2 * time.Second)
			_, err = i.Verify(t.Context(), fmt.Sprintf("good-%d", status))
			require.NoError(t, err)
			require.False(t, i.Status().Down)
		}
	})
}

func TestOnlyWhatAMoveExplainsCausesALookAtTheMetadata(t *testing.T) {
	for status, looks := range map[int]int{404: 2, 405: 2, 410: 2, 307: 2, 401: 1, 429: 1, 500: 1, 503: 1, 400: 1, 403: 1, 200: 1} {
		synctest.Test(t, func(t *testing.T) {
			looked, answers := 0, status
			c := inMemory(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodGet {
					looked++
					return responds(200, metadata), nil
				}
				if answers == 0 {
					return activeForAnHour(), nil
				}
				return responds(answers, ""), nil
			})
			c.Endpoint = ""
			i := start(t, c)
			requireReason(t, i, "one", jwtverify.ErrUnavailable)
			answers = 0
			time.Sleep(time.Second)
			_, err := i.Verify(t.Context(), "two")
			require.NoError(t, err)
			require.Equal(t, looks, looked, "%d", status)
		})
	}
}

// The exchanges of callers who have left before they began are not made: they would only
// stand before those of others.
func TestCallersWhoLeaveTakeNoTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		i := start(t, inMemory(func(*http.Request) (*http.Response, error) {
			asked.Add(1)
			time.Sleep(time.Second)
			return responds(200, inactive), nil
		}))
		leave := func(kind string) {
			var callers sync.WaitGroup
			for n := range 1024 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				callers.Go(func() {
					defer cancel()
					_, err := i.Verify(ctx, fmt.Sprintf("%s-%d", kind, n))
					require.ErrorIs(t, err, context.DeadlineExceeded)
				})
			}
			callers.Wait()
		}
		for n := range 20 {
			leave(fmt.Sprintf("gone-%d", n))
		}
		time.Sleep(time.Second)
		require.EqualValues(t, 64, asked.Load())

		// Who comes back after leaving is as good as new.
		asked.Store(0)
		for n := range 64 {
			go func() { _, _ = i.Verify(t.Context(), fmt.Sprintf("busy-%d", n)) }()
		}
		synctest.Wait()
		short, end := context.WithTimeout(t.Context(), time.Millisecond)
		defer end()
		_, err := i.Verify(short, "back")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		var both sync.WaitGroup
		for range 2 { // who share one exchange again
			both.Go(func() { requireReason(t, i, "back", jwtverify.ErrInactive) })
			synctest.Wait()
		}
		both.Wait()
		require.EqualValues(t, 64+1, asked.Load())
		asked.Store(0)
		for n := range 64 {
			go func() { _, _ = i.Verify(t.Context(), fmt.Sprintf("busy-again-%d", n)) }()
		}
		synctest.Wait()
		// One of two leaves, and the other one's exchange is made.
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		go func() { _, _ = i.Verify(ctx, "mine") }()
		requireReason(t, i, "mine", jwtverify.ErrInactive)
		require.EqualValues(t, 64+1, asked.Load())
	})
}

// An exchange that began goes on when its caller leaves, for whoever comes next with the
// token.
func TestAnExchangeThatBeganGoesOnForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		i := start(t, inMemory(func(*http.Request) (*http.Response, error) {
			asked.Add(1)
			time.Sleep(time.Second)
			return activeForAnHour(), nil
		}))
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := i.Verify(ctx, opaque)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		began := time.Now()
		_, err = i.Verify(t.Context(), opaque)
		require.NoError(t, err)
		require.Equal(t, 500*time.Millisecond, time.Since(began))
		require.EqualValues(t, 1, asked.Load())
	})
}

func TestAnExchangeTakesFiveSecondsWithTheLookForTheEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(func(r *http.Request) (*http.Response, error) {
			pause := time.Hour
			if r.Method == http.MethodGet {
				pause = time.Second
			}
			select {
			case <-time.After(pause):
				return responds(200, metadata), nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		c.Endpoint = ""
		began := time.Now()
		requireReason(t, start(t, c), opaque, jwtverify.ErrUnavailable)
		require.Equal(t, 5*time.Second, time.Since(began))
	})
}

func TestAPauseThatTheMetadataHostAsksForIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(func(*http.Request) (*http.Response, error) {
			res := responds(503, "")
			res.Header.Set("Retry-After", "20")
			return res, nil
		})
		c.Endpoint = ""
		i := start(t, c)
		require.Equal(t, 20*time.Second, requireReason(t, i, opaque, jwtverify.ErrUnavailable).RetryAfter)
		require.Equal(t, 20*time.Second, time.Until(i.Status().NextTry))
	})
}

func TestCloseWaitsForExchangesAndCallersDoNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Bool
		i := start(t, inMemory(func(*http.Request) (*http.Response, error) {
			time.Sleep(3 * time.Second)
			ended.Store(true)
			return activeForAnHour(), nil
		}))
		began := time.Now()
		var callers sync.WaitGroup
		for n := range 100 { // more than there are turns
			callers.Go(func() {
				requireReason(t, i, fmt.Sprintf("token-%d", n), jwtverify.ErrUnavailable)
				require.Zero(t, time.Since(began))
			})
		}
		synctest.Wait()
		require.NoError(t, i.Close())
		require.True(t, ended.Load())
		require.Equal(t, 3*time.Second, time.Since(began))
		callers.Wait()
	})
}

func TestCloseEndsWhatWaitsForATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, inMemory(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		for n := range 100 { // more than there are turns
			go func() { _, _ = i.Verify(context.Background(), fmt.Sprintf("token-%d", n)) }()
		}
		synctest.Wait()
		began := time.Now()
		require.NoError(t, i.Close())
		require.Zero(t, time.Since(began))
	})
}

// What an answer says was true when it was asked for, not when it came.
func TestAnAnswerIsKeptFromWhenItWasAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		for _, says := range []string{`{"active":true,"aud":"` + audience + `"}`, inactive} {
			asked.Store(0)
			c := inMemory(func(*http.Request) (*http.Response, error) {
				asked.Add(1)
				time.Sleep(4 * time.Second)
				return responds(200, says), nil
			})
			c.TTL, c.NegativeTTL = 10*time.Second, 10*time.Second
			i := start(t, c)
			_, _ = i.Verify(t.Context(), opaque)
			time.Sleep(6*time.Second - time.Nanosecond)
			_, _ = i.Verify(t.Context(), opaque)
			require.EqualValues(t, 1, asked.Load())
			time.Sleep(time.Nanosecond)
			_, _ = i.Verify(t.Context(), opaque)
			require.EqualValues(t, 2, asked.Load())
		}
	})
}

// 2 s for a turn and 5.5 s for an exchange that does not end are more than anybody waits.
func TestNobodyWaitsForSevenSecondsAndAHalf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		defer close(stop)
		i := start(t, inMemory(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			if strings.Contains(string(body), "busy") {
				time.Sleep(1900 * time.Millisecond)
				return responds(200, inactive), nil
			}
			<-stop
			return nil, io.EOF
		}))
		for n := range 64 {
			go func() { _, _ = i.Verify(t.Context(), fmt.Sprintf("busy-%d", n)) }()
		}
		synctest.Wait()
		began := time.Now()
		requireReason(t, i, opaque, jwtverify.ErrUnavailable)
		require.Equal(t, 7*time.Second, time.Since(began))
	})
}

// Who comes and leaves at once must not leave a wait of 2 s behind each time, with the
// token in it.
func TestCallersWhoLeaveLeaveNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		defer close(stop)
		i := start(t, inMemory(func(*http.Request) (*http.Response, error) { <-stop; return nil, io.EOF }))
		for n := range 64 {
			go func() { _, _ = i.Verify(t.Context(), fmt.Sprintf("busy-%d", n)) }()
		}
		synctest.Wait()
		before := runtime.NumGoroutine()
		var callers sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for n := range 900 {
			callers.Go(func() { _, _ = i.Verify(ctx, fmt.Sprintf("gone-%d", n)) })
		}
		synctest.Wait()
		require.Greater(t, runtime.NumGoroutine(), before+1000, "a caller's, and one that waits for a turn")
		cancel()
		callers.Wait()
		synctest.Wait()
		require.Less(t, runtime.NumGoroutine(), before+100)
	})
}

// What was given up is counted then, and not once more when it ends after all.
func TestAnExchangeThatHungIsCountedOnce(t *testing.T) {
	for name, c := range map[string]struct {
		ends func() (*http.Response, error)
		last string
	}{
		"with an error":  {func() (*http.Response, error) { return nil, io.EOF }, "the exchange: it went on past its deadline"},
		"with a 404":     {func() (*http.Response, error) { return responds(404, ""), nil }, "the exchange: it went on past its deadline"},
		"with a 400":     {func() (*http.Response, error) { return responds(400, ""), nil }, "the exchange: it went on past its deadline"},
		"with an answer": {func() (*http.Response, error) { return activeForAnHour(), nil }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := inMemory(func(*http.Request) (*http.Response, error) {
					time.Sleep(20 * time.Second)
					return c.ends()
				})
				var log journal
				config.TTL, config.Logger = 5*time.Minute, log.logger()
				i := start(t, config)
				requireReason(t, i, opaque, jwtverify.ErrUnavailable)
				at := i.Status().LastErrorAt
				for range 2 {
					require.EqualValues(t, 1, i.Status().Exchanges)
					require.EqualValues(t, 1, i.Status().Failures)
					require.Equal(t, at, i.Status().LastErrorAt)
					time.Sleep(20 * time.Second)
				}
				require.Equal(t, c.last, i.Status().LastError)
				require.False(t, i.Status().Down, "nor does it say any more about the others")
				require.Equal(t, 1, strings.Count(log.String(), "level=ERROR"), log.String())
				require.Zero(t, i.Status().Active.Entries, "nor about the token, of which others may have said more since")
			})
		})
	}
}

// hungLog is a Logger's handler that never comes back from what is louder than a warning.
type hungLog struct {
	slog.Handler
	stop chan struct{}
}

func (h hungLog) Enabled(_ context.Context, level slog.Level) bool { return level > slog.LevelWarn }

func (h hungLog) Handle(context.Context, slog.Record) error { <-h.stop; return nil }

func TestALoggerThatHangsHoldsNobodyEither(t *testing.T) {
	for name, f := range map[string]func(stop chan struct{}) roundTrip{
		"with a Transport that hangs": func(stop chan struct{}) roundTrip {
			return func(*http.Request) (*http.Response, error) { <-stop; return nil, io.EOF }
		},
		"with one that fails": func(chan struct{}) roundTrip {
			return func(*http.Request) (*http.Response, error) { return responds(500, ""), nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stop := make(chan struct{})
				defer close(stop)
				c := inMemory(f(stop))
				c.Logger = slog.New(hungLog{slog.DiscardHandler, stop})
				i := start(t, c)
				began := time.Now()
				requireReason(t, i, opaque, jwtverify.ErrUnavailable)
				require.LessOrEqual(t, time.Since(began), 7*time.Second)
				require.EqualValues(t, 1, i.Status().Failures)

				go func() { _, _ = i.Verify(t.Context(), "another") }()
				synctest.Wait()
				began = time.Now()
				require.NoError(t, i.Close())
				require.LessOrEqual(t, time.Since(began), 6*time.Second)
			})
		})
	}
}
