package introspect_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
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

// whose is what an endpoint's trouble with one token means for others.
type whose int

const (
	everyones whose = iota // it certainly is not the token's doing
	suspected              // three different tokens in a row make it everyone's
	theTokens              // never
)

// One row for each way in which an endpoint fails: none is a refusal. What may be the
// doing of one token, as where a firewall does not like it, stops nobody else.
func TestTroubleWithTheEndpointIsAnOutageAndNotARefusal(t *testing.T) {
	drop := func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }
	raw := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.WriteString(c, text)
				_ = c.Close()
			}
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		whose  whose
		config bool
	}{
		"401":                       {answer: fails(401), config: true},
		"404":                       {answer: fails(404)},
		"405":                       {answer: fails(405)},
		"410":                       {answer: fails(410)},
		"429":                       {answer: fails(429)},
		"204":                       {answer: fails(204), whose: suspected},
		"408":                       {answer: fails(408), whose: suspected},
		"500":                       {answer: fails(500), whose: suspected},
		"502":                       {answer: fails(502), whose: suspected},
		"503":                       {answer: fails(503), whose: suspected},
		"a redirect":                {answer: http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect).ServeHTTP, whose: suspected},
		"a connection that ends":    {answer: drop, whose: suspected},
		"no HTTP":                   {answer: raw("nonsense " + opaque + "\r\n\r\n"), whose: suspected},
		"the token as a status":     {answer: raw("HTTP/1.1 " + opaque + "\r\n\r\n"), whose: suspected},
		"the token as a field":      {answer: raw("HTTP/1.1 200 OK\r\n" + opaque + "\r\n\r\n"), whose: suspected},
		"a body that is cut short":  {answer: raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"), whose: suspected},
		"a chunk that is no number": {answer: raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + opaque + "\r\n"), whose: suspected},
		"a page":                    {answer: saysText("text/html", "<title>"+opaque+"</title>"), whose: suspected},
		"no JSON":                   {answer: saysText("application/json", opaque), whose: suspected},
		"larger than any can be":    {answer: saysText("application/json", strings.Repeat(" ", 300<<10)), whose: suspected},
		"400":                       {answer: fails(400), whose: theTokens, config: true},
		"402":                       {answer: fails(402), whose: theTokens},
		"403":                       {answer: fails(403), whose: theTokens, config: true},
		"413":                       {answer: fails(413), whose: theTokens},
	} {
		t.Run(name, func(t *testing.T) {
			var log journal
			e, i := world(t, func(c *introspect.Config) { c.Logger = log.logger() })
			bad, good := c.answer, says(active(e.URL, nil))
			e.say(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.PostForm.Get("token"), "good") {
					good(w, r)
					return
				}
				bad(w, r)
			})
			failed := requireReason(t, i, opaque, jwtverify.ErrUnavailable)
			require.Positive(t, failed.RetryAfter)
			require.LessOrEqual(t, failed.RetryAfter, time.Second)
			require.NotContains(t, failed.Detail, "wrapError", "what it wraps would say more")
			asked := e.asked.Load()
			requireReason(t, i, opaque, jwtverify.ErrUnavailable)
			require.Equal(t, asked, e.asked.Load(), "a failure is not repeated at once")
			require.Equal(t, c.whose == everyones, i.Status().Down)
			if c.whose != everyones {
				_, err := i.Verify(t.Context(), "good-1")
				require.NoError(t, err)
				for n := range 2 {
					requireReason(t, i, fmt.Sprintf("after-an-answer-%d", n), jwtverify.ErrUnavailable)
				}
				require.False(t, i.Status().Down, "an answer came between")
				requireReason(t, i, "the-third", jwtverify.ErrUnavailable)
				require.Equal(t, c.whose == suspected, i.Status().Down)
			}

			asked = e.asked.Load()
			_, err := i.Verify(t.Context(), "good-2")
			if c.whose == theTokens {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, jwtverify.ErrUnavailable)
				require.Equal(t, asked, e.asked.Load())
			}
			require.Equal(t, c.config, strings.Contains(log.String(), "level=ERROR msg=\"introspect: the introspection endpoint refuses to be asked"), log.String())
			requireNoSecret(t, log.String()+fmt.Sprintf("%+v", i.Status()))
		})
	}
}

