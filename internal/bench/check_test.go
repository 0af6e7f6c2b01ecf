//go:build !race

// The race detector takes buffers out of their pools at random, so that under it
// allocations say nothing.

package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckFailsTheRunBeyondALimit(t *testing.T) {
	code, _, stderr := runQuick("-check", "-slack", "1e9")
	require.Zero(t, code, stderr)
	code, _, stderr = runQuick("-check", "-slack", "1e-9")
	require.Equal(t, 1, code)
	// Junk cannot cost nothing. What a first check costs beyond the floor may be lost
	// in the noise of so short a run: TestTheGateJudgesEveryRowOfOurs judges that line.
	require.Contains(t, stderr, "times the floor, the limit is 0.0000")
}
