// Package cache remembers, for a while, what was found out at some cost, within
// a bound of bytes.
package cache

import (
	"math/bits"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
)

// Sum is what an entry is known by: a SHA-256, since whoever finds two texts with
// the same one would take an entry that is somebody else's.
type Sum = [32]byte

// Tag is where an entry is looked for. It costs less than a Sum, and decides
// nothing: two entries with one Tag are in each other's way, no more.
type Tag uint64

// Cache holds entries until they expire or make room for others. It is safe for
// concurrent use.
//
// It is an array of small sets. A Tag belongs to one of them, so that looking
// and making room touch a few pointers and nothing that is shared by all; no
// lock is taken.
//
// Room is made by evicting what expired, then what is worth least. Time is told in
// turns, of which there are a few while as many bytes come as there is room for.
// An entry is worth the turn of its last use, and more for each of a few uses that
// lay some turns apart, which those of one that comes in a burst and never again
// do not. What was evicted leaves a trace, and starts with a use when it comes
// back. So a flood, of entries that come once or a few times, evicts its own kind
// and leaves those alone that come again and again.
type Cache[V any] struct {
	tally     [tallies]tally
	evictions atomic.Uint64

	array   atomic.Pointer[[]set[V]] // nil until a first entry comes: most of ten thousand Caches may be idle
	create  sync.Once                // that array
	sets    int                      // a power of two
	limit   int64                    // bytes
	largest int64                    // bytes of an entry that gets in: beside it there is room for more
	used    atomic.Int64             // bytes, the cache's own included; never above the limit
	hand    atomic.Uint64            // the next set to evict from
	broom   atomic.Uint64            // the next set to be swept
	came    atomic.Int64             // bytes of all entries that ever did
}

const (
	ways     = 8       // entries in a set
	smallest = 512     // bytes of an entry
	maxSets  = 1 << 20 // which is enough for 4 GiB
	maxUses  = 3       // that are counted
	turns    = 4       // in which as much comes as there is room for
	apart    = 2       // turns from one use to the next that counts
	bonus    = 16      // turns that a use is worth
	enough   = 16      // entries to look at for the one to evict
	patience = 64      // and sets
	tallies  = 16
)

type set[V any] struct {
	entries [ways]atomic.Pointer[Entry[V]]
	traces  [ways]atomic.Uint32 // of what was evicted
}

// Entry is immutable but for the account of its uses.
type Entry[V any] struct {
	Value V

	tag   Tag
	sum   Sum
	until time.Time
	bytes int64
	uses  atomic.Uint64 // the turn of the last one that counted, times maxUses+1, and how many did
}

func uses(turn, count uint64) uint64 { return turn*(maxUses+1) + count }

// worth is the higher the longer an entry should stay.
func (e *Entry[V]) worth() uint64 {
	u := e.uses.Load()
	return u/(maxUses+1) + u%(maxUses+1)*bonus
}

func (e *Entry[V]) expired(now time.Time) bool { return !now.Before(e.until) }

// tally counts for a fraction of the callers, so that counting does not make
// them wait for each other. It fills a cache line.
type tally struct {
	hits, misses atomic.Uint64
	_            [48]byte
}

// Status describes a Cache.
type Status struct {
	Entries   int
	Bytes     int64  // that the entries and the Cache itself take, never above its limit
	Hits      uint64 // as counted by Count
	Misses    uint64
	Evictions uint64 // entries that made room for others before they expired
}

// New makes a Cache of that many bytes, itself included; nil if they are too few
// for an entry whose value takes least.
func New[V any](limit int, least int64) *Cache[V] {
	sets := min(max(1, limit/smallest/ways), maxSets)
	c := &Cache[V]{sets: 1 << bits.Len(uint(sets-1)), limit: int64(limit)}
	c.used.Store(sizeOf[Cache[V]]())
	c.largest = (c.limit - c.used.Load() - int64(c.sets)*sizeOf[set[V]]()) / 2
	if c.largest < sizeOf[Entry[V]]()+least {
		return nil
	}
	return c
}

func (c *Cache[V]) fill() {
	sets := make([]set[V], c.sets)
	c.used.Add(int64(len(sets)) * sizeOf[set[V]]())
	c.array.Store(&sets)
}

func at[V any](sets []set[V], n uint64) *set[V] { return &sets[n&uint64(len(sets)-1)] }

// turn is what time it is.
func (c *Cache[V]) turn() uint64 { return uint64(c.came.Load() * turns / c.limit) }

// Get finds the entry with a Tag; nil if there is none. It may have expired, and
// it may be another's: see [Cache.Is].
func (c *Cache[V]) Get(tag Tag) *Entry[V] {
	sets := c.array.Load()
	if sets == nil {
		return nil
	}
	s := at(*sets, uint64(tag))
	for i := range s.entries {
		if e := s.entries[i].Load(); e != nil && e.tag == tag {
			return e
		}
	}
	return nil
}

// Is reports whether an entry is the one with this Sum. If it is, that counts as a
// use.
func (c *Cache[V]) Is(e *Entry[V], sum *Sum) bool {
	if e.sum != *sum {
		return false
	}
	// Written to only once in a few turns, since writing is what makes cores wait
	// for each other.
	turn, last := c.turn(), e.uses.Load()
	if turn-last/(maxUses+1) >= apart {
		e.uses.Store(uses(turn, min(last%(maxUses+1)+1, maxUses)))
	}
	return true
}

// Count counts a use of what Get found, or a search in vain. Callers in different
// lanes do not wait for each other.
func (c *Cache[V]) Count(lane uint32, hit bool) {
	if t := &c.tally[lane%tallies]; hit {
		t.hits.Add(1)
	} else {
		t.misses.Add(1)
	}
}