func requireNoSecret(t *testing.T, text string) {
	t.Helper()
	for _, hidden := range []string{opaque, "opaque-token", secret, "s3cr", "czNjc"} {
		require.NotContains(t, text, hidden)
	}
}

func TestAnEndpointThatIsNotThereIsAnOutage(t *testing.T) {
	e, i := world(t)
	e.Close()
	requireReason(t, i, opaque, jwtverify.ErrUnavailable)
	require.True(t, i.Status().Down, "no token was sent whose doing it could be")

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	i = start(t, func() introspect.Config {
		c := e.config()
		c.Endpoint = "https://" + listener.Addr().String()
		return c
	}())
	go func() {
		if c, err := listener.Accept(); err == nil {
			_, _ = bufio.NewReader(c).ReadByte()
			_ = c.Close() // in the middle of the handshake
		}
	}()
	requireReason(t, i, opaque, jwtverify.ErrUnavailable)
	require.True(t, i.Status().Down, "nor was one sent here")
}

func TestATokenGoesOnlyToAServerWithATrustedCertificate(t *testing.T) {
	var seen atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		says(active("https://"+r.Host, nil))(w, r)
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	defer s.Close()
	c := introspect.Config{
		Issuer: s.URL, Endpoint: s.URL, Audience: []string{audience}, ClientID: clientID, ClientSecret: secret,
		Logger: slog.New(slog.DiscardHandler),
	}
	failed := requireReason(t, start(t, c), opaque, jwtverify.ErrUnavailable)
	require.Contains(t, failed.Detail, "certificate")
	require.Zero(t, seen.Load())

	c.TLS = s.Client().Transport.(*http.Transport).TLSClientConfig
	_, err := start(t, c).Verify(t.Context(), opaque)
	require.NoError(t, err)
}

// roundTrip is a caller's transport, in memory, for tests about time.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func inMemory(f roundTrip) introspect.Config {
	return introspect.Config{
		Issuer: "https://issuer.example", Endpoint: "https://issuer.example/introspect", Audience: []string{audience},
		ClientID: clientID, ClientSecret: secret, Client: &http.Client{Transport: f}, Logger: slog.New(slog.DiscardHandler),
	}
}

func responds(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
	}
}

func activeUntil(exp time.Time) string {
	return fmt.Sprintf(`{"active":true,"aud":%q,"exp":%d}`, audience, exp.Unix())
}

func TestADeadEndpointCostsNobodyFiveSecondsTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		var healed atomic.Bool
		i := start(t, inMemory(func(r *http.Request) (*http.Response, error) {
			asked.Add(1)
			if !healed.Load() {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return responds(200, activeUntil(time.Now().Add(time.Hour))), nil
		}))
		spend := func(token string) time.Duration {
			began := time.Now()
			requireReason(t, i, token, jwtverify.ErrUnavailable)
			return time.Since(began)
		}
		together := func(kind string) (longest time.Duration) {
			var spent [4]time.Duration
			var callers sync.WaitGroup
			for n := range spent {
				callers.Go(func() { spent[n] = spend(fmt.Sprintf("%s-%d", kind, n)) })
			}
			callers.Wait()
			return slices.Max(spent[:])
		}
		require.Equal(t, 5*time.Second, together("first"))
		for n := range 20 {
			require.Zero(t, spend(fmt.Sprintf("token-%d", n)))
		}
		require.EqualValues(t, 4, asked.Load())
		var pauses []time.Duration
		for len(pauses) < 9 {
			pause := time.Until(i.Status().NextTry)
			pauses = append(pauses, pause)
			time.Sleep(pause)
			before := asked.Load()
			require.Equal(t, time.Second, together("try"), "who tries it out waits a second and no more")
			require.Zero(t, spend("while-it-is-tried-out"))
			require.Equal(t, before+4, asked.Load())
			time.Sleep(4 * time.Second) // the tries end
			synctest.Wait()
		}
		for n, pause := range pauses {
			longest := min(30*time.Second, time.Second<<n)
			require.LessOrEqual(t, pause, longest)
			require.GreaterOrEqual(t, pause, longest/2)
		}

		healed.Store(true)
		time.Sleep(30 * time.Second)
		for n := range 3 {
			_, err := i.Verify(t.Context(), fmt.Sprintf("healed-%d", n))
			require.NoError(t, err)
		}
		require.False(t, i.Status().Down)
		require.Empty(t, i.Status().LastError)
	})
}

