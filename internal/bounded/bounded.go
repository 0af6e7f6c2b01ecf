// Package bounded makes what a stranger wrote fit for an error and a log.
package bounded

import (
	"strconv"
	"strings"
)

// Text escapes what does not print, quotes included, and cuts what is longer than 300
// bytes.
func Text(s string) string {
	const most = 300
	if len(s) > most {
		s = s[:most] + "…"
	}
	quoted := strconv.QuoteToGraphic(strings.ToValidUTF8(s, "?"))
	return quoted[1 : len(quoted)-1]
}
