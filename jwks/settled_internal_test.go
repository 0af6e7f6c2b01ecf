package jwks

import (
	"crypto/ed25519"
	"hash/maphash"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/internal/schedule"
)

// A fetch may bring the key after Key has looked for it in vain. Then nothing is
// settled, whatever is remembered of that kid and however empty the bucket is.
func TestAKeyThatCameMeanwhileIsNotSettledToBeMissing(t *testing.T) {
	public, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	key, err := NewKey("a", "EdDSA", public)
	require.NoError(t, err)
	set, err := NewSet(key)
	require.NoError(t, err)
	now := time.Now()
	c := &Cache{config: Config{Cooldown: time.Minute, MaxStale: time.Hour}, seed: maphash.MakeSeed()}
	c.snap.Store(&snapshot{set: set, fetched: now})
	c.absent = map[uint64]time.Time{c.hash(name{"a", "EdDSA"}): now.Add(time.Minute), c.hash(name{"b", "EdDSA"}): now.Add(time.Minute)}
	for range schedule.Burst {
		c.bucket.Take(now, time.Minute)
	}
	require.True(t, c.settled(name{"b", "EdDSA"}, now))
	require.True(t, c.settled(name{"c", "EdDSA"}, now))
	require.False(t, c.settled(name{"a", "EdDSA"}, now))
	c.inFlight = true
	require.False(t, c.settled(name{"b", "EdDSA"}, now), "a fetch is on its way")
}