// Ten calls that fail at the same time are one outage: the pause after it is the first
// one. And what was asked before it began does not end it.
func TestAnOutageIsCountedOnceHoweverManyMeetIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, inMemory(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			if strings.Contains(string(body), "slow") {
				time.Sleep(3 * time.Second)
				return responds(200, activeUntil(time.Now().Add(time.Hour))), nil
			}
			time.Sleep(2900 * time.Millisecond)
			return responds(500, ""), nil
		}))
		var callers sync.WaitGroup
		for n := range 10 {
			callers.Go(func() { requireReason(t, i, fmt.Sprintf("failing-%d", n), jwtverify.ErrUnavailable) })
		}
		callers.Go(func() {
			_, err := i.Verify(t.Context(), "slow")
			require.NoError(t, err)
		})
		callers.Wait()
		require.True(t, i.Status().Down)
		require.LessOrEqual(t, time.Until(i.Status().NextTry), 900*time.Millisecond)
		require.EqualValues(t, 10, i.Status().Failures)
		require.EqualValues(t, 11, i.Status().Exchanges)
	})
}

func TestFirstCallersShareOneLookForTheEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looked atomic.Int32
		c := inMemory(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodGet {
				looked.Add(1)
				time.Sleep(time.Second)
				return responds(200, `{"issuer":"https://issuer.example","introspection_endpoint":"https://issuer.example/introspect"}`), nil
			}
			return responds(200, inactive), nil
		})
		c.Endpoint = ""
		i := start(t, c)
		var callers sync.WaitGroup
		for n := range 20 {
			callers.Go(func() { requireReason(t, i, fmt.Sprintf("opaque-%d", n), jwtverify.ErrInactive) })
		}
		callers.Wait()
		require.EqualValues(t, 1, looked.Load())
	})
}

func TestAPauseThatTheEndpointAsksForIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for asks, want := range map[string]time.Duration{"20": 20 * time.Second, "3600": 30 * time.Second} {
			asked := 0
			i := start(t, inMemory(func(*http.Request) (*http.Response, error) {
				asked++
				res := responds(429, "")
				res.Header.Set("Retry-After", asks)
				return res, nil
			}))
			failed := requireReason(t, i, opaque, jwtverify.ErrUnavailable)
			require.Equal(t, want, failed.RetryAfter)
			time.Sleep(want - time.Millisecond)
			failed = requireReason(t, i, "another", jwtverify.ErrUnavailable)
			require.Equal(t, time.Millisecond, failed.RetryAfter)
			require.Equal(t, 1, asked)
			time.Sleep(time.Millisecond)
			requireReason(t, i, opaque, jwtverify.ErrUnavailable)
			require.Equal(t, 2, asked)
		}
	})
}

