//go:build !race

// One thing runs after another here: the race detector would look for minutes and
// could find nothing.

package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEveryCacheFindsWhatItHasUntilThatExpires(t *testing.T) {
	now := time.Unix(0, 0)
	for _, c := range contestants {
		s := c.open(1 << 20)
		sum, other := sumOf(1), sumOf(2)
		require.False(t, s.get(&sum, now), c.name)
		s.put(&sum, token{now.Add(life), make([]byte, 1000)}, now)
		require.True(t, s.get(&sum, now.Add(life-1)), c.name)
		require.False(t, s.get(&other, now), c.name)
		require.False(t, s.get(&sum, now.Add(life)), c.name)
	}
}

func TestEveryCacheIsGivenAsMuch(t *testing.T) {
	now := time.Unix(0, 0)
	for _, c := range contestants {
		s := c.open(1 << 20)
		held := 0
		for n := range uint64(5000) {
			sum := sumOf(n)
			s.put(&sum, token{now.Add(life), make([]byte, meanClaims)}, now)
		}
		for n := range uint64(5000) {
			if sum := sumOf(n); s.get(&sum, now) {
				held++
			}
		}
		require.InDelta(t, 1<<20, held*(meanClaims+weight), 1<<18, c.name)
	}
}

func TestTokensHaveTheSizeThatIsSaid(t *testing.T) {
	sum := 0
	for n := range uint64(10_000) {
		sum += sizeOf(n)
		require.Equal(t, sizeOf(n), sizeOf(n))
	}
	require.InDelta(t, meanClaims, sum/10_000, 30)
}

func TestARunPrintsARowForEachCache(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Zero(t, run([]string{"-rounds", "1", "-slot", "100us", "-trace", "301s"}, &stdout, &stderr), stderr.String())
	for _, c := range contestants {
		require.Equal(t, 3, bytes.Count(stdout.Bytes(), []byte("| "+c.name+" |")))
	}
	require.Equal(t, 2, run([]string{"stray"}, &stdout, &stderr))
}
