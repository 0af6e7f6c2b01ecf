package introspect

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/internal/cache"
	"github.com/bearerguard/bearerguard/jwtverify"
)

type answers string

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {plainAnswer}}, Body: io.NopCloser(strings.NewReader(string(a)))}, nil
}

// What is kept is found by its hash alone: a token in memory is one that a crash dump
// gives away.
func TestNoTokenIsKept(t *testing.T) {
	const token = "opaque-token"
	for _, answer := range []string{`{"active":true,"aud":"api"}`, `{"active":false}`, `{"active":7}`} {
		i, err := New(Config{
			Issuer: "https://issuer.example", Endpoint: "https://issuer.example/introspect", Audience: []string{"api"},
			ClientID: "id", ClientSecret: "secret", Client: &http.Client{Transport: answers(answer)}, Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		_, err = i.Verify(t.Context(), token)
		if err != nil {
			require.NotEqual(t, jwtverify.ErrMalformed, jwtverify.ReasonOf(err))
		}
		sum := sumOf(token)
		v, known := i.recall(&sum, time.Now())
		require.True(t, known)
		require.NotContains(t, fmt.Sprintf("%+v %+v %+v", v, v.token, v.err), token)
		i.mu.Lock()
		require.Empty(t, i.flights)
		require.Zero(t, i.waiting)
		i.mu.Unlock()
		require.NoError(t, i.Close())
		_, known = i.recall(&sum, time.Now())
		require.False(t, known)
	}
}

// While a machine is suspended its monotonic clock stands still, and tokens expire and
// are revoked all the same. And a clock that is set back makes nothing last longer.
func TestNeitherClockAloneKeepsAnAnswer(t *testing.T) {
	i := &Introspector{active: newVerdicts(defaultCache), refused: newVerdicts(refusedCache)}
	before := time.Now()
	setBy := func(now time.Time, by time.Duration) time.Time {
		set := now
		*(*uint64)(unsafe.Pointer(&set)) += uint64(int64(by/time.Second)) << 30 // seconds of the wall clock
		require.Equal(t, now.Sub(before), set.Sub(before))
		require.Equal(t, by, set.Round(0).Sub(now.Round(0)))
		return set
	}
	for n, kept := range []verdict{
		{token: &jwtverify.Token{}, until: before.Add(5 * time.Minute)},
		{err: unavailable("", 0), until: before.Add(30 * time.Second)},
	} {
		sum := sumOf(strings.Repeat("x", n+1))
		i.keep(&sum, kept, before)
		for now, holds := range map[time.Time]bool{
			before.Add(time.Second):                            true,
			setBy(before.Add(time.Second), 10*time.Minute):     false,
			setBy(before.Add(10*time.Minute), -10*time.Minute): false,
		} {
			_, known := i.recall(&sum, now)
			require.Equal(t, holds, known)
		}
	}
}

// Who makes up tokens can choose what they are found by, and not what they are known by.
func TestATokenIsKnownByItsWholeHash(t *testing.T) {
	i := &Introspector{active: newVerdicts(defaultCache), refused: newVerdicts(refusedCache)}
	now := time.Now()
	own := sumOf("own")
	alike := own
	alike[len(alike)-1] ^= 1
	require.Equal(t, tag(&own), tag(&alike))
	i.keep(&own, verdict{token: &jwtverify.Token{}, until: now.Add(time.Hour)}, now)
	_, known := i.recall(&own, now)
	require.True(t, known)
	_, known = i.recall(&alike, now)
	require.False(t, known)
}

// What hashes a long token gives its room back to a pool, and the next use may be far.
func TestALongTokenIsWipedWhereItWasHashed(t *testing.T) {
	var room []byte
	fresh := buffers.New
	buffers = sync.Pool{New: func() any { return &room }}
	defer func() { buffers = sync.Pool{New: fresh} }()
	token := strings.Repeat("s", 600)
	require.Equal(t, cache.Sum(sha256.Sum256([]byte(token))), sumOf(token))
	require.Equal(t, make([]byte, 600), room[:600])
}

// A flight that gets its turn looks once more: since its callers did somebody may have
// asked, or they may have left, or Close may have come.
func TestAFlightLooksOnceMoreBeforeItAsks(t *testing.T) {
	asked := 0
	i, err := New(Config{
		Issuer: "https://issuer.example", Endpoint: "https://issuer.example/introspect", Audience: []string{"api"},
		ClientID: "id", ClientSecret: "secret", Client: &http.Client{Transport: counts(func() { asked++ })}, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	fresh := func(token string, waiting int) *flight {
		return &flight{sum: sumOf(token), deserted: make(chan struct{}), landed: make(chan struct{}), waiting: waiting}
	}
	now := time.Now()
	f := fresh("known", 1)
	i.keep(&f.sum, verdict{token: &jwtverify.Token{Subject: "alice"}, until: now.Add(time.Minute)}, now)
	v := i.turn(f, "known")
	require.Nil(t, v.err)
	require.Equal(t, "alice", v.token.Subject)

	v = i.turn(fresh("left", 0), "left")
	require.Equal(t, jwtverify.ErrUnavailable, v.err.Reason)
	require.Zero(t, asked)
	require.Empty(t, i.turns, "turns are given back")

	v = i.turn(fresh("other", 1), "other")
	require.Equal(t, jwtverify.ErrInactive, v.err.Reason)
	require.Equal(t, 1, asked)
	require.NoError(t, i.Close())
	_, late := i.join(sumOf("late"), "late")
	require.Equal(t, jwtverify.ErrUnavailable, late.Reason)
}

type counts func()

func (c counts) RoundTrip(r *http.Request) (*http.Response, error) {
	c()
	return answers(`{"active":false}`).RoundTrip(r)
}