func TestAConfigThatTheEndpointDoesNotTakeIsLoggedOnceAMinute(t *testing.T) {
	for _, status := range []int{400, 401, 403} {
		synctest.Test(t, func(t *testing.T) {
			var log journal
			c := inMemory(func(*http.Request) (*http.Response, error) { return responds(status, `{"error":"x"}`), nil })
			c.Logger = log.logger()
			i := start(t, c)
			loud := func() int { return strings.Count(log.String(), "level=ERROR") }
			for n := range 55 {
				requireReason(t, i, fmt.Sprintf("token-%d", n), jwtverify.ErrUnavailable)
				time.Sleep(time.Second)
			}
			require.Equal(t, 1, loud())
			time.Sleep(40 * time.Second)
			requireReason(t, i, "late", jwtverify.ErrUnavailable)
			require.Equal(t, 2, loud())
		})
	}
}

func TestAnEndpointThatMovedIsFoundAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at, metadata, looks := "/old", true, 0
		c := inMemory(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodGet {
				looks++
			}
			switch {
			case strings.HasPrefix(r.URL.Path, "/.well-known/") && metadata:
				return responds(200, `{"issuer":"https://issuer.example","introspection_endpoint":"https://issuer.example`+at+`"}`), nil
			case r.URL.Path == at:
				return responds(200, activeUntil(time.Now().Add(time.Hour))), nil
			}
			return responds(404, ""), nil
		})
		c.Endpoint = ""
		i := start(t, c)
		_, err := i.Verify(t.Context(), "one")
		require.NoError(t, err)
		at, metadata = "/new", false
		requireReason(t, i, "two", jwtverify.ErrUnavailable)
		time.Sleep(2 * time.Second)
		requireReason(t, i, "two", jwtverify.ErrUnavailable)
		require.Equal(t, "https://issuer.example/old", i.Status().Endpoint, "the old one stays while no other is known")
		metadata = true
		time.Sleep(4 * time.Second)
		_, err = i.Verify(t.Context(), "two")
		require.NoError(t, err)
		require.Equal(t, "https://issuer.example/new", i.Status().Endpoint)
		looked := looks
		_, err = i.Verify(t.Context(), "three")
		require.NoError(t, err)
		require.Equal(t, looked, looks, "it is not looked for any more")
	})
}

// Whoever wrote the endpoint down does not want another one, whatever the metadata say.
func TestAnEndpointThatTheConfigNamesIsNeverLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, inMemory(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodGet {
				t.Error("it looks at the metadata")
				return responds(200, `{"issuer":"https://issuer.example","introspection_endpoint":"https://issuer.example/other"}`), nil
			}
			return responds(404, ""), nil
		}))
		for n := range 3 {
			requireReason(t, i, fmt.Sprintf("token-%d", n), jwtverify.ErrUnavailable)
			time.Sleep(30 * time.Second)
		}
		require.Equal(t, "https://issuer.example/introspect", i.Status().Endpoint)
	})
}

// An operator hears of an outage when it begins and when it ends, and once each.
func TestAnOutageIsLoggedWhenItBeginsAndWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		var healed atomic.Bool
		c := inMemory(func(*http.Request) (*http.Response, error) {
			if healed.Load() {
				return responds(200, inactive), nil
			}
			return responds(429, ""), nil
		})
		c.Logger = log.logger()
		i := start(t, c)
		said := func(begun, ended int) {
			t.Helper()
			require.Equal(t, begun, strings.Count(log.String(), `level=WARN msg="introspect: the introspection endpoint cannot be asked"`), log.String())
			require.Equal(t, ended, strings.Count(log.String(), `level=INFO msg="introspect: the introspection endpoint answers again"`), log.String())
		}
		for round := range 2 {
			healed.Store(false)
			for n := range 5 {
				requireReason(t, i, fmt.Sprintf("token-%d-%d", round, n), jwtverify.ErrUnavailable)
				time.Sleep(30 * time.Second)
			}
			said(round+1, round)
			healed.Store(true)
			for n := range 3 {
				requireReason(t, i, fmt.Sprintf("healed-%d-%d", round, n), jwtverify.ErrInactive)
			}
			said(round+1, round+1)
		}
	})
}

