package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhoLogsOutAtOneIsRefusedByBoth(t *testing.T) {
	var out strings.Builder
	require.NoError(t, play(&out, ""))
	require.Equal(t, 11, strings.Count(out.String(), " ok\n"))
}
