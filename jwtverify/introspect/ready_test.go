package introspect_test

import (
	"context"
	"errors"
	"net/http"
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

// requireNotReady is an outage, and no bad token.
func requireNotReady(t *testing.T, err error, cause error, detail string) {
	t.Helper()
	require.ErrorIs(t, err, jwtverify.ErrUnavailable)
	require.NotErrorIs(t, err, jwtverify.ErrInvalidToken)
	require.ErrorContains(t, err, detail)
	if cause != nil {
		require.ErrorIs(t, err, cause)
	}
}

func TestReadyIsWhenTheEndpointIsFound(t *testing.T) {
	e, i := world(t, func(c *introspect.Config) { c.Endpoint = "" })
	for range 2 {
		require.NoError(t, i.Ready(t.Context()))
		require.Equal(t, e.URL+"/introspect", i.Status().Endpoint)
		require.Zero(t, i.Status().Exchanges, "there is no token to ask about")
	}
	_, err := i.Verify(t.Context(), opaque)
	require.NoError(t, err)

	// One that is known stays known, however it fares, and nobody has to wait for that.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	e.say(fails(404))
	requireReason(t, i, "another", jwtverify.ErrUnavailable)
	require.True(t, i.Status().Down)
	require.NoError(t, i.Ready(ended))
	e.Close()
	require.NoError(t, i.Ready(ended))

	_, i = world(t) // whose Config names it
	require.NoError(t, i.Ready(ended))
	require.NoError(t, i.Close())
	requireNotReady(t, i.Ready(t.Context()), nil, "closed")
	for _, i := range []*introspect.Introspector{nil, {}} {
		requireNotReady(t, i.Ready(t.Context()), nil, "was not made by New")
	}
}

// However many wait, and whatever else waits for the endpoint, the issuer is asked for its
// metadata no more often than by calls of Verify.
func TestReadyLooksForTheEndpointUntilItIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looked atomic.Int32
		var there atomic.Bool
		c := inMemory(func(*http.Request) (*http.Response, error) {
			looked.Add(1)
			if !there.Load() {
				return responds(404, ""), nil
			}
			return responds(200, metadata), nil
		})
		c.Endpoint = ""
		i := start(t, c)
		began := time.Now()
		time.AfterFunc(time.Minute, func() { there.Store(true) })
		var waiting sync.WaitGroup
		for range 100 {
			waiting.Go(func() { require.NoError(t, i.Ready(t.Context())) })
		}
		limit, cancel := context.WithTimeout(t.Context(), 40*time.Second)
		defer cancel()
		var own [2]*jwtverify.Error
		for n := range own {
			waiting.Go(func() {
				ctx := countingContext{limit, new(atomic.Int32)}
				err := i.Ready(ctx)
				requireNotReady(t, err, context.DeadlineExceeded, "no endpoint: metadata at https://issuer.example/.well-known/openid-configuration: it answered with status 404")
				require.Equal(t, 40*time.Second, time.Since(began))
				require.Less(t, ctx.waits.Load(), int32(50), "it sleeps between")
				require.ErrorAs(t, err, &own[n])
			})
		}
		<-limit.Done()
		synctest.Wait()
		require.NotSame(t, own[0], own[1], "each has an Error of its own")
		require.True(t, i.Status().Down)
		requireReason(t, i, opaque, jwtverify.ErrUnavailable)
		waiting.Wait()
		require.LessOrEqual(t, time.Since(began), 91*time.Second)
		require.LessOrEqual(t, looked.Load(), int32(2*10), "two documents each time, after pauses of 1 s to 30 s")
		require.Equal(t, "https://issuer.example/introspect", i.Status().Endpoint)
	})
}

// countingContext counts how often somebody waits for its end.
type countingContext struct {
	context.Context
	waits *atomic.Int32
}

func (c countingContext) Done() <-chan struct{} {
	c.waits.Add(1)
	return c.Context.Done()
}

func TestReadyEndsWithItsContextAndWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		defer close(stop)
		c := inMemory(func(*http.Request) (*http.Response, error) { <-stop; return nil, context.Canceled })
		c.Endpoint = ""
		i := start(t, c)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		requireNotReady(t, i.Ready(ctx), context.DeadlineExceeded, "")
		require.Equal(t, 3*time.Second, time.Since(began), "a Transport that hangs holds nobody")
		requireNotReady(t, i.Ready(ctx), context.DeadlineExceeded, "")
		time.Sleep(3 * time.Second)
		require.True(t, i.Status().Down, "it is no token's doing")
		_, err := i.Verify(t.Context(), "")
		require.ErrorIs(t, err, jwtverify.ErrMalformed)
	})
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(func(*http.Request) (*http.Response, error) { return responds(404, ""), nil })
		c.Endpoint = ""
		i := start(t, c)
		ended := make(chan error, 1)
		go func() { ended <- i.Ready(t.Context()) }()
		time.Sleep(40 * time.Second)
		require.Greater(t, time.Until(i.Status().NextTry), time.Millisecond)
		closed := time.Now()
		require.NoError(t, i.Close())
		requireNotReady(t, <-ended, nil, "closed")
		require.Zero(t, time.Since(closed))
	})
}

func TestReadyWaitsForTheKeysOfSignedAnswers(t *testing.T) {
	w := newSignedWorld(t)
	require.NoError(t, w.Ready(t.Context()))
	require.NotEmpty(t, w.Status().Keys.Keys)
	require.Zero(t, w.asked.Load())

	c := w.config()
	c.Signed = true // of an issuer without keys
	i := start(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- i.Ready(ctx) }()
	require.Eventually(t, func() bool { return i.Status().Keys.LastError != "" }, 10*time.Second, time.Millisecond)
	select {
	case err := <-ended:
		t.Fatal(err)
	default:
	}
	cancel()
	requireNotReady(t, <-ended, context.Canceled, "the key source: ")

	c.Keys = unready{}
	err := start(t, c).Ready(t.Context())
	requireNotReady(t, err, nil, `the key source: a line\nand another`)
	require.False(t, strings.Contains(err.Error(), "\n"))
	c.Keys = noKeys{} // which cannot say
	require.NoError(t, start(t, c).Ready(t.Context()))
}

type unready struct{ noKeys }

func (unready) Ready(context.Context) error {
	return errors.Join(errors.New("a line\nand another"), jwks.ErrKeyNotFound, jwtverify.ErrRejected)
}

func TestCloseEndsAReadyThatWaitsForKeysOfTheConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(func(*http.Request) (*http.Response, error) { return responds(200, inactive), nil })
		c.Signed, c.Keys = true, slowKeys{}
		i := start(t, c)
		ready := make(chan error, 1)
		go func() { ready <- i.Ready(t.Context()) }()
		synctest.Wait()
		require.NoError(t, i.Close())
		requireNotReady(t, <-ready, nil, "closed")
	})
}

// slowKeys are never ready.
type slowKeys struct{ noKeys }

func (slowKeys) Ready(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}