// A name may lead elsewhere by now, and a kept connection would hide that.
func TestAnOutageClosesTheConnectionsThatAreKept(t *testing.T) {
	closed := make(chan struct{}, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("token") == "good" {
			says(active("http://"+r.Host, nil))(w, r)
			return
		}
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	s.Start()
	defer s.Close()
	i := start(t, introspect.Config{
		Issuer: s.URL, Endpoint: s.URL, Audience: []string{audience}, ClientID: clientID, ClientSecret: secret, Logger: slog.New(slog.DiscardHandler),
	})
	_, err := i.Verify(t.Context(), "good")
	require.NoError(t, err)
	select {
	case <-closed:
		t.Fatal("it is not kept")
	default:
	}
	requireReason(t, i, "bad", jwtverify.ErrUnavailable)
	select {
	case <-closed:
	case <-time.After(10 * time.Second): // it would be kept for 30 s
		t.Fatal("it is still open")
	}
}

// What one try says after another has ended the outage is about the outage before.
func TestATryThatFailsAfterAnotherHadAnAnswerBeginsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, inMemory(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			if strings.Contains(string(body), "good") {
				time.Sleep(20 * time.Millisecond)
				return responds(200, inactive), nil
			}
			time.Sleep(100 * time.Millisecond)
			return responds(429, ""), nil
		}))
		requireReason(t, i, "first", jwtverify.ErrUnavailable)
		time.Sleep(time.Second)
		var tries sync.WaitGroup
		tries.Go(func() { requireReason(t, i, "late", jwtverify.ErrUnavailable) })
		synctest.Wait()
		requireReason(t, i, "good", jwtverify.ErrInactive)
		tries.Wait()
		require.False(t, i.Status().Down)
	})
}

func TestATransportThatPanicsOrEndsItsGoroutineEndsNothingElse(t *testing.T) {
	for _, f := range map[string]roundTrip{
		"panics": func(*http.Request) (*http.Response, error) { panic(opaque) },
		"exits":  func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil },
	} {
		var log journal
		c := inMemory(f)
		c.Logger = log.logger()
		i := start(t, c)
		for range 3 {
			requireReason(t, i, opaque, jwtverify.ErrUnavailable)
		}
		requireNoSecret(t, log.String())
	}
}

// A stranger who has found a token at which the endpoint fails locks nobody out with it,
// neither while all is well nor in the middle of an outage.
func TestATokenAtWhichTheEndpointFailsIsNobodyElsesTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		i := start(t, inMemory(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			if down.Load() || strings.Contains(string(body), "poison") {
				return responds(500, ""), nil
			}
			time.Sleep(20 * time.Millisecond)
			return responds(200, activeUntil(time.Now().Add(time.Hour))), nil
		}))
		var attack sync.WaitGroup
		defer attack.Wait()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		attack.Go(func() {
			for ctx.Err() == nil {
				_, _ = i.Verify(ctx, "poison")
				time.Sleep(7 * time.Millisecond)
			}
		})
		for n := range 100 {
			_, err := i.Verify(t.Context(), fmt.Sprintf("good-%d", n))
			require.NoError(t, err)
			time.Sleep(100 * time.Millisecond)
		}
		require.False(t, i.Status().Down)

		down.Store(true)
		for n := range 3 {
			requireReason(t, i, fmt.Sprintf("lost-%d", n), jwtverify.ErrUnavailable)
		}
		require.True(t, i.Status().Down)
		down.Store(false)
		time.Sleep(time.Second)
		_, err := i.Verify(t.Context(), "good-again")
		require.NoError(t, err)
		require.False(t, i.Status().Down)
	})
}

