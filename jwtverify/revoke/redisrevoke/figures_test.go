//go:build e2e

package redisrevoke_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/revoke"
	"github.com/bearerguard/bearerguard/jwtverify/revoke/redisrevoke"
)

// The tests of this file print their figures under -v. What they hold is that nothing
// is lost.

// spread says how a sample lies.
func spread(t testing.TB, what string, sample []time.Duration) {
	slices.Sort(sample)
	n := len(sample)
	t.Logf("%s: median %v, p99 %v, most %v, of %d", what,
		sample[n/2].Round(10*time.Microsecond), sample[n*99/100].Round(10*time.Microsecond), sample[n-1].Round(10*time.Microsecond), n)
}

// reached measures from the start of a Revoke until each follower refuses the token.
func reached(t testing.TB, p *redisrevoke.Publisher, followers []*redisrevoke.Follower, id string) []time.Duration {
	t.Helper()
	took := make([]time.Duration, len(followers))
	began := time.Now()
	var all sync.WaitGroup
	for i, f := range followers {
		all.Go(func() {
			for verdict(f, id) != jwtverify.ErrRevoked && time.Since(began) < soon {
				time.Sleep(200 * time.Microsecond)
			}
			took[i] = time.Since(began)
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	for p.Revoke(ctx, entry(id)) != nil && ctx.Err() == nil { // as a program would, until it is told that it is done
	}
	all.Wait()
	require.NoError(t, ctx.Err())
	require.Less(t, slices.Max(took), soon, "%s did not come to all followers", id)
	return took
}

func followersOf(t testing.TB, redis redisrevoke.Redis, n int) []*redisrevoke.Follower {
	t.Helper()
	all := make([]*redisrevoke.Follower, n)
	for i := range all {
		all[i] = startFollower(t, redisrevoke.FollowerConfig{Redis: redis})
	}
	for _, f := range all {
		ready(t, f)
	}
	return all
}

func TestEveryRevocationReachesEveryFollower(t *testing.T) {
	s := startRedis(t)
	p := newPublisher(t, redisrevoke.PublisherConfig{Redis: s.redis()})
	followers := followersOf(t, s.redis(), 4)
	var took []time.Duration
	for _, id := range ids("id-", 1000) {
		took = append(took, reached(t, p, followers, id)...)
	}
	spread(t, "1,000 revocations to 4 followers, by a Redis that syncs each", took)
	for _, f := range followers {
		require.EqualValues(t, 1, f.Status().Loads, "they came as changes")
		require.GreaterOrEqual(t, f.Status().Changes, uint64(1000))
	}
	usage := s.must(t, "MEMORY", "USAGE", "{bearerguard}:changes", "SAMPLES", "0")
	if size, err := usage.AsInt64(); err == nil {
		t.Logf("a change with one entry takes %d bytes in the stream", size/1000)
	}
}

// TestWhoIsToldSomethingAllTheTimeIsNotBehind holds that a Follower knows how far it
// has come also if there is always more to come.
func TestWhoIsToldSomethingAllTheTimeIsNotBehind(t *testing.T) {
	s := startRedis(t, "--appendfsync", "no")
	way := newProxy(t, s.address)
	way.delay.Store(int64(20 * time.Millisecond)) // in which there is always something new
	f := startFollower(t, redisrevoke.FollowerConfig{Redis: redisrevoke.Redis{URL: "redis://" + way.listener.Addr().String()}})
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	p := newPublisher(t, redisrevoke.PublisherConfig{Redis: s.redis()})
	all.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			_ = p.Revoke(ctx, entry(strconv.Itoa(n%1000)))
		}
	})
	ready(t, f)
	confirmed := 0
	before := f.Lag()
	eventually(t, "it knows again and again that it has everything", func() bool {
		now := f.Lag()
		if now < before && f.Status().Changes > 0 {
			confirmed++
		}
		before = now
		return confirmed >= 10
	})
	t.Logf("%d changes, loaded %d times", f.Status().Changes, f.Status().Loads)
}

func TestNothingIsLostWhenRedisIsKilledAndRestartsInTheMiddle(t *testing.T) {
	s := startRedis(t)
	p := newPublisher(t, redisrevoke.PublisherConfig{Redis: s.redis()})
	followers := followersOf(t, s.redis(), 4)
	names := ids("id-", 300)
	killed := make(chan struct{})
	var took []time.Duration
	for i, id := range names {
		if i == 150 {
			go func() {
				defer close(killed)
				s.kill()
				time.Sleep(500 * time.Millisecond)
				s.start(t)
			}()
		}
		took = append(took, reached(t, p, followers, id)...)
	}
	<-killed
	spread(t, "300 revocations, and a Redis that is killed in the middle and back half a second later", took)
	late := followersOf(t, s.redis(), 1)[0]
	for _, f := range append(followers, late) {
		for _, id := range names {
			require.Equal(t, jwtverify.ErrRevoked, verdict(f, id), id)
		}
	}
}