// Put lets a value in that takes so many bytes beside those of V itself. The
// value is the Cache's from now on.
func (c *Cache[V]) Put(tag Tag, sum *Sum, value V, bytes int64, until, now time.Time) {
	bytes += sizeOf[Entry[V]]()
	if bytes > c.largest {
		return
	}
	c.create.Do(c.fill)
	sets := *c.array.Load()
	c.sweep(at(sets, c.broom.Add(1)), now)
	if !c.reserve(sets, bytes, now) {
		return
	}
	c.came.Add(bytes)
	e := &Entry[V]{Value: value, tag: tag, sum: *sum, until: until, bytes: bytes}
	s := at(sets, uint64(tag))
	e.uses.Store(uses(c.turn(), s.traced(tag)))
	way, old := s.place(tag, now)
	again := old != nil && old.sum == *sum
	if again {
		e.uses.Store(old.uses.Load())
	}
	if !s.entries[way].CompareAndSwap(old, e) {
		c.used.Add(-bytes) // another came first
		return
	}
	if old != nil {
		c.gone(s, old, !again && !old.expired(now))
	}
}

// reserve takes bytes for a new entry, and evicts until there are as many. It
// fails where others take them first.
func (c *Cache[V]) reserve(sets []set[V], bytes int64, now time.Time) bool {
	for range ways * len(sets) {
		for used := c.used.Load(); used+bytes <= c.limit; used = c.used.Load() {
			if c.used.CompareAndSwap(used, used+bytes) {
				return true
			}
		}
		c.evict(sets, now)
	}
	return false
}

// evict takes one entry out: of the next few, the first that expired, else what is
// worth least.
func (c *Cache[V]) evict(sets []set[V], now time.Time) {
	var from *set[V]
	var way int
	var victim *Entry[V]
	seen := 0
	for range min(patience, len(sets)) {
		s := at(sets, c.hand.Add(1))
		w, e, n := s.victim(now)
		if e != nil && (victim == nil || e.expired(now) || e.worth() < victim.worth()) {
			from, way, victim = s, w, e
		}
		if seen += n; seen >= enough || victim != nil && victim.expired(now) {
			break
		}
	}
	if victim != nil && from.entries[way].CompareAndSwap(victim, nil) {
		c.gone(from, victim, !victim.expired(now))
	}
}

// place chooses where a set takes a new entry: in place of one with its Tag, of
// nothing, else of the victim.
func (s *set[V]) place(tag Tag, now time.Time) (way int, old *Entry[V]) {
	free := -1
	for i := range s.entries {
		switch e := s.entries[i].Load(); {
		case e == nil:
			free = i
		case e.tag == tag:
			return i, e
		}
	}
	if free >= 0 {
		return free, nil
	}
	way, old, _ = s.victim(now)
	return way, old
}

// victim is what a set of so many entries can do without: what expired, else what is
// worth least.
func (s *set[V]) victim(now time.Time) (way int, victim *Entry[V], entries int) {
	for i := range s.entries {
		e := s.entries[i].Load()
		if e == nil {
			continue
		}
		entries++
		if e.expired(now) {
			return i, e, entries
		}
		if victim == nil || e.worth() < victim.worth() {
			way, victim = i, e
		}
	}
	return way, victim, entries
}

// trace is where a set has the trace of a Tag, and what it is: never 0.
func (s *set[V]) trace(tag Tag) (at *atomic.Uint32, mark uint32) {
	return &s.traces[tag>>32%ways], uint32(tag>>35) | 1
}

// traced reads and clears the trace of a Tag: 1 use if there is one, else none.
func (s *set[V]) traced(tag Tag) uint64 {
	if at, mark := s.trace(tag); at.CompareAndSwap(mark, 0) {
		return 1
	}
	return 0
}

// sweep takes out of a set what expired.
func (c *Cache[V]) sweep(s *set[V], now time.Time) {
	for i := range s.entries {
		if e := s.entries[i].Load(); e != nil && e.expired(now) && s.entries[i].CompareAndSwap(e, nil) {
			c.gone(s, e, false)
		}
	}
}

// Forget takes an entry out.
func (c *Cache[V]) Forget(e *Entry[V]) {
	s := at(*c.array.Load(), uint64(e.tag))
	for i := range s.entries {
		if s.entries[i].CompareAndSwap(e, nil) {
			c.gone(s, e, false)
		}
	}
}

// Drop takes out all entries whose values are such.
func (c *Cache[V]) Drop(such func(*V) bool) {
	sets := c.array.Load()
	if sets == nil {
		return
	}
	for i := range *sets {
		s := &(*sets)[i]
		for j := range s.entries {
			if e := s.entries[j].Load(); e != nil && such(&e.Value) && s.entries[j].CompareAndSwap(e, nil) {
				c.gone(s, e, false)
			}
		}
	}
}

// gone accounts for an entry that was taken out of a set.
func (c *Cache[V]) gone(s *set[V], e *Entry[V], evicted bool) {
	c.used.Add(-e.bytes)
	if evicted {
		c.evictions.Add(1)
		at, mark := s.trace(e.tag)
		at.Store(mark)
	}
}

// Status describes the Cache at this moment, and takes a while.
func (c *Cache[V]) Status() (status Status) {
	if sets := c.array.Load(); sets != nil {
		for i := range *sets {
			for j := range (*sets)[i].entries {
				if (*sets)[i].entries[j].Load() != nil {
					status.Entries++
				}
			}
		}
	}
	status.Bytes = c.used.Load()
	for i := range c.tally {
		status.Hits += c.tally[i].hits.Load()
		status.Misses += c.tally[i].misses.Load()
	}
	status.Evictions = c.evictions.Load()
	return status
}

func sizeOf[T any]() int64 { return int64(reflect.TypeFor[T]().Size()) }
