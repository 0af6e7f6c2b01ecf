package b64token

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var grammar = regexp.MustCompile(`\A[A-Za-z0-9._~+/-]+=*\z`)

// Each character in each place, since those in the first eights and those in the rest
// are looked at by different lines.
func TestATokenIsMadeOfTheCharactersOfItsGrammarAndOfNoOthers(t *testing.T) {
	require.False(t, Is(""))
	for length := 1; length <= 17; length++ {
		for place := range length {
			for c := range 256 {
				text := strings.Repeat("a", place) + string([]byte{byte(c)}) + strings.Repeat("a", length-place-1)
				require.Equal(t, grammar.MatchString(text), Is(text), "%q", text)
			}
		}
		require.True(t, Is(strings.Repeat("a", length)+strings.Repeat("=", length)))
		require.False(t, Is(strings.Repeat("=", length)))
	}
}
