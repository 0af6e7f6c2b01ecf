//go:build e2e

package redisrevoke_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/revoke"
	"github.com/bearerguard/bearerguard/jwtverify/revoke/redisrevoke"
)

// history is what a Publisher was told that Redis has, and when.
type history struct {
	mu  sync.Mutex
	ids []string
	at  []time.Time
}

// write revokes one token after another until the context ends.
func (h *history) write(ctx context.Context, p *redisrevoke.Publisher) {
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprint("written-", n)
		if p.Revoke(ctx, entry(id)) == nil {
			h.mu.Lock()
			h.ids, h.at = append(h.ids, id), append(h.at, time.Now())
			h.mu.Unlock()
		}
	}
}

// before are those that Redis had taken by a moment.
func (h *history) before(moment time.Time) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.at)
	for n > 0 && !h.at[n-1].Before(moment) {
		n--
	}
	return h.ids[:n]
}

// TestWhatIsRevokedWhileAllIsLoadedIsNotMissed starts followers, which load for a
// while, beside somebody who revokes all the time.
func TestWhatIsRevokedWhileAllIsLoadedIsNotMissed(t *testing.T) {
	s := startRedis(t, "--appendfsync", "no")
	way := newProxy(t, s.address)
	way.delay.Store(int64(5 * time.Millisecond))
	p := newPublisher(t, redisrevoke.PublisherConfig{Redis: s.redis()})
	var entries []revoke.Entry
	for _, id := range ids("loaded-", 20_000) {
		entries = append(entries, entry(id))
	}
	require.NoError(t, p.Revoke(t.Context(), entries...))
	var h history
	var all sync.WaitGroup
	defer all.Wait()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	all.Go(func() { h.write(ctx, p) })
	for range 5 {
		began := time.Now()
		f := startFollower(t, redisrevoke.FollowerConfig{Redis: redisrevoke.Redis{URL: "redis://" + way.listener.Addr().String()}})
		ready(t, f)
		for _, id := range h.before(began) {
			require.Equal(t, jwtverify.ErrRevoked, verdict(f, id), id)
		}
		loaded := time.Now()
		eventually(t, "it has all until now", func() bool { return f.Lag() < time.Since(loaded) })
		written := h.before(loaded)
		require.NotEmpty(t, written)
		for _, id := range written {
			require.Equal(t, jwtverify.ErrRevoked, verdict(f, id), id)
		}
		require.NoError(t, f.Close())
	}
}

// TestLagIsTrueWhateverHappens holds what Lag promises, that all that was revoked
// before is refused, in one fault after another.
func TestLagIsTrueWhateverHappens(t *testing.T) {
	s := startRedis(t)
	way := newProxy(t, s.address)
	p := newPublisher(t, redisrevoke.PublisherConfig{Redis: s.redis()})
	var followers []*redisrevoke.Follower
	for range 3 {
		followers = append(followers, startFollower(t, redisrevoke.FollowerConfig{
			Redis: redisrevoke.Redis{URL: "redis://" + way.listener.Addr().String(), Timeout: 300 * time.Millisecond},
		}))
	}
	for _, f := range followers {
		ready(t, f)
	}
	var h history
	var all sync.WaitGroup
	defer all.Wait()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	all.Go(func() { h.write(ctx, p) })
	var looks int
	faults := []func(){
		func() { way.cut.Store(true) },
		func() { way.drop() },
		func() { way.delay.Store(int64(500 * time.Millisecond)) },
		func() { way.delay.Store(int64(50 * time.Millisecond)) },
		func() { s.must(t, "XTRIM", "{bearerguard}:changes", "MAXLEN", "0") },
		func() { s.must(t, "HSET", "{bearerguard}:head", "version", "other") },
		func() { s.must(t, "DEL", "{bearerguard}:changes") },
		func() { s.kill(); s.start(t) },
	}
	rand.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	checked := make([]int, len(followers))
	for _, fault := range faults {
		fault()
		for end := time.Now().Add(700 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
			for i, f := range followers {
				now := time.Now() // before the Lag, which is longer then
				known := h.before(now.Add(-f.Lag()))
				for ; checked[i] < len(known); checked[i]++ {
					require.Equal(t, jwtverify.ErrRevoked, verdict(f, known[checked[i]]), known[checked[i]])
					looks++
				}
			}
		}
		way.cut.Store(false)
		way.delay.Store(0)
		way.drop()
	}
	stop()
	all.Wait()
	end := time.Now()
	for _, f := range followers {
		eventually(t, "it has everything", func() bool { return f.Lag() < time.Since(end) })
		for _, id := range h.before(end) {
			require.Equal(t, jwtverify.ErrRevoked, verdict(f, id), id)
		}
	}
	t.Logf("%d revocations, looked for %d times as soon as Lag promised them; loaded %d times", len(h.ids), looks, followers[0].Status().Loads)
	require.Positive(t, looks)
}

