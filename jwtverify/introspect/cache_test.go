package introspect_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/introspect"
)

// issuer is one in memory, for tests about time.
type issuer struct {
	asked  int
	answer string
}

func (i *issuer) RoundTrip(*http.Request) (*http.Response, error) {
	i.asked++
	return responds(200, i.answer), nil
}

const inactive = `{"active":false}`

func (i *issuer) start(t *testing.T, change func(*introspect.Config)) *introspect.Introspector {
	c := inMemory(i.RoundTrip)
	if change != nil {
		change(&c)
	}
	return start(t, c)
}

func TestARevokedTokenLivesForTTLAndNoLonger(t *testing.T) {
	for _, ttl := range []time.Duration{0, time.Second, 5 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			issuer := &issuer{answer: activeUntil(time.Now().Add(time.Hour))}
			i := issuer.start(t, func(c *introspect.Config) { c.TTL = ttl })
			if ttl == 0 {
				ttl = 30 * time.Second
			}
			_, err := i.Verify(t.Context(), opaque)
			require.NoError(t, err)
			issuer.answer = inactive
			time.Sleep(ttl - time.Nanosecond)
			_, err = i.Verify(t.Context(), opaque)
			require.NoError(t, err)
			require.Equal(t, 1, issuer.asked)
			time.Sleep(time.Nanosecond)
			requireReason(t, i, opaque, jwtverify.ErrInactive)
			require.Equal(t, 2, issuer.asked)
		})
	}
}

// What the issuer says it knew when it was asked, at the earliest.
func TestTTLBeginsWhenTheIssuerIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		i := start(t, inMemory(func(*http.Request) (*http.Response, error) {
			asked++
			time.Sleep(4 * time.Second)
			return responds(200, `{"active":true,"aud":"`+audience+`"}`), nil
		}))
		_, err := i.Verify(t.Context(), opaque)
		require.NoError(t, err)
		time.Sleep(26*time.Second - time.Nanosecond)
		_, err = i.Verify(t.Context(), opaque)
		require.NoError(t, err)
		require.Equal(t, 1, asked)
		time.Sleep(time.Nanosecond)
		_, err = i.Verify(t.Context(), opaque)
		require.NoError(t, err)
		require.Equal(t, 2, asked)
	})
}

// RFC 7662 §4: an answer is of no use any more when the token has expired.
func TestNoAnswerIsKeptPastExp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := &issuer{answer: activeUntil(time.Now().Add(10 * time.Second))}
		i := issuer.start(t, nil)
		_, err := i.Verify(t.Context(), opaque)
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		for n := range 3 { // within leeway the issuer is asked each time
			_, err = i.Verify(t.Context(), opaque)
			require.NoError(t, err)
			require.Equal(t, 2+n, issuer.asked)
		}
		time.Sleep(30 * time.Second)
		requireReason(t, i, opaque, jwtverify.ErrExpired)
	})
}

func TestARefusalIsKeptForNegativeTTL(t *testing.T) {
	for _, c := range []struct {
		answer string
		reason jwtverify.Reason
	}{
		{inactive, jwtverify.ErrInactive},
		{`{"active":true}`, jwtverify.ErrClaims},
		{`{"active":true,"aud":"other"}`, jwtverify.ErrAudience},
	} {
		for _, bytes := range []int{0, -1} {
			synctest.Test(t, func(t *testing.T) {
				issuer := &issuer{answer: c.answer}
				i := issuer.start(t, func(c *introspect.Config) { c.CacheBytes = bytes })
				requireReason(t, i, opaque, c.reason)
				issuer.answer = activeUntil(time.Now().Add(time.Hour))
				time.Sleep(5*time.Second - time.Nanosecond)
				refused := requireReason(t, i, opaque, c.reason)
				refused.Reason = "mine to change"
				requireReason(t, i, opaque, c.reason)
				require.Equal(t, 1, issuer.asked)
				time.Sleep(time.Nanosecond)
				_, err := i.Verify(t.Context(), opaque)
				require.NoError(t, err)
			})
		}
	}
}

