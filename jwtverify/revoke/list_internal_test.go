package revoke

import (
	"fmt"
	"hash/maphash"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Without the filter every token of every request would wait for memory, and nothing
// else would show it.
func TestTheFilterKnowsNearlyAllThatIsNotRevoked(t *testing.T) {
	l, err := New(Config{})
	require.NoError(t, err)
	until := time.Now().Add(time.Hour)
	for n := range 100_000 {
		require.NoError(t, l.Revoke(Token("issuer", fmt.Sprint("id", n), until)))
	}
	const asked = 200_000
	issuer := maphash.String(l.seeds[0].issuer, "issuer")
	mayHave := func(id string) bool {
		low := issuer ^ maphash.String(l.seeds[0].value, id)
		return l.shardOf(low).table.Load().mayHave(low)
	}
	through := 0
	for n := range asked {
		if mayHave(fmt.Sprint("other", n)) {
			through++
		}
		require.True(t, mayHave(fmt.Sprint("id", n/2)))
	}
	require.Less(t, through, asked/40, "with bits that depend on nothing else it is one of 65")
}
