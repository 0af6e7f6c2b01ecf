package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheBytesCountedAreThoseOfTheEntriesThatAreThere(t *testing.T) {
	for _, limit := range []int{4 << 10, 20_000, 300_000} {
		c := New[int](limit, 0)
		c.create.Do(c.fill)
		own := c.used.Load()
		start := time.Unix(0, 0)
		var callers sync.WaitGroup
		for caller := range uint64(4) {
			callers.Go(func() {
				random := rand.New(rand.NewPCG(caller, 0))
				for step := range 10_000 {
					now := start.Add(time.Duration(step) * time.Millisecond)
					var number [8]byte
					binary.LittleEndian.PutUint64(number[:], random.Uint64N(1000))
					sum := sha256.Sum256(number[:])
					tag := Tag(binary.LittleEndian.Uint64(sum[:]))
					switch e := c.Get(tag); {
					case e == nil:
						end := now.Add(time.Duration(random.IntN(3000)) * time.Millisecond)
						c.Put(tag, &sum, step, 500+random.Int64N(3000), end, now)
					case !e.Is(&sum):
						t.Errorf("another's entry")
					case random.IntN(10) == 0:
						c.Forget(e)
						c.Forget(e) // as two callers may, who had it from Get
					}
					if c.used.Load() > int64(limit) {
						t.Errorf("%d bytes of %d", c.used.Load(), limit)
						return
					}
				}
			})
		}
		callers.Wait()
		entries, bytes := 0, own
		sets := *c.array.Load()
		for i := range sets {
			for j := range sets[i] {
				if e := sets[i][j].Load(); e != nil {
					entries, bytes = entries+1, bytes+e.bytes
					require.Same(t, &sets[i], at(sets, uint64(e.tag)))
				}
			}
		}
		require.Positive(t, entries)
		require.Equal(t, bytes, c.used.Load())
		require.Equal(t, entries, c.Status().Entries)
	}
}

func TestAnEntryIsKnownByItsSumAlone(t *testing.T) {
	c := New[string](20_000, 0)
	now := time.Unix(0, 0)
	one, other := sha256.Sum256([]byte("one")), sha256.Sum256([]byte("other"))
	c.Put(7, &one, "one", 0, now.Add(time.Minute), now)
	require.True(t, c.Get(7).Is(&one))
	require.False(t, c.Get(7).Is(&other))
	require.Nil(t, c.Get(8))
	c.Put(7, &other, "other", 0, now.Add(time.Minute), now)
	require.True(t, c.Get(7).Is(&other))
	require.False(t, c.Get(7).Is(&one))
	require.Equal(t, 1, c.Status().Entries)
}