// A firewall before a dead endpoint may answer 403 by itself: that says nothing of what
// is behind it.
func TestATokenThatIsForbiddenEndsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, inMemory(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			if strings.Contains(string(body), "passwd") {
				return responds(403, ""), nil
			}
			return responds(502, ""), nil
		}))
		for n := range 3 {
			requireReason(t, i, fmt.Sprintf("good-%d", n), jwtverify.ErrUnavailable)
			requireReason(t, i, fmt.Sprintf("passwd-%d", n), jwtverify.ErrUnavailable)
		}
		require.True(t, i.Status().Down)
		time.Sleep(time.Second)
		for n := range 10 {
			requireReason(t, i, fmt.Sprintf("passwd-again-%d", n), jwtverify.ErrUnavailable)
		}
		require.True(t, i.Status().Down)
	})
}

// The answer to one try ends an outage, whatever became of the others meanwhile.
func TestAnyAnswerToATryEndsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, inMemory(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			if strings.Contains(string(body), "poison") {
				return responds(500, ""), nil
			}
			time.Sleep(20 * time.Millisecond)
			return responds(200, activeUntil(time.Now().Add(time.Hour))), nil
		}))
		poison := func(kind string) {
			for n := range 3 {
				requireReason(t, i, fmt.Sprintf("poison-%s-%d", kind, n), jwtverify.ErrUnavailable)
			}
			require.True(t, i.Status().Down)
		}
		poison("before")
		time.Sleep(time.Second)
		var callers sync.WaitGroup
		callers.Go(func() {
			_, err := i.Verify(t.Context(), "good")
			require.NoError(t, err)
		})
		synctest.Wait()
		poison("between")
		callers.Wait()
		require.False(t, i.Status().Down)
	})
}

func TestATryThatPanicsLeavesRoomForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var state atomic.Int32
		i := start(t, inMemory(func(*http.Request) (*http.Response, error) {
			switch state.Load() {
			case 0:
				return responds(401, ""), nil
			case 1:
				panic("no")
			}
			return responds(200, activeUntil(time.Now().Add(time.Hour))), nil
		}))
		requireReason(t, i, opaque, jwtverify.ErrUnavailable)
		time.Sleep(time.Second)
		state.Store(1)
		for n := range 10 {
			requireReason(t, i, fmt.Sprintf("panics-%d", n), jwtverify.ErrUnavailable)
		}
		state.Store(2)
		_, err := i.Verify(t.Context(), "good")
		require.NoError(t, err)
	})
}

func TestTroubleOfOneTokensIsForgottenAfterASecond(t *testing.T) {
	for _, status := range []int{403, 500} {
		synctest.Test(t, func(t *testing.T) {
			var healed atomic.Bool
			i := start(t, inMemory(func(*http.Request) (*http.Response, error) {
				if healed.Load() {
					return responds(200, activeUntil(time.Now().Add(time.Hour))), nil
				}
				return responds(status, ""), nil
			}))
			requireReason(t, i, opaque, jwtverify.ErrUnavailable)
			healed.Store(true)
			time.Sleep(time.Second - time.Nanosecond)
			requireReason(t, i, opaque, jwtverify.ErrUnavailable)
			time.Sleep(time.Nanosecond)
			_, err := i.Verify(t.Context(), opaque)
			require.NoError(t, err)
		})
	}
}

// It may be one token at which a server says so: only that token waits.
func TestAPauseThatA503AsksForIsTheTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for asks, want := range map[string]time.Duration{"20": 20 * time.Second, "3600": 30 * time.Second} {
			asked := 0
			i := start(t, inMemory(func(*http.Request) (*http.Response, error) {
				asked++
				res := responds(503, "")
				res.Header.Set("Retry-After", asks)
				return res, nil
			}))
			require.Equal(t, want, requireReason(t, i, opaque, jwtverify.ErrUnavailable).RetryAfter)
			time.Sleep(want - time.Nanosecond)
			requireReason(t, i, opaque, jwtverify.ErrUnavailable)
			require.Equal(t, 1, asked)
			requireReason(t, i, "another", jwtverify.ErrUnavailable)
			require.Equal(t, 2, asked)
			time.Sleep(time.Nanosecond)
			requireReason(t, i, opaque, jwtverify.ErrUnavailable)
			require.Equal(t, 3, asked)
		}
	})
}

