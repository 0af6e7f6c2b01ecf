//go:build e2e

package redisrevoke_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/revoke"
	"github.com/bearerguard/bearerguard/jwtverify/revoke/redisrevoke"
)

// entriesOf are the members of the sorted set.
func entriesOf(t *testing.T, s *server) (names []string) {
	t.Helper()
	all := s.must(t, "ZRANGE", "{bearerguard}:entries", "0", "-1")
	names, err := all.AsStrSlice()
	require.NoError(t, err)
	return names
}

func TestAnEntryIsKeptUntilItHasEndedAndNotMuchLonger(t *testing.T) {
	s := startRedis(t)
	p := newPublisher(t, redisrevoke.PublisherConfig{Redis: s.redis()})
	now := time.Now()
	until := func(id string, d time.Duration) revoke.Entry { return revoke.Token("i", id, now.Add(d)) }

	require.NoError(t, p.Revoke(t.Context(), until("ended", -11*time.Minute), until("leeway", -9*time.Minute), until("lives", time.Hour)))
	require.ElementsMatch(t, []string{"1t1:i5:ended", "1t1:i6:leeway", "1t1:i5:lives"}, entriesOf(t, s))
	require.NoError(t, p.Revoke(t.Context(), until("lives", time.Minute)))
	require.ElementsMatch(t, []string{"1t1:i6:leeway", "1t1:i5:lives"}, entriesOf(t, s), "what has ended goes with the next change")
	score := s.must(t, "ZSCORE", "{bearerguard}:entries", "1t1:i5:lives")
	got, err := score.AsFloat64()
	require.NoError(t, err)
	require.InDelta(t, now.Add(time.Hour).Unix(), got, 1, "revoked for less, it still ends when it was to end")
	for _, key := range []string{"entries", "changes", "head"} {
		ttl := s.must(t, "TTL", "{bearerguard}:"+key)
		seconds, err := ttl.AsInt64()
		require.NoError(t, err)
		require.EqualValues(t, -1, seconds, "no policy may evict it")
	}
}

func TestOfTwoEndsTheLaterHolds(t *testing.T) {
	s := startRedis(t)
	list, err := revoke.New(revoke.Config{Now: func() time.Time { return time.Now().Add(30 * time.Minute) }})
	require.NoError(t, err)
	f := startFollower(t, redisrevoke.FollowerConfig{Redis: s.redis(), List: list})
	ready(t, f)
	now := time.Now()
	p := newPublisher(t, redisrevoke.PublisherConfig{Redis: s.redis()})
	require.NoError(t, p.Revoke(t.Context(),
		revoke.Token(issuer, "twice", now.Add(time.Hour)), revoke.Token(issuer, "twice", now.Add(time.Minute))))
	answers(t, f, "twice", jwtverify.ErrRevoked)
}

func TestNamespacesKnowNothingOfEachOther(t *testing.T) {
	s := startRedis(t)
	other := s.redis()
	other.Namespace = "other"
	mine := startFollower(t, redisrevoke.FollowerConfig{Redis: s.redis()})
	theirs := startFollower(t, redisrevoke.FollowerConfig{Redis: other})
	require.NoError(t, newPublisher(t, redisrevoke.PublisherConfig{Redis: other}).Revoke(t.Context(), entry("id")))
	answers(t, theirs, "id", jwtverify.ErrRevoked)
	ready(t, mine)
	answers(t, mine, "id", "")
}

func TestWhatRedisDoesNotTakeIsAnErrorAndNotTriedForLong(t *testing.T) {
	s := startRedis(t)
	p := newPublisher(t, redisrevoke.PublisherConfig{Redis: s.redis()})
	require.NoError(t, p.Revoke(t.Context(), entry("before")))
	f := startFollower(t, redisrevoke.FollowerConfig{Redis: s.redis()})
	ready(t, f)

	s.must(t, "CONFIG", "SET", "maxmemory", "1")
	err := p.Revoke(t.Context(), entry("full"))
	require.ErrorContains(t, err, "OOM")
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	s.must(t, "CONFIG", "SET", "maxmemory", "0")
	require.NoError(t, p.Revoke(t.Context(), entry("after")))
	answers(t, f, "after", jwtverify.ErrRevoked)
	ready(t, f)
	answers(t, f, "full", "")

	s.kill()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, p.Revoke(ctx, entry("down")), context.DeadlineExceeded, "it is tried until the context ends")
}

func TestManyRevokeAtOnce(t *testing.T) {
	s := startRedis(t)
	p := newPublisher(t, redisrevoke.PublisherConfig{Redis: s.redis()})
	f := startFollower(t, redisrevoke.FollowerConfig{Redis: s.redis()})
	errs := make(chan error)
	names := ids("id-", 200)
	for _, id := range names {
		go func() { errs <- p.Revoke(t.Context(), entry(id)) }()
	}
	for range names {
		require.NoError(t, <-errs)
	}
	for _, id := range names {
		answers(t, f, id, jwtverify.ErrRevoked)
	}
}
