package jwtverify

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQuotedWordsAreEscapedWhateverTheyAre(t *testing.T) {
	said := []string{"", "RS256", "é", "\u202e", "\u2028", strings.Repeat("a", 63) + "é", strings.Repeat("x", 65)}
	for c := range 256 {
		said = append(said, string([]byte{byte(c)}), "a"+string([]byte{byte(c)})+"b")
	}
	for _, said := range said {
		want := strconv.QuoteToASCII(said[:min(len(said), 64)])
		if len(said) > 64 {
			want += "…"
		}
		require.Equal(t, "alg is "+want, quote(said, "alg is "))
	}
}
