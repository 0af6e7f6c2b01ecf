//go:build !race

// The race detector needs memory and time of its own.

package revoke_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify/revoke"
)

func TestAMillionEntriesTakeNoMoreThan64MiB(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	l, now := newList(t, 0)
	entries := make([]revoke.Entry, 0, 1000)
	for n := range 1000 {
		entries = entries[:0]
		for m := range 1000 {
			entries = append(entries, revoke.Token(issuer, fmt.Sprint(n, "-", m), now.Add(time.Hour)))
		}
		require.NoError(t, l.Revoke(entries...))
	}
	entries = nil
	taken := heap() - before
	require.Less(t, taken, int64(64<<20))
	require.InEpsilon(t, taken, l.Status().Bytes, 0.1)
	require.ErrorIs(t, l.Revoke(revoke.Token(issuer, "more", now.Add(time.Hour))), revoke.ErrFull)
	runtime.KeepAlive(l)
}
