package redisrevoke_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/jwtverify/revoke"
	"github.com/bearerguard/bearerguard/jwtverify/revoke/redisrevoke"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

const issuer = "https://issuer.example.com"

// soon is how long a test waits for what must happen. Only what hangs takes as long.
const soon = 60 * time.Second

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(soon); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not come about that %s", what)
		}
	}
}

// verdict is what a Follower says of the token with this jti.
func verdict(f *redisrevoke.Follower, id string) jwtverify.Reason {
	return jwtverify.ReasonOf(f.Check(context.Background(), &jwtverify.Token{Issuer: issuer, ID: id}))
}

func entry(id string) revoke.Entry { return revoke.Token(issuer, id, time.Now().Add(time.Hour)) }

// logbook is a log that a test reads.
type logbook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// startFollower starts one that ends with the test.
func startFollower(t testing.TB, c redisrevoke.FollowerConfig) *redisrevoke.Follower {
	t.Helper()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.WhenBehind == 0 {
		c.WhenBehind = redisrevoke.FailClosed
	}
	f, err := redisrevoke.NewFollower(c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// nobody is an address at which nobody listens. Its port is not one of those that
// outgoing connections get: such a connection to a port of loopback where nobody
// listens may meet itself.
func nobody(t testing.TB) string {
	t.Helper()
	for range 1000 {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(12_000+rand.N(20_000)))
		if err == nil {
			require.NoError(t, l.Close())
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

func TestBeforeAnythingWasLoadedThePolicyDecides(t *testing.T) {
	for name, c := range map[string]struct {
		policy redisrevoke.Policy
		other  jwtverify.Reason
	}{
		"FailClosed": {redisrevoke.FailClosed, jwtverify.ErrUnavailable},
		"GoOn":       {redisrevoke.GoOn, ""},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := revoke.New(revoke.Config{})
			require.NoError(t, err)
			require.NoError(t, list.Revoke(entry("revoked")))
			log := new(logbook)
			f := startFollower(t, redisrevoke.FollowerConfig{
				Redis: redisrevoke.Redis{URL: "redis://" + nobody(t)}, WhenBehind: c.policy, MaxLag: time.Second,
				List: list, Logger: log.logger(),
			})
			for range 3 {
				require.Equal(t, jwtverify.ErrRevoked, verdict(f, "revoked"), "what is known is refused all the same")
				require.Equal(t, c.other, verdict(f, "other"))
			}
			var refusal *jwtverify.Error
			if errors.As(f.Check(t.Context(), &jwtverify.Token{Issuer: issuer, ID: "other"}), &refusal) {
				require.Equal(t, time.Second, refusal.RetryAfter)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			require.ErrorIs(t, f.Ready(ctx), jwtverify.ErrUnavailable)
			eventually(t, "the log says it", func() bool { return strings.Contains(log.String(), "revocations cannot be followed") })
			eventually(t, "the status says why", func() bool { return f.Status().LastError != "" })
			eventually(t, "and the log", func() bool { return strings.Contains(log.String(), "trouble with Redis") })
			time.Sleep(600 * time.Millisecond) // in which it looks twice whether there is something to say
			status := f.Status()
			require.True(t, status.Behind)
			require.Equal(t, c.policy == redisrevoke.GoOn, status.Unchecked > 0)
			require.Greater(t, f.Lag(), time.Duration(0))
			require.NoError(t, f.Close())
			require.NoError(t, f.Close())
			require.ErrorIs(t, f.Ready(t.Context()), jwtverify.ErrUnavailable)
			require.Equal(t, c.other, verdict(f, "other"))
			require.Equal(t, jwtverify.ErrRevoked, verdict(f, "revoked"))
			require.Equal(t, 1, strings.Count(log.String(), "cannot be followed"), "once a minute at most")
		})
	}
}

// TestAnAPIThatCannotFollowAnswersWhatItsPolicySays goes through the Verifier and the
// guard of net/http.
func TestAnAPIThatCannotFollowAnswersWhatItsPolicySays(t *testing.T) {
	tokens := jwttest.NewIssuer("https://api.example.com")
	defer tokens.Close()
	for policy, want := range map[redisrevoke.Policy]int{redisrevoke.FailClosed: 503, redisrevoke.GoOn: 200} {
		f := startFollower(t, redisrevoke.FollowerConfig{Redis: redisrevoke.Redis{URL: "redis://" + nobody(t)}, WhenBehind: policy})
		config := tokens.Config()
		config.Checks = append(config.Checks, f.Check)
		verifier, err := jwtverify.New(config)
		require.NoError(t, err)
		defer verifier.Close()
		auth, err := httpauth.New(httpauth.Config{Verifier: verifier})
		require.NoError(t, err)
		api := httptest.NewServer(auth.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
		defer api.Close()
		token := tokens.Token(jwttest.Claims{})
		for range 2 { // the second time it was verified before
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, api.URL, nil)
			require.NoError(t, err)
			r.Header.Set("Authorization", "Bearer "+token)
			res, err := http.DefaultClient.Do(r)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.Equal(t, want, res.StatusCode)
			if want == 503 {
				require.Equal(t, "1", res.Header.Get("Retry-After"))
				require.Empty(t, res.Header.Get("WWW-Authenticate"), "nothing is wrong with the token")
			}
		}
	}
}

func TestWhatWasNotMadeByItsConstructorLetsNothingIn(t *testing.T) {
	var none *redisrevoke.Follower
	for _, f := range []*redisrevoke.Follower{none, new(redisrevoke.Follower)} {
		require.Equal(t, jwtverify.ErrUnavailable, verdict(f, "id"))
		require.ErrorIs(t, f.Ready(t.Context()), jwtverify.ErrUnavailable)
		require.True(t, f.Status().Behind)
		require.Zero(t, f.Lag())
		require.NoError(t, f.Close())
	}
	require.Error(t, (*redisrevoke.Publisher)(nil).Revoke(t.Context(), entry("id")))
	require.NoError(t, new(redisrevoke.Publisher).Close())
}

// TestAServerThatTalksNonsenseIsAnOutage holds that whatever comes over the
// connection ends it, and nothing else.
func TestAServerThatTalksNonsenseIsAnOutage(t *testing.T) {
	for name, answer := range map[string]string{
		"a length that is negative": "$-5\r\n",
		"a length that is huge":     "$9223372036854775807\r\n",
		"an array that is huge":     "*9223372036854775807\r\n",
		"a map that is huge":        "%4611686018427387904\r\n",
		"no end of depth":           strings.Repeat("*1\r\n", 100_000),
		"another protocol":          "HTTP/1.1 400 Bad Request\r\n\r\n",
		"OK to everything":          strings.Repeat("+OK\r\n", 50),
		"numbers":                   strings.Repeat(":7\r\n", 50),
		"empty arrays":              strings.Repeat("*0\r\n", 50),
		"empty maps":                strings.Repeat("%0\r\n", 50),
		"nulls":                     strings.Repeat("_\r\n", 50),
		"arrays of a null":          strings.Repeat("*1\r\n_\r\n", 50),
		"maps of maps":              strings.Repeat("%1\r\n%0\r\n%0\r\n", 50),
		"errors":                    "-ERR \x1b[31m CLUSTER\r\n",
		"long errors":               "-ERR " + strings.Repeat("x", 4000) + "\r\n",
		"a map that is null":        "%-1\r\n",
		"a length behind a null":    "_xx$9223372036854775807\r\n",
		"a length behind a boolean": "#txx$9223372036854775807\r\n",
		"silence":                   "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer listener.Close()
			var came atomic.Int32
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					came.Add(1)
					go func() {
						defer conn.Close()
						buffer := make([]byte, 4096)
						for {
							if _, err := conn.Read(buffer); err != nil {
								return
							}
							if _, err := conn.Write([]byte(answer)); err != nil {
								return
							}
						}
					}()
				}
			}()
			f := startFollower(t, redisrevoke.FollowerConfig{
				Redis: redisrevoke.Redis{URL: "redis://" + listener.Addr().String(), Timeout: 100 * time.Millisecond},
			})
			eventually(t, "it tries again and again", func() bool { return came.Load() >= 4 })
			eventually(t, "the status says why", func() bool { return f.Status().LastError != "" })
			require.NotContains(t, f.Status().LastError, "\x1b")
			require.Less(t, len(f.Status().LastError), 400)
			require.Equal(t, jwtverify.ErrUnavailable, verdict(f, "id"))

			p, err := redisrevoke.NewPublisher(redisrevoke.PublisherConfig{
				Redis: redisrevoke.Redis{URL: "redis://" + listener.Addr().String(), Timeout: 100 * time.Millisecond},
			})
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			require.Error(t, p.Revoke(ctx, entry("id")))
			require.NoError(t, p.Close())
		})
	}
}

func TestAnEntryThatIsNotValidRevokesNothing(t *testing.T) {
	p, err := redisrevoke.NewPublisher(redisrevoke.PublisherConfig{Redis: redisrevoke.Redis{URL: "redis://" + nobody(t)}})
	require.NoError(t, err)
	require.ErrorContains(t, p.Revoke(t.Context(), entry("id"), revoke.Entry{}), "Kind 0")
	require.NoError(t, p.Revoke(t.Context()), "nothing to revoke")
	require.NoError(t, p.Close())
	require.ErrorContains(t, p.Revoke(t.Context(), entry("id")), "closed")
}