func TestAfterACutOfTenSecondsEverythingIsKnownAgain(t *testing.T) {
	s := startRedis(t)
	way := newProxy(t, s.address)
	p := newPublisher(t, redisrevoke.PublisherConfig{Redis: s.redis()})
	followers := followersOf(t, redisrevoke.Redis{URL: "redis://" + way.listener.Addr().String()}, 4)
	way.cut.Store(true)
	began := time.Now()
	names := ids("id-", 500)
	for _, id := range names {
		require.NoError(t, p.Revoke(t.Context(), entry(id)))
	}
	for _, f := range followers {
		answers(t, f, "unknown", jwtverify.ErrUnavailable)
	}
	time.Sleep(10*time.Second - time.Since(began))
	way.cut.Store(false)
	back := time.Now()
	var took []time.Duration
	for _, f := range followers {
		ready(t, f)
		took = append(took, time.Since(back))
		require.EqualValues(t, 1, f.Status().Loads, "the stream had all that was missed")
		for _, id := range names {
			require.Equal(t, jwtverify.ErrRevoked, verdict(f, id), id)
		}
	}
	spread(t, "from the end of a cut of 10 s until all that was revoked meanwhile is known", took)
}

func TestAllEntriesAreLoadedBeforeAFollowerIsReady(t *testing.T) {
	s := startRedis(t)
	p := newPublisher(t, redisrevoke.PublisherConfig{Redis: s.redis()})
	const n = 100_000
	names := ids("0190c3a6-5b7e-7d11-8f3a-", n)
	entries := make([]revoke.Entry, n)
	for i, id := range names {
		entries[i] = entry(id)
	}
	began := time.Now()
	for part := range slices.Chunk(entries, 10_000) {
		require.NoError(t, p.Revoke(t.Context(), part...))
	}
	t.Logf("%d entries revoked in %v", n, time.Since(began).Round(time.Millisecond))
	usage := s.must(t, "MEMORY", "USAGE", "{bearerguard}:entries", "SAMPLES", "0")
	if size, err := usage.AsInt64(); err == nil {
		t.Logf("an entry takes %d bytes in Redis, of which its issuer and id are %d", size/n, len(issuer)+len(names[n-1]))
	}
	usage = s.must(t, "MEMORY", "USAGE", "{bearerguard}:changes", "SAMPLES", "0")
	if size, err := usage.AsInt64(); err == nil {
		t.Logf("the stream takes %d bytes for each of them, 32 to a change", size/n)
	}
	began = time.Now()
	f := startFollower(t, redisrevoke.FollowerConfig{Redis: s.redis()})
	ready(t, f)
	status := f.Status()
	t.Logf("%d entries loaded in %v, %d bytes each", status.List.Entries, time.Since(began).Round(time.Millisecond), status.List.Bytes/n)
	require.Equal(t, n, status.List.Entries)
	for _, id := range names {
		require.Equal(t, jwtverify.ErrRevoked, verdict(f, id), id)
	}
}

// TestARequestDoesNotWaitForRedis prints what a Check costs beside a look-up for each
// request, over a connection of its own that is kept.
func TestARequestDoesNotWaitForRedis(t *testing.T) {
	s := startRedis(t)
	p := newPublisher(t, redisrevoke.PublisherConfig{Redis: s.redis()})
	require.NoError(t, p.Revoke(t.Context(), entry("revoked")))
	f := startFollower(t, redisrevoke.FollowerConfig{Redis: s.redis(), WhenBehind: redisrevoke.GoOn})
	ready(t, f)
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.address}, ForceSingleClient: true, DisableCache: true})
	require.NoError(t, err)
	defer client.Close()
	token := jwtverify.Token{Issuer: issuer, ID: "id", SessionID: "session", Subject: "alice", ClientID: "app"}
	const lookups, checks = 5_000, 1_000_000
	ctx := context.Background()
	began := time.Now()
	for range lookups {
		require.NoError(t, client.Do(ctx, client.B().Exists().Key("revoked:id").Build()).Error())
	}
	lookup := time.Since(began) / lookups
	began = time.Now()
	for range checks {
		if err := f.Check(ctx, &token); err != nil {
			t.Fatal(err)
		}
	}
	check := time.Since(began) / checks
	t.Logf("a Check %v, a look-up in Redis on loopback %v: 1 to %d", check, lookup, lookup/max(check, 1))
}
