package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheGatewayAloneSaysWhoIsAsking(t *testing.T) {
	var out strings.Builder
	require.NoError(t, play(&out))
	require.Equal(t, 5, strings.Count(out.String(), " ok\n"))
	require.NotContains(t, out.String(), "mallory")
}
