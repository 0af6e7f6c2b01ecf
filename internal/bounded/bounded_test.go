package bounded

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestAStrangersWordsAreEscapedAndCut(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		"a plain text, naïve":           "a plain text, naïve",
		"a line\nanother\x1b[31m\x00":   `a line\nanother\x1b[31m\x00`,
		`"quoted" \`:                    `\"quoted\" \\`,
		"\xff\u202e\u2028":              `?\u202e\u2028`,
		strings.Repeat("x", 300):        strings.Repeat("x", 300),
		strings.Repeat("x", 301):        strings.Repeat("x", 300) + "…",
		strings.Repeat("x", 299) + "üü": strings.Repeat("x", 299) + "?…",
	} {
		require.Equal(t, want, Text(text))
		require.True(t, utf8.ValidString(Text(text)))
	}
}