// A token is refused for being early no longer than it is.
func TestATokenThatWasEarlyIsTakenWhenItsTimeComes(t *testing.T) {
	for _, claim := range []string{"nbf", "iat"} {
		synctest.Test(t, func(t *testing.T) {
			begins := time.Now().Truncate(time.Second).Add(33 * time.Second)
			issuer := &issuer{answer: fmt.Sprintf(`{"active":true,"aud":%q,%q:%d}`, audience, claim, begins.Unix())}
			i := issuer.start(t, func(c *introspect.Config) { c.NegativeTTL = 30 * time.Second })
			requireReason(t, i, opaque, jwtverify.ErrNotYetValid)
			time.Sleep(time.Until(begins.Add(-30*time.Second)) - time.Nanosecond) // leeway
			requireReason(t, i, opaque, jwtverify.ErrNotYetValid)
			require.Equal(t, 1, issuer.asked)
			time.Sleep(time.Nanosecond)
			_, err := i.Verify(t.Context(), opaque)
			require.NoError(t, err)
		})
	}
}

// The issuer may take a date back.
func TestATokenThatIsFarTooEarlyIsRefusedForNegativeTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := &issuer{answer: fmt.Sprintf(`{"active":true,"aud":%q,"nbf":%d}`, audience, time.Now().Add(time.Hour).Unix())}
		i := issuer.start(t, nil)
		requireReason(t, i, opaque, jwtverify.ErrNotYetValid)
		issuer.answer = activeUntil(time.Now().Add(time.Hour))
		time.Sleep(5 * time.Second)
		_, err := i.Verify(t.Context(), opaque)
		require.NoError(t, err)
	})
}

func TestWithoutACacheTheIssuerIsAskedEachTime(t *testing.T) {
	e, i := world(t, func(c *introspect.Config) { c.CacheBytes = -1 })
	for range 3 {
		_, err := i.Verify(t.Context(), opaque)
		require.NoError(t, err)
	}
	require.EqualValues(t, 3, e.asked.Load())
	e.say(says(claims{"active": false}))
	requireReason(t, i, opaque, jwtverify.ErrInactive)
}

func TestAKeptAnswerOutlivesAnOutageOfTheEndpointUntilTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := false
		answer := activeUntil(time.Now().Add(time.Hour))
		i := start(t, inMemory(func(*http.Request) (*http.Response, error) {
			if down {
				return nil, io.ErrUnexpectedEOF
			}
			return responds(200, answer), nil
		}))
		_, err := i.Verify(t.Context(), opaque)
		require.NoError(t, err)
		down = true
		requireReason(t, i, "another", jwtverify.ErrUnavailable)
		_, err = i.Verify(t.Context(), opaque)
		require.NoError(t, err)
		time.Sleep(30 * time.Second)
		requireReason(t, i, opaque, jwtverify.ErrUnavailable)
	})
}

func TestATokenBelongsToWhoGotIt(t *testing.T) {
	_, i := world(t)
	for range 3 {
		token, err := i.Verify(t.Context(), opaque)
		require.NoError(t, err)
		require.Equal(t, []string{"read:orders", "write:orders"}, token.Scopes)
		token.Audience = append(token.Audience, "mine")
		require.Equal(t, []string{"read:orders", "write:orders"}, token.Scopes, "nor do its lists share anything")
		token.Scopes[0] = "admin"
		token.Scopes = append(token.Scopes, "root")
		token.Audience[0] = "changed"
		token.Subject = "mallory"
	}
}

func TestLongTokensThatDifferAtTheirEndAreTwo(t *testing.T) {
	e, i := world(t)
	good, bad := strings.Repeat("a", 16<<10-1)+"1", strings.Repeat("a", 16<<10-1)+"2"
	ok, no := says(active(e.URL, nil)), says(claims{"active": false})
	e.say(func(w http.ResponseWriter, r *http.Request) {
		if r.PostForm.Get("token") == good {
			ok(w, r)
		} else {
			no(w, r)
		}
	})
	_, err := i.Verify(t.Context(), good)
	require.NoError(t, err)
	requireReason(t, i, bad, jwtverify.ErrInactive)
}

