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
	steps := 10_000
	if testing.Short() { // for `make stress`, which runs it a thousand times
		steps = 1000
	}
	for _, limit := range []int{4 << 10, 20_000, 300_000} {
		c := New[int](limit, 0)
		c.create.Do(c.fill)
		own := c.used.Load()
		start := time.Unix(0, 0)
		var callers sync.WaitGroup
		for caller := range uint64(4) {
			callers.Go(func() {
				random := rand.New(rand.NewPCG(caller, 0))
				for step := range steps {
					now := start.Add(time.Duration(step) * time.Millisecond)
					var number [8]byte
					binary.LittleEndian.PutUint64(number[:], random.Uint64N(1000))
					sum := sha256.Sum256(number[:])
					tag := Tag(binary.LittleEndian.Uint64(sum[:]))
					switch e := c.Get(tag); {
					case e == nil:
						end := now.Add(time.Duration(random.IntN(3000)) * time.Millisecond)
						c.Put(tag, &sum, step, 500+random.Int64N(3000), end, now)
					case !c.Is(e, &sum):
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
			for j := range sets[i].entries {
				if e := sets[i].entries[j].Load(); e != nil {
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
	require.True(t, c.Is(c.Get(7), &one))
	require.False(t, c.Is(c.Get(7), &other))
	require.Nil(t, c.Get(8))
	c.Put(7, &other, "other", 0, now.Add(time.Minute), now)
	require.True(t, c.Is(c.Get(7), &other))
	require.False(t, c.Is(c.Get(7), &one))
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
		require.False(t, c.Is(c.Get(7), &other), "byte %d", i)
	}
}

// few is a Cache of four sets; what has a Tag that is a multiple of four is in
// the first.
func few(t *testing.T) (c *Cache[int], put func(tag Tag, bytes int64, until time.Time, now time.Time)) {
	c = New[int](20_000, 0)
	require.Equal(t, 4, c.sets)
	return c, func(tag Tag, bytes int64, until, now time.Time) {
		c.Put(tag, sumOf(tag), 0, bytes, until, now)
	}
}

func sumOf(tag Tag) *Sum {
	sum := sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(tag)))
	return &sum
}

// use makes an entry one that came often.
func use(c *Cache[int], tag Tag) {
	for range maxUses {
		pass(c, apart)
		c.Is(c.Get(tag), sumOf(tag))
	}
}

// pass lets turns pass.
func pass(c *Cache[int], n int) { c.came.Add((c.limit*int64(n) + turns - 1) / turns) }

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
	require.Equal(t, empty+4*ways*(8+4)+c.Get(1).bytes, c.Status().Bytes)
}

func TestAnEntryThatComesAgainTakesItsOwnPlace(t *testing.T) {
	c, put := few(t)
	start := time.Unix(0, 0)
	put(1, 100, start.Add(time.Minute), start)
	use(c, 1)
	bytes, was := c.Status().Bytes, c.Get(1).uses.Load()
	put(1, 100, start.Add(time.Minute), start)
	require.Equal(t, Status{Entries: 1, Bytes: bytes}, c.Status(), "nothing was evicted")
	require.Equal(t, was, c.Get(1).uses.Load(), "nor is it forgotten how often it came")
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

// worth is what an entry is, counted from the turn of now.
func worth(c *Cache[int], tag Tag) int { return int(c.Get(tag).worth()) - int(c.turn()) }

func TestAUseCountsOnlySomeTurnsAfterTheLast(t *testing.T) {
	c, put := few(t)
	start := time.Unix(0, 0)
	put(1, 100, start.Add(time.Minute), start)
	pass(c, 3)
	require.Equal(t, -3, worth(c, 1), "what does not come again is worth less with each turn")
	sum := sumOf(1)
	for n := range 3 * maxUses {
		for range 100 { // a burst
			require.True(t, c.Is(c.Get(1), sum))
		}
		require.Equal(t, min(n+1, maxUses)*bonus, worth(c, 1))
		pass(c, apart-1)
		require.True(t, c.Is(c.Get(1), sum))
		require.Equal(t, min(n+1, maxUses)*bonus-(apart-1), worth(c, 1), "too soon")
		pass(c, 1)
	}
	c.Is(c.Get(1), sumOf(2))
	require.Equal(t, maxUses*bonus-apart, worth(c, 1), "another's is no use")
}

// tag makes Tags of the first set whose traces differ.
func tag(n int) Tag { return Tag(n)<<36 | Tag(n%ways)<<32 }

func TestWhatWasEvictedAndComesBackStartsWithAUse(t *testing.T) {
	c, put := few(t)
	start := time.Unix(0, 0)
	until := start.Add(time.Minute)
	for n := range ways + 1 {
		put(tag(n), 100, until, start)
		pass(c, 1)
	}
	require.Nil(t, c.Get(tag(0)), "the oldest made room")
	put(tag(0), 100, until, start)
	require.Equal(t, bonus, worth(c, tag(0)))
	require.Nil(t, c.Get(tag(1)), "so did the next")
	put(tag(100), 100, until, start)
	require.Zero(t, worth(c, tag(100)), "what was not there before")

	c.Forget(c.Get(tag(0)))
	put(tag(0), 100, until, start)
	require.Zero(t, worth(c, tag(0)), "what was taken out leaves no trace, and the one it had is gone")
	require.NotNil(t, c.Get(tag(8)))
	for n := range Tag(4) {
		put(1+4*n, 100, until.Add(time.Hour), until)
	}
	require.Nil(t, c.Get(tag(8)), "what expired leaves as others come")
	put(tag(8), 100, until.Add(time.Hour), until)
	require.Zero(t, worth(c, tag(8)), "and no trace either")
}

func TestTheLeastWorthMakesRoomInASetAndAmongSets(t *testing.T) {
	start := time.Unix(0, 0)
	until := start.Add(time.Minute)
	t.Run("in a set", func(t *testing.T) {
		c, put := few(t)
		for n := range Tag(ways) {
			put(4*n, 100, until, start)
			pass(c, 1)
		}
		use(c, 0)
		put(4*ways, 100, until, start)
		require.NotNil(t, c.Get(0), "it was used")
		require.Nil(t, c.Get(4), "the oldest of the others")
	})
	t.Run("among sets", func(t *testing.T) {
		c, put := few(t)
		for n := range Tag(3) {
			put(n, 4400, until, start)
			pass(c, 1)
		}
		use(c, 0)
		put(3, 4400, until, start)
		put(7, 4400, until, start)
		require.NotNil(t, c.Get(0), "it was used")
		require.Nil(t, c.Get(1), "the oldest of the others")
		require.EqualValues(t, 1, c.Status().Evictions)
	})
}

func TestNoEntryKeepsItsPlaceInASetByWhatItOnceWas(t *testing.T) {
	c, put := few(t)
	start := time.Unix(0, 0)
	for n := range ways - 1 {
		put(tag(n), 100, start.Add(time.Minute), start)
		use(c, tag(n))
	}
	for n := range 10 * ways { // a flood through the last place
		put(tag(ways+n), 100, start.Add(time.Minute), start)
	}
	for n := range ways - 1 {
		require.NotNil(t, c.Get(tag(n)), "they are worth more")
	}
	pass(c, maxUses*bonus)
	for n := range 2 * ways {
		put(tag(1000+n), 100, start.Add(time.Minute), start)
	}
	for n := range ways - 1 {
		require.Nil(t, c.Get(tag(n)))
	}
}

func TestWhatIsDroppedGivesItsBytesBack(t *testing.T) {
	c, put := few(t)
	now := time.Now()
	put(1, 100, now.Add(time.Hour), now)
	before := c.Status()
	put(2, 100, now.Add(time.Hour), now)
	put(3, 100, now.Add(time.Hour), now)
	require.Greater(t, c.Status().Bytes, before.Bytes)
	kept := c.Get(1)
	c.Drop(func(value *int) bool { return value != &kept.Value })
	require.Equal(t, before, c.Status())
	require.Same(t, kept, c.Get(1))
	New[int](1<<20, 8).Drop(func(*int) bool { panic("there is none") })
}