// TestAConnectionThatHangsWhileItIsMadeIsGivenUp is about each connection of a session:
// one is made when it opens, another with the first command.
func TestAConnectionThatHangsWhileItIsMadeIsGivenUp(t *testing.T) {
	dir := t.TempDir()
	pool := privateCA(t, dir)
	s := startRedis(t, "--tls-cert-file", filepath.Join(dir, "cert.pem"), "--tls-key-file", filepath.Join(dir, "key.pem"),
		"--tls-ca-cert-file", filepath.Join(dir, "ca.pem"), "--tls-auth-clients", "no")
	for hangs := range 3 {
		t.Run(fmt.Sprint("connection ", hangs), func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer listener.Close()
			var n atomic.Int32
			go func() {
				for {
					near, err := listener.Accept()
					if err != nil {
						return
					}
					t.Cleanup(func() { _ = near.Close() })
					if int(n.Add(1))-1 == hangs {
						continue // and nobody answers
					}
					far, err := net.Dial("tcp", s.address)
					if err != nil {
						_ = near.Close()
						continue
					}
					p := new(proxy)
					go p.carry(far, near, false)
					go p.carry(near, far, true)
				}
			}()
			f := startFollower(t, redisrevoke.FollowerConfig{Redis: redisrevoke.Redis{
				URL: "rediss://" + listener.Addr().String(), TLS: &tls.Config{RootCAs: pool}, Timeout: 300 * time.Millisecond,
			}})
			eventually(t, "the connection that hangs was made, unless fewer are needed", func() bool {
				return int(n.Load()) > hangs || f.Ready(expired()) == nil
			})
			ready(t, f)
		})
	}
}

// expired is a context that has ended, with which Ready only asks.
func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestNoErrorTellsThePassword uses a Redis that does not know AUTH, and says with what
// it was called.
func TestNoErrorTellsThePassword(t *testing.T) {
	s := startRedis(t, "--rename-command", "HELLO", "", "--rename-command", "AUTH", "")
	const secret = "correct-horse-battery-staple"
	redis := redisrevoke.Redis{URL: "redis://user:" + secret + "@" + s.address}
	log := new(logbook)
	f := startFollower(t, redisrevoke.FollowerConfig{Redis: redis, Logger: log.logger()})
	eventually(t, "the log says why", func() bool { return strings.Contains(log.String(), "unknown command") })
	require.Contains(t, f.Status().LastError, "unknown command")
	err := newPublisher(t, redisrevoke.PublisherConfig{Redis: redis}).Revoke(t.Context(), entry("id"))
	require.ErrorContains(t, err, "unknown command")
	texts := []string{log.String(), f.Status().LastError}
	chains := []error{err, f.Ready(expired())}
	for len(chains) > 0 { // as whoever reports errors walks them
		err, chains = chains[0], chains[1:]
		texts = append(texts, fmt.Sprintf("%v %+v", err, err))
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			if inner := e.Unwrap(); inner != nil {
				chains = append(chains, inner)
			}
		case interface{ Unwrap() []error }:
			chains = append(chains, e.Unwrap()...)
		}
	}
	for _, text := range texts {
		require.NotContains(t, text, secret[:8])
	}
}

