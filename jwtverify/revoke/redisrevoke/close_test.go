//go:build e2e

package redisrevoke_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify/revoke/redisrevoke"
)

func TestCloseLeavesNothingBehind(t *testing.T) {
	s := startRedis(t)
	before := runtime.NumGoroutine()
	for range 3 {
		p := newPublisher(t, redisrevoke.PublisherConfig{Redis: s.redis()})
		require.NoError(t, p.Revoke(t.Context(), entry("id")))
		f := startFollower(t, redisrevoke.FollowerConfig{Redis: s.redis()})
		ready(t, f)
		require.NoError(t, p.Close())
		require.NoError(t, f.Close())
		require.ErrorContains(t, p.Revoke(t.Context(), entry("id")), "closed")
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
	eventually(t, "no connection is left", func() bool {
		list, err := reply(t, s, "CLIENT", "LIST")
		return err == nil && len(list) > 0 && len(splitLines(list)) == 1 // our own
	})
}
