package redisrevoke

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAReplyIsReadOnlyWithinItsBounds(t *testing.T) {
	for name, c := range map[string]struct {
		reply string
		good  bool
	}{
		"a status":                  {"+OK\r\n", true},
		"an error":                  {"-ERR no\r\n", true},
		"an integer":                {":1\r\n", true},
		"a double":                  {",1.5\r\n", true},
		"a string":                  {"$3\r\na\r\n\r\n", true},
		"an empty string":           {"$0\r\n\r\n", true},
		"no string":                 {"$-1\r\n", true},
		"null":                      {"_\r\n", true},
		"arrays and a map":          {"*2\r\n*0\r\n%1\r\n$1\r\na\r\n~1\r\n:1\r\n+OK\r\n", true},
		"no array":                  {"*-1\r\n", true},
		"eight deep":                {strings.Repeat("*1\r\n", 8) + ":1\r\n", true},
		"nine deep":                 {strings.Repeat("*1\r\n", 9), false},
		"many of one reply":         {strings.Repeat("*65536\r\n", 3), false},
		"many, each its own":        {strings.Repeat("*1\r\n:1\r\n", maxElements+1), true},
		"a map of half":             {fmt.Sprintf("%%%d\r\n", maxElements/2+1), false},
		"a long string":             {fmt.Sprintf("$%d\r\n", maxBulk), true},
		"too long a string":         {fmt.Sprintf("$%d\r\n", maxBulk+1), false},
		"a huge string":             {"$9223372036854775807\r\n", false},
		"too huge a string":         {"$99999999999999999999\r\n", false},
		"a negative string":         {"$-5\r\n", false},
		"a negative array":          {"*-5\r\n", false},
		"a set that is null":        {"~-1\r\n", false},
		"a map that is null":        {"%-1\r\n", false},
		"an error that is null":     {"!-1\r\n", false},
		"a verbatim that is null":   {"=-1\r\n", false},
		"true":                      {"#t\r\n", true},
		"false":                     {"#f\r\n", true},
		"a boolean that is neither": {"#x\r\n", false},
		"a boolean that is empty":   {"#\r\n", false},
		"a reply behind a boolean":  {"#txx$99\r\n", false},
		"a reply behind a null":     {"_xx$99\r\n", false},
		"a string in pieces":        {"$?\r\n", false},
		"an array in pieces":        {"*?\r\n", false},
		"a length in hex":           {"$0x10\r\n", false},
		"an attribute":              {"|1\r\n", false},
		"a push":                    {">1\r\n", false},
		"HTTP":                      {"HTTP/1.1 400 Bad Request\r\n", false},
		"an empty line":             {"\r\n", false},
		"a line without CR":         {"+OK\n", false},
		"a line without end":        {"+" + strings.Repeat("x", maxLine+1), false},
		"a large sum of lines":      {"*16384\r\n" + strings.Repeat("+"+strings.Repeat("x", 4000)+"\r\n", 16384), false},
		"a large sum":               {"*1024\r\n" + strings.Repeat("$65000\r\n"+strings.Repeat("x", 65000)+"\r\n", 520), false},
		"as much, each its own":     {strings.Repeat("$65000\r\n"+strings.Repeat("x", 65000)+"\r\n", 520), true},
	} {
		t.Run(name, func(t *testing.T) {
			whole := new(replies)
			require.Equal(t, c.good, whole.accept([]byte(c.reply)))
			if len(c.reply) < 1000 {
				bytewise, good := new(replies), true
				for i := range len(c.reply) {
					good = good && bytewise.accept([]byte{c.reply[i]})
				}
				require.Equal(t, c.good, good, "in pieces")
			}
		})
	}
}

func TestAnErrorIsShortAndTellsNoPassword(t *testing.T) {
	for name, text := range map[string]string{
		"its own words":            "ERR you are not let in with 'hunter2-hunter2'",
		"the arguments of AUTH":    "ERR unknown command 'AUTH', with args beginning with: 'user' 'hunter2-hunter2'",
		"those, cut":               "ERR unknown command 'AUTH', with args beginning with: 'user' 'hunter2-hu",
		"the password at the edge": strings.Repeat("x", 295) + "hunter2-hunter2",
	} {
		t.Run(name, func(t *testing.T) {
			said := (&failure{"no connection", errors.New(text), "hunter2-hunter2"}).Error()
			require.NotContains(t, said, "hunt")
			require.Less(t, len(said), 400)
		})
	}
}

// FuzzReplies holds that no reply that is let through announces more than the bounds,
// as a plain reader of RESP understands it.
func FuzzReplies(f *testing.F) {
	f.Add([]byte("*2\r\n%1\r\n$1\r\na\r\n:1\r\n$-1\r\n"), 3)
	f.Add([]byte("$3\r\n$9\r\r\n*9\r\n"), 1)
	f.Fuzz(func(t *testing.T, stream []byte, cut int) {
		r := new(replies)
		cut = min(max(cut, 0), len(stream))
		whole := new(replies).accept(stream)
		require.Equal(t, whole, r.accept(stream[:cut]) && r.accept(stream[cut:]))
		if !whole {
			return
		}
		in := bufio.NewReader(strings.NewReader(string(stream)))
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			require.False(t, line[0] == '_' && len(line) != len("_\r\n") || line[0] == '#' && len(line) != len("#t\r\n"),
				"the client reads on before the end of the line")
			var length int
			if _, err := fmt.Sscanf(line[1:], "%d", &length); err != nil || !strings.ContainsRune("$!=*~%", rune(line[0])) {
				continue
			}
			require.LessOrEqual(t, length, maxElements)
			require.GreaterOrEqual(t, length, -1)
			require.False(t, length < 0 && !strings.ContainsRune("$*", rune(line[0])), "at which the client panics")
			if strings.ContainsRune("$!=", rune(line[0])) && length >= 0 {
				require.LessOrEqual(t, length, maxBulk)
				if _, err := io.CopyN(io.Discard, in, int64(length)+2); err != nil {
					return
				}
			}
		}
	})
}