func TestARedisThatMayDropRevocationsIsNamed(t *testing.T) {
	s := startRedis(t, "--maxmemory-policy", "allkeys-lru")
	_, asFollower := permit(t, s)
	log := new(logbook)
	f := startFollower(t, redisrevoke.FollowerConfig{Redis: redisrevoke.Redis{URL: asFollower + s.address}, Logger: log.logger()})
	ready(t, f)
	require.True(t, f.Status().Evicts)
	eventually(t, "the log says it", func() bool { return strings.Contains(log.String(), "may drop revocations") })

	s.must(t, "CONFIG", "SET", "maxmemory-policy", "volatile-lru")
	s.must(t, "CLIENT", "KILL", "USER", "follower")
	eventually(t, "who connects again asks again", func() bool { return !f.Status().Evicts })
	ready(t, f)

	s.must(t, "CONFIG", "SET", "maxmemory-policy", "allkeys-random")
	s.must(t, "ACL", "SETUSER", "follower", "-info")
	unasked := startFollower(t, redisrevoke.FollowerConfig{Redis: redisrevoke.Redis{URL: asFollower + s.address}})
	ready(t, unasked)
	require.False(t, unasked.Status().Evicts, "who may not ask follows all the same")
}

func TestCredentialsAreAskedForWithEachConnection(t *testing.T) {
	s := startRedis(t)
	asPublisher, asFollower := permit(t, s)
	require.NotEqual(t, asPublisher, asFollower)
	var password atomic.Pointer[string]
	set := func(to string) { password.Store(&to) }
	set("password")
	as := func(user string) redisrevoke.Redis {
		redis := s.redis()
		redis.Credentials = func(ctx context.Context) (string, string, error) {
			if _, bounded := ctx.Deadline(); !bounded {
				return "", "", errors.New("no deadline")
			}
			if *password.Load() == "none" {
				return "", "", errors.New("the vault is closed")
			}
			return user, *password.Load(), nil
		}
		return redis
	}
	p := newPublisher(t, redisrevoke.PublisherConfig{Redis: as("publisher")})
	f := startFollower(t, redisrevoke.FollowerConfig{Redis: as("follower")})
	ready(t, f)
	require.NoError(t, p.Revoke(t.Context(), entry("first")))
	answers(t, f, "first", jwtverify.ErrRevoked)

	for _, user := range []string{"publisher", "follower"} {
		s.must(t, "ACL", "SETUSER", user, "resetpass", ">other")
		s.must(t, "CLIENT", "KILL", "USER", user)
	}
	eventually(t, "the old password does not open any more", func() bool { return strings.Contains(f.Status().LastError, "WRONGPASS") })
	require.ErrorContains(t, p.Revoke(t.Context(), entry("second")), "WRONGPASS")
	set("other")
	eventually(t, "the new one does", func() bool { return p.Revoke(t.Context(), entry("second")) == nil })
	answers(t, f, "second", jwtverify.ErrRevoked)

	for _, none := range []string{"none", ""} { // and not as the default user, who needs no password
		set(none)
		f := startFollower(t, redisrevoke.FollowerConfig{Redis: as("")})
		eventually(t, "it says why", func() bool { return strings.Contains(f.Status().LastError, "Credentials failed") })
		require.Equal(t, jwtverify.ErrUnavailable, verdict(f, "unknown"))
	}
}

// TestARedisThatHasBecomeAReplicaIsWaitedFor is what a fail-over outside of a cluster
// looks like to who writes.
func TestARedisThatHasBecomeAReplicaIsWaitedFor(t *testing.T) {
	s := startRedis(t)
	p := newPublisher(t, redisrevoke.PublisherConfig{Redis: s.redis()})
	require.NoError(t, p.Revoke(t.Context(), entry("before")))
	_, port, _ := net.SplitHostPort(nobody(t))
	s.must(t, "REPLICAOF", "127.0.0.1", port)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err := p.Revoke(ctx, entry("meanwhile"))
	require.ErrorIs(t, err, context.DeadlineExceeded, "it is tried again")
	require.ErrorContains(t, err, "READONLY")
	done := make(chan error)
	go func() { done <- p.Revoke(t.Context(), entry("meanwhile")) }()
	s.must(t, "REPLICAOF", "NO", "ONE")
	require.NoError(t, <-done)
}