func TestAnswersAreBoundInBytes(t *testing.T) {
	const limit = 64 << 10
	e, i := world(t, func(c *introspect.Config) { c.CacheBytes = limit })
	for n := range 300 {
		_, err := i.Verify(t.Context(), fmt.Sprintf("token-%d", n))
		require.NoError(t, err)
		require.LessOrEqual(t, i.Status().Active.Bytes, int64(limit))
	}
	require.Positive(t, i.Status().Active.Entries)
	require.Less(t, i.Status().Active.Entries, 300)
	e.say(says(claims{"active": false}))
	for n := range 300 {
		requireReason(t, i, fmt.Sprintf("made-up-%d", n), jwtverify.ErrInactive)
	}
	require.Equal(t, 300, i.Status().Refused.Entries)
	require.LessOrEqual(t, i.Status().Refused.Bytes, int64(1<<20))
}

func TestAnswersTakeNoMoreMemoryThanTheyAreCountedFor(t *testing.T) {
	const limit = 4 << 20
	answer := `{"active":true,"aud":"` + audience + `","sub":"some-subject","scope":"a b c d e f g h i j \u006b","exp":%d,"client_id":"shop","username":"alice"}`
	for name, c := range map[string]struct {
		answer string
		reason jwtverify.Reason
		limit  int64
	}{
		"active":         {fmt.Sprintf(answer, time.Now().Add(time.Hour).Unix()), "", limit},
		"inactive":       {inactive, jwtverify.ErrInactive, 1 << 20},
		"not as allowed": {`{"active":true}`, jwtverify.ErrClaims, 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := &issuer{answer: c.answer}
			i := issuer.start(t, func(c *introspect.Config) { c.CacheBytes = limit })
			heap := func() int64 {
				runtime.GC()
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return int64(m.HeapAlloc)
			}
			before := heap()
			for n := range 10_000 {
				_, err := i.Verify(t.Context(), fmt.Sprintf("token-%d", n))
				require.Equal(t, c.reason, jwtverify.ReasonOf(err))
			}
			took, status := heap()-before, i.Status().Active
			if c.reason != "" {
				status = i.Status().Refused
			}
			require.Greater(t, status.Bytes, c.limit/2)
			require.LessOrEqual(t, status.Bytes, c.limit)
			require.Positive(t, status.Evictions)
			require.LessOrEqual(t, took, status.Bytes+status.Bytes/10)
			t.Logf("%d answers, counted as %d bytes, take %d", status.Entries, status.Bytes, took)
		})
	}
}

func TestAllWhoHaveATokenShareOneExchange(t *testing.T) {
	arrived, answer := make(chan struct{}), make(chan struct{})
	e, i := world(t)
	ok := says(active(e.URL, nil))
	e.say(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-answer
		ok(w, r)
	})
	var callers sync.WaitGroup
	var accepted atomic.Int32
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := i.Verify(ctx, opaque)
		left <- err
	}()
	<-arrived
	for range 50 {
		callers.Go(func() {
			if _, err := i.Verify(t.Context(), opaque); err == nil {
				accepted.Add(1)
			}
		})
	}
	leave() // the first caller takes nobody's answer along
	err := <-left
	require.ErrorIs(t, err, jwtverify.ErrUnavailable)
	close(answer)
	callers.Wait()
	require.EqualValues(t, 50, accepted.Load())
	require.EqualValues(t, 1, e.asked.Load())
}

func TestWhoIsGoneAlreadyCausesNoExchange(t *testing.T) {
	e, i := world(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := i.Verify(ctx, opaque)
	require.ErrorIs(t, err, jwtverify.ErrUnavailable)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, jwtverify.ErrInvalidToken)
	require.Equal(t, jwtverify.ErrUnavailable, jwtverify.ReasonOf(err))
	var own *jwtverify.Error
	require.ErrorAs(t, err, &own)
	require.Zero(t, e.asked.Load())
}

// 64 exchanges at once, and 1,024 tokens that are waited for; nobody else waits at all, and who
// waits for a turn does so for 2 s.
func TestAFloodOfMadeUpTokensIsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most, all int
		var mu sync.Mutex
		i := start(t, inMemory(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			now++
			all++
			most = max(most, now)
			mu.Unlock()
			select {
			case <-time.After(3 * time.Second):
			case <-r.Context().Done():
			}
			mu.Lock()
			now--
			mu.Unlock()
			return responds(200, inactive), nil
		}))
		began := time.Now()
		var callers sync.WaitGroup
		var atOnce, turned, judged atomic.Int32
		for n := range 1500 {
			callers.Go(func() {
				_, err := i.Verify(t.Context(), fmt.Sprintf("made-up-%d", n))
				switch {
				case errors.Is(err, jwtverify.ErrInactive):
					judged.Add(1)
				case errors.Is(err, jwtverify.ErrUnavailable) && time.Since(began) == 0:
					atOnce.Add(1)
				case errors.Is(err, jwtverify.ErrUnavailable) && time.Since(began) == 2*time.Second:
					turned.Add(1)
				}
			})
		}
		callers.Wait()
		require.Equal(t, []int32{1500 - 1024, 1024 - 64, 64}, []int32{atOnce.Load(), turned.Load(), judged.Load()})
		require.Equal(t, 64, most)
		require.Equal(t, 64, all)
		require.False(t, i.Status().Down, "a crowd is no outage")
	})
}

func TestCloseEndsExchangesAndLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	arrived := make(chan struct{})
	e := newEndpoint(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	var log journal
	c := e.config()
	c.Logger = log.logger()
	i, err := introspect.New(c)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		_, err := i.Verify(context.Background(), opaque)
		ended <- err
	}()
	<-arrived
	require.NoError(t, i.Close())
	require.ErrorIs(t, <-ended, jwtverify.ErrUnavailable)
	require.Zero(t, i.Status().Failures, "an end is no failure")
	require.NotContains(t, log.String(), "level=ERROR")
	e.Close()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "%d goroutines, %d before", runtime.NumGoroutine(), before)
	}
}

func TestManyCallersAtOnceAgree(t *testing.T) {
	e, i := world(t, func(c *introspect.Config) { c.TTL = time.Millisecond })
	ok, no := says(active(e.URL, nil)), says(claims{"active": false})
	e.say(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.PostForm.Get("token"), "good") {
			ok(w, r)
		} else {
			no(w, r)
		}
	})
	var callers sync.WaitGroup
	var wrong atomic.Int32
	for n := range 8 {
		callers.Go(func() {
			for m := range 100 {
				_, err := i.Verify(t.Context(), fmt.Sprintf("good-%d", m%5))
				if err != nil {
					wrong.Add(1)
				}
				if _, err := i.Verify(t.Context(), fmt.Sprintf("bad-%d-%d", n, m%5)); !errors.Is(err, jwtverify.ErrInactive) {
					wrong.Add(1)
				}
				if m%10 == 0 {
					_ = i.Status()
				}
			}
		})
	}
	callers.Wait()
	require.Zero(t, wrong.Load())
}

func TestAKeptAnswerCostsOneAllocation(t *testing.T) {
	_, i := world(t)
	ctx := context.Background()
	_, err := i.Verify(ctx, opaque)
	require.NoError(t, err)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = i.Verify(ctx, opaque) }), 1.0)
}

// What an exchange costs with an issuer on the same machine.
func BenchmarkExchange(b *testing.B) {
	s := httptest.NewServer(says(claims{"active": true, "aud": audience}))
	defer s.Close()
	i, err := introspect.New(introspect.Config{
		Issuer: s.URL, Endpoint: s.URL, Audience: []string{audience}, ClientID: clientID, ClientSecret: secret, CacheBytes: -1,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer i.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := i.Verify(context.Background(), opaque); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkKeptAnswer(b *testing.B) {
	for name, token := range map[string]string{"opaque": opaque, "JWT": strings.Repeat("eyJhbGciOiJS", 60)} {
		b.Run(name, func(b *testing.B) {
			exp := activeUntil(time.Now().Add(time.Hour))
			c := inMemory(func(*http.Request) (*http.Response, error) { return responds(200, exp), nil })
			c.TTL = 5 * time.Minute
			i, err := introspect.New(c)
			if err != nil {
				b.Fatal(err)
			}
			defer i.Close()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := i.Verify(context.Background(), token); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// Who has one token, and can have many requests wait for it, keeps out nobody who has
// another.
func TestAsManyAsWaitForOneTokenKeepNoOtherOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, inMemory(func(r *http.Request) (*http.Response, error) {
			if err := r.ParseForm(); err != nil || r.PostForm.Get("token") == "slow" {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return responds(200, inactive), nil
		}))
		var callers sync.WaitGroup
		for range 2000 {
			callers.Go(func() { requireReason(t, i, "slow", jwtverify.ErrUnavailable) })
		}
		synctest.Wait()
		requireReason(t, i, "another", jwtverify.ErrInactive)
		callers.Wait()
	})
}
