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

func TestNoByteOfASumIsLeftOut(t *testing.T) {
	c := New[int](20_000, 0)
	now := time.Unix(0, 0)
	sum := sha256.Sum256([]byte("one"))
	c.Put(7, &sum, 1, 0, now.Add(time.Minute), now)
	for i := range sum {
		other := sum
		other[i] ^= 1
		require.False(t, c.Get(7).Is(&other), "byte %d", i)
	}
}

// few is a Cache of four sets; what has a Tag that is a multiple of four is in
// the first.
func few(t *testing.T) (c *Cache[int], put func(tag Tag, bytes int64, until time.Time, now time.Time)) {
	c = New[int](20_000, 0)
	require.Equal(t, 4, c.sets)
	return c, func(tag Tag, bytes int64, until, now time.Time) {
		sum := Sum{byte(tag), byte(tag >> 8)}
		c.Put(tag, &sum, 0, bytes, until, now)
	}
}

// use makes an entry one that came often.
func use(c *Cache[int], tag Tag) {
	for range maxUses {
		c.Get(tag).Is(&Sum{byte(tag), byte(tag >> 8)})
	}
}

func TestAnEntryThatLeavesNoRoomForAnotherDoesNotGetIn(t *testing.T) {
	c, put := few(t)
	start := time.Unix(0, 0)
	put(1, 100, start.Add(time.Minute), start)
	put(2, 10_000, start.Add(time.Minute), start)
	require.Nil(t, c.Get(2))
	require.NotNil(t, c.Get(1))
	require.Nil(t, New[int](4<<10, 2000), "and a Cache that no entry gets into is none")
	require.NotNil(t, New[int](4<<10, 1000))
}

func TestWhatTheCacheItselfTakesIsCounted(t *testing.T) {
	c, put := few(t)
	start := time.Unix(0, 0)
	empty := c.Status().Bytes
	require.Equal(t, sizeOf[Cache[int]](), empty)
	put(1, 100, start.Add(time.Minute), start)
	require.Equal(t, empty+4*ways*8+c.Get(1).bytes, c.Status().Bytes)
}

func TestAnEntryThatComesAgainTakesItsOwnPlace(t *testing.T) {
	c, put := few(t)
	start := time.Unix(0, 0)
	put(1, 100, start.Add(time.Minute), start)
	use(c, 1)
	bytes := c.Status().Bytes
	put(1, 100, start.Add(time.Minute), start)
	require.Equal(t, Status{Entries: 1, Bytes: bytes}, c.Status(), "nothing was evicted")
	require.EqualValues(t, maxUses, c.Get(1).uses.Load(), "nor is it forgotten how often it came")
}

// Each new entry sweeps one set, and the fifth and the ninth do not sweep the
// first: what expired there is found by those who look for room.
func TestWhatExpiredMakesRoomBeforeAnythingElse(t *testing.T) {
	start := time.Unix(0, 0)
	later := start.Add(time.Second)
	t.Run("in a set that is full", func(t *testing.T) {
		c, put := few(t)
		put(0, 100, later, start)
		use(c, 0)
		for n := range Tag(ways - 1) {
			put(4+4*n, 100, later.Add(1), start)
		}
		put(4*ways, 100, later.Add(1), later)
		require.Nil(t, c.Get(0))
		require.Equal(t, ways, c.Status().Entries)
		require.Zero(t, c.Status().Evictions)
	})
	t.Run("in a Cache whose bytes are taken", func(t *testing.T) {
		c, put := few(t)
		put(0, 4400, later, start)
		for n := range Tag(3) {
			put(n+1, 4400, later.Add(1), start)
		}
		for n := range Tag(4) {
			use(c, n)
		}
		put(4, 4400, later.Add(1), later)
		require.Nil(t, c.Get(0))
		require.Equal(t, 4, c.Status().Entries)
		require.Zero(t, c.Status().Evictions)
	})
}

func TestNoEntryKeepsItsPlaceInASetByWhatItOnceWas(t *testing.T) {
	c, put := few(t)
	start := time.Unix(0, 0)
	for n := range Tag(ways - 1) {
		put(4*n, 100, start.Add(time.Minute), start)
		use(c, 4*n)
	}
	for n := range Tag(50 * ageing) {
		put(4*(ways+n), 100, start.Add(time.Minute), start)
	}
	for n := range Tag(ways - 1) {
		require.Nil(t, c.Get(4*n))
	}
}