// within holds that something does not wait for a Timeout of a minute.
func within(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-time.After(soon / 3):
		t.Fatalf("it takes too long until %s", what)
	}
}

func TestCloseEndsWhateverIsGoingOn(t *testing.T) {
	s := startRedis(t, "--appendfsync", "no")
	p := newPublisher(t, redisrevoke.PublisherConfig{Redis: s.redis()})
	var entries []revoke.Entry
	for _, id := range ids("id-", 5000) {
		entries = append(entries, entry(id))
	}
	require.NoError(t, p.Revoke(t.Context(), entries...))
	require.NoError(t, p.Close())
	full, err := revoke.New(revoke.Config{MaxEntries: 10})
	require.NoError(t, err)
	loading := newProxy(t, s.address)
	loading.delay.Store(int64(100 * time.Millisecond))
	silent := newProxy(t, s.address)
	silent.cut.Store(true)
	asking := make(chan struct{}, 1)
	before := runtime.NumGoroutine()
	for name, c := range map[string]struct {
		config redisrevoke.FollowerConfig
		until  func(f *redisrevoke.Follower) bool
	}{
		"before anything":    {redisrevoke.FollowerConfig{Redis: s.redis()}, func(*redisrevoke.Follower) bool { return true }},
		"waits for a change": {redisrevoke.FollowerConfig{Redis: s.redis()}, func(f *redisrevoke.Follower) bool { return f.Ready(expired()) == nil }},
		"nobody listens": {redisrevoke.FollowerConfig{Redis: redisrevoke.Redis{URL: "redis://" + nobody(t)}},
			func(f *redisrevoke.Follower) bool { return f.Status().LastError != "" }},
		"nobody answers": {redisrevoke.FollowerConfig{Redis: redisrevoke.Redis{URL: "redis://" + silent.listener.Addr().String(), Timeout: time.Minute}},
			func(*redisrevoke.Follower) bool { return silent.open() > 0 }},
		"loads": {redisrevoke.FollowerConfig{Redis: redisrevoke.Redis{URL: "redis://" + loading.listener.Addr().String()}},
			func(f *redisrevoke.Follower) bool { return f.Status().List.Entries > 0 }},
		"the list is full": {redisrevoke.FollowerConfig{Redis: s.redis(), List: full},
			func(f *redisrevoke.Follower) bool { return f.Status().LastError != "" }},
		"asks for credentials": {redisrevoke.FollowerConfig{Redis: redisrevoke.Redis{URL: "redis://" + s.address, Timeout: time.Minute,
			Credentials: func(ctx context.Context) (string, string, error) {
				asking <- struct{}{}
				<-ctx.Done()
				return "", "", ctx.Err()
			}}}, func(*redisrevoke.Follower) bool { return len(asking) > 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFollower(t, c.config)
			eventually(t, "it is as far as that", func() bool { return c.until(f) })
			var all sync.WaitGroup
			for range 2 {
				all.Go(func() { _ = f.Close() })
			}
			waiting := make(chan error, 1)
			go func() { waiting <- f.Ready(context.Background()) }()
			within(t, "Close ends", all.Wait)
			if err := <-waiting; err != nil { // it may have asked before
				require.ErrorIs(t, err, jwtverify.ErrUnavailable)
			}
			require.ErrorIs(t, f.Ready(context.Background()), jwtverify.ErrUnavailable)
			require.True(t, f.Status().Behind)
			require.Equal(t, jwtverify.ErrUnavailable, verdict(f, "unknown"))
		})
	}
	loading.drop()
	silent.drop()
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

// TestWhatCouldNotBeReadIsTriedAgain takes half a minute.
func TestWhatCouldNotBeReadIsTriedAgain(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	p := newPublisher(t, redisrevoke.PublisherConfig{Redis: s.redis()})
	require.NoError(t, p.Revoke(t.Context(), entry("first")))
	s.must(t, "ZADD", "{bearerguard}:entries", "9999999999", "2 of a later version")
	f := startFollower(t, redisrevoke.FollowerConfig{Redis: s.redis()})
	eventually(t, "it says why", func() bool { return f.Status().LastError != "" })
	require.NoError(t, p.Revoke(t.Context(), entry("second")))
	answers(t, f, "second", jwtverify.ErrRevoked)
	require.Equal(t, jwtverify.ErrUnavailable, verdict(f, "unknown"), "it follows what it can read, and lacks the other")
	s.must(t, "ACL", "SETUSER", "default", "-zscan")
	eventually(t, "it tries to load", func() bool { return strings.Contains(f.Status().LastError, "NOPERM") })
	s.must(t, "ZREM", "{bearerguard}:entries", "2 of a later version")
	time.Sleep(time.Second) // in which it may connect again, and cannot load
	require.Equal(t, jwtverify.ErrUnavailable, verdict(f, "unknown"), "who began to load has nothing until it has all")
	s.must(t, "ACL", "SETUSER", "default", "+zscan")
	ready(t, f)
	answers(t, f, "unknown", "")
}

// TestNoNodeIsSpokenToInTheClearBecauseAnotherNamedIt has a cluster of one node, which
// says that it is elsewhere.
func TestNoNodeIsSpokenToInTheClearBecauseAnotherNamedIt(t *testing.T) {
	s := startRedis(t, "--cluster-enabled", "yes", "--cluster-announce-ip", "192.0.2.1")
	s.must(t, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	f := startFollower(t, redisrevoke.FollowerConfig{Redis: s.redis()})
	eventually(t, "it says what to do", func() bool { return strings.Contains(f.Status().LastError, "to another machine: write rediss://") })
	require.Equal(t, jwtverify.ErrUnavailable, verdict(f, "unknown"))
}

// TestTheStreamIsBounded makes the last of many changes as a Publisher does: those before are
// made by hand.
func TestTheStreamIsBounded(t *testing.T) {
	s := startRedis(t, "--appendfsync", "no")
	s.must(t, "EVAL", "for i = 1, 105000 do redis.call('XADD', KEYS[1], '*', 'from', i, 'to', i + 1) end", "1", "{bearerguard}:changes")
	require.NoError(t, newPublisher(t, redisrevoke.PublisherConfig{Redis: s.redis()}).Revoke(t.Context(), entry("id")))
	length := s.must(t, "XLEN", "{bearerguard}:changes")
	n, err := length.AsInt64()
	require.NoError(t, err)
	require.GreaterOrEqual(t, n, int64(100_000))
	require.Less(t, n, int64(101_000))
}

func TestCloseEndsARevokeThatNobodyAnswers(t *testing.T) {
	silent := newProxy(t, startRedis(t).address)
	silent.cut.Store(true)
	p := newPublisher(t, redisrevoke.PublisherConfig{Redis: redisrevoke.Redis{URL: "redis://" + silent.listener.Addr().String(), Timeout: time.Minute}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var err error
	within(t, "a Revoke ends with its context", func() { err = p.Revoke(ctx, entry("id")) })
	require.ErrorIs(t, err, context.DeadlineExceeded)
	silent.drop()

	done := make(chan error)
	for range 6 { // two of which wait for their turn
		go func() { done <- p.Revoke(context.Background(), entry("id")) }()
	}
	eventually(t, "four are being made", func() bool { return silent.open() == 2*4 })
	require.NoError(t, p.Close())
	var errs []error
	within(t, "they end", func() {
		for range 6 {
			errs = append(errs, <-done)
		}
	})
	for _, err := range errs {
		require.ErrorContains(t, err, "closed")
	}
}