// A dead endpoint may have one client alone, whose token would never look like three.
func TestADeadEndpointCostsALoneTokenFiveSecondsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		i := start(t, inMemory(func(r *http.Request) (*http.Response, error) {
			if slow.Load() {
				time.Sleep(3 * time.Second)
				return activeForAnHour(), nil
			}
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		spend := func(token string) time.Duration {
			began := time.Now()
			requireReason(t, i, token, jwtverify.ErrUnavailable)
			return time.Since(began)
		}
		require.Equal(t, 5*time.Second, spend(opaque))
		for range 100 {
			require.LessOrEqual(t, spend(opaque), time.Second)
			time.Sleep(time.Second)
		}
		require.False(t, i.Status().Down, "it may be the token's doing")
		require.Equal(t, 5*time.Second, spend("another"), "who knows")

		// Whoever leaves after a second finds the answer later.
		time.Sleep(10 * time.Second)
		slow.Store(true)
		require.Equal(t, time.Second, spend(opaque))
		time.Sleep(3 * time.Second)
		_, err := i.Verify(t.Context(), opaque)
		require.NoError(t, err)
		// An answer clears all of it.
		began := time.Now()
		_, err = i.Verify(t.Context(), "another")
		require.NoError(t, err)
		require.Equal(t, 3*time.Second, time.Since(began))
	})
}

// Of a Transport that the Config brought only the kind of the error tells whether there
// was a connection.
func TestATransportOfTheConfigThatHasNoConnectionMakesAnOutageForAll(t *testing.T) {
	discard := slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	serve := func(start func(*httptest.Server), change func(*httptest.Server)) string {
		s := httptest.NewUnstartedServer(says(claims{"active": false}))
		s.Config.ErrorLog = discard
		change(s)
		start(s)
		t.Cleanup(s.Close)
		return "https://" + s.Listener.Addr().String()
	}
	old := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}}}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, gone.Close())
	for name, c := range map[string]struct {
		at     string
		client *http.Client
	}{
		"nobody listens":                   {"https://" + gone.Addr().String(), &http.Client{}},
		"a certificate that nobody trusts": {serve((*httptest.Server).StartTLS, func(*httptest.Server) {}), &http.Client{}},
		"no TLS":                           {serve((*httptest.Server).Start, func(*httptest.Server) {}), &http.Client{}},
		"no version in common": {serve((*httptest.Server).StartTLS, func(s *httptest.Server) {
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
		}), old},
	} {
		t.Run(name, func(t *testing.T) {
			i := start(t, introspect.Config{
				Issuer: c.at, Endpoint: c.at, Audience: []string{audience}, ClientID: clientID, ClientSecret: secret,
				Client: c.client, Logger: slog.New(slog.DiscardHandler),
			})
			requireReason(t, i, opaque, jwtverify.ErrUnavailable)
			require.True(t, i.Status().Down, i.Status().LastError)
		})
	}
}

// A server writes its certificate, and more than one kind of error quotes what came.
func TestNothingThatAnErrorQuotesBreaksALine(t *testing.T) {
	for _, err := range []error{
		&net.OpError{Op: "dial", Err: errors.New("a line\nand another")},
		&tls.CertificateVerificationError{Err: errors.New("a line\nand another")},
	} {
		var log journal
		c := inMemory(func(*http.Request) (*http.Response, error) { return nil, err })
		c.Logger = log.logger()
		i := start(t, c)
		failed := requireReason(t, i, opaque, jwtverify.ErrUnavailable)
		require.Contains(t, failed.Detail, `a line\nand another`)
		require.NotContains(t, failed.Detail+i.Status().LastError, "\n")
		require.True(t, i.Status().Down, "there was no connection")
	}
}
