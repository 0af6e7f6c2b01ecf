// Package cache remembers, for a while, what was found out at some cost, within
// a bound of bytes.
package cache

import (
	"math/bits"
	"math/rand/v2"
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
// lock is taken. Room is made by evicting what expired, then what was used
// least: an entry starts with no uses, so a flood of those that come once
// evicts its own kind and leaves those alone that come again and again.
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
}

const (
	ways     = 8       // entries in a set
	smallest = 512     // bytes of an entry
	maxSets  = 1 << 20 // which is enough for 4 GiB
	maxUses  = 3       // that are counted
	patience = 8       // sets to look at for an entry without uses
	passing  = 4       // how many of these looks cost all in a set a use
	ageing   = 64      // and how many evictions of an entry without uses
	tallies  = 16
)

type set[V any] [ways]atomic.Pointer[Entry[V]]

// Entry is immutable but for the count of its uses.
type Entry[V any] struct {
	Value V

	tag   Tag
	sum   Sum
	until time.Time
	bytes int64
	uses  atomic.Uint32
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

// Get finds the entry with a Tag; nil if there is none. It may have expired, and
// it may be another's: see [Entry.Is].
func (c *Cache[V]) Get(tag Tag) *Entry[V] {
	sets := c.array.Load()
	if sets == nil {
		return nil
	}
	s := at(*sets, uint64(tag))
	for i := range s {
		if e := s[i].Load(); e != nil && e.tag == tag {
			return e
		}
	}
	return nil
}

// Is reports whether the entry is the one with this Sum. If it is, that counts as
// a use.
func (e *Entry[V]) Is(sum *Sum) bool {
	if e.sum != *sum {
		return false
	}
	// Written to only while it changes, since writing is what makes cores wait for
	// each other.
	if uses := e.uses.Load(); uses < maxUses {
		e.uses.Store(uses + 1)
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
	e := &Entry[V]{Value: value, tag: tag, sum: *sum, until: until, bytes: bytes}
	s := at(sets, uint64(tag))
	way, old := s.place(tag, now)
	again := old != nil && old.sum == *sum
	if again {
		e.uses.Store(old.uses.Load())
	}
	if !s[way].CompareAndSwap(old, e) {
		c.used.Add(-bytes) // another came first
		return
	}
	if old != nil {
		c.gone(old, !again && !old.expired(now))
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

// evict takes one entry out: of the next few sets, the first that expired or
// that has no uses, else the one used least.
func (c *Cache[V]) evict(sets []set[V], now time.Time) {
	var from *set[V]
	var way int
	var victim *Entry[V]
	var uses uint32
	for range patience {
		s := at(sets, c.hand.Add(1))
		w, e, u := s.victim(now)
		if e != nil && (victim == nil || u < uses) {
			from, way, victim, uses = s, w, e, u
		}
		if victim != nil && uses == 0 {
			break
		}
		if rand.IntN(passing) == 0 {
			s.age()
		}
	}
	if victim == nil {
		return
	}
	from.losing(uses)
	if from[way].CompareAndSwap(victim, nil) {
		c.gone(victim, !victim.expired(now))
	}
}

// place chooses where a set takes a new entry: in place of one with its Tag, of
// nothing, else of the victim.
func (s *set[V]) place(tag Tag, now time.Time) (way int, old *Entry[V]) {
	free := -1
	for i := range s {
		switch e := s[i].Load(); {
		case e == nil:
			free = i
		case e.tag == tag:
			return i, e
		}
	}
	if free >= 0 {
		return free, nil
	}
	way, old, uses := s.victim(now)
	s.losing(uses)
	return way, old
}

// victim is what a set can do without: what expired, else what was used least,
// any one of several, so that a new entry has as good a chance as an old one.
func (s *set[V]) victim(now time.Time) (way int, victim *Entry[V], uses uint32) {
	first := rand.IntN(ways)
	for i := range ways {
		i = (first + i) % ways
		e := s[i].Load()
		if e == nil {
			continue
		}
		if e.expired(now) {
			return i, e, 0
		}
		if u := e.uses.Load(); victim == nil || u < uses {
			way, victim, uses = i, e, u
		}
	}
	return way, victim, uses
}

// losing lets a set age as it loses an entry: where that one was used, since
// then all were; and now and then where it was not, since what once came often
// must not keep its place for as long as it is valid.
func (s *set[V]) losing(uses uint32) {
	if uses > 0 || rand.IntN(ageing) == 0 {
		s.age()
	}
}

func (s *set[V]) age() {
	for i := range s {
		if e := s[i].Load(); e != nil {
			if uses := e.uses.Load(); uses > 0 {
				e.uses.Store(uses - 1)
			}
		}
	}
}

// sweep takes out of a set what expired.
func (c *Cache[V]) sweep(s *set[V], now time.Time) {
	for i := range s {
		if e := s[i].Load(); e != nil && e.expired(now) && s[i].CompareAndSwap(e, nil) {
			c.gone(e, false)
		}
	}
}

// Forget takes an entry out.
func (c *Cache[V]) Forget(e *Entry[V]) {
	s := at(*c.array.Load(), uint64(e.tag))
	for i := range s {
		if s[i].CompareAndSwap(e, nil) {
			c.gone(e, false)
		}
	}
}

// gone accounts for an entry that was taken out.
func (c *Cache[V]) gone(e *Entry[V], evicted bool) {
	c.used.Add(-e.bytes)
	if evicted {
		c.evictions.Add(1)
	}
}

// Status describes the Cache at this moment, and takes a while.
func (c *Cache[V]) Status() (status Status) {
	if sets := c.array.Load(); sets != nil {
		for i := range *sets {
			for j := range (*sets)[i] {
				if (*sets)[i][j].Load() != nil {
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
