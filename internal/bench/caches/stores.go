package main

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/maypok86/otter/v2"

	"github.com/bearerguard/bearerguard/internal/cache"
)

// token is what a cache keeps of one: nothing here reads the claims, but they
// take their memory.
type token struct {
	until  time.Time
	claims []byte
}

// weight is what an entry costs by all but its claims, in every cache alike: the
// key, and a struct or two.
const weight = 128

// store is a cache under test. A contestant opens one of so many bytes, on a clock
// of its own.
type store interface {
	get(sum *[32]byte, now time.Time) bool
	put(sum *[32]byte, t token, now time.Time)
	bytes() int64 // by its own account; -1: it has none
}

type contestant struct {
	name string
	open func(limit int) store
}

var contestants = []contestant{
	{"bearerguard", openOurs},
	{"otter v2", openOtter},
	{"golang-lru v2", openLRU},
	{"golang-lru v2, 2Q", openTwoQueues},
}

type ours struct{ *cache.Cache[token] }

func openOurs(limit int) store { return ours{cache.New[token](limit, 0)} }

func tag(sum *[32]byte) cache.Tag { return cache.Tag(binary.LittleEndian.Uint64(sum[:])) }

func (o ours) get(sum *[32]byte, now time.Time) bool {
	e := o.Get(tag(sum))
	return e != nil && o.Is(e, sum) && now.Before(e.Value.until)
}

func (o ours) put(sum *[32]byte, t token, now time.Time) {
	o.Put(tag(sum), sum, t, int64(len(t.claims)), t.until, now)
}

func (o ours) bytes() int64 { return o.Status().Bytes }

// otterStore runs otter's work in the callers' goroutines, so that what it keeps
// does not depend on when another goroutine had its turn.
type otterStore struct {
	*otter.Cache[[32]byte, token]
	clock *clock
}

type clock struct{ now time.Time }

func (c *clock) NowNano() int64                      { return c.now.UnixNano() }
func (c *clock) Tick(time.Duration) <-chan time.Time { return nil }

func openOtter(limit int) store {
	clock := &clock{now: time.Unix(0, 0)}
	return &otterStore{otter.Must(&otter.Options[[32]byte, token]{
		MaximumWeight: uint64(limit),
		Weigher:       func(_ [32]byte, t token) uint32 { return uint32(len(t.claims) + weight) },
		ExpiryCalculator: otter.ExpiryCreatingFunc(func(e otter.Entry[[32]byte, token]) time.Duration {
			return e.Value.until.Sub(clock.now)
		}),
		Clock:    clock,
		Executor: func(work func()) { work() },
	}), clock}
}

func (o *otterStore) get(sum *[32]byte, now time.Time) bool {
	o.clock.now = now
	t, ok := o.GetIfPresent(*sum)
	return ok && now.Before(t.until)
}

func (o *otterStore) put(sum *[32]byte, t token, now time.Time) {
	o.clock.now = now
	o.Set(*sum, t)
}

func (o *otterStore) bytes() int64 { return int64(o.WeightedSize()) }

// counted is a cache that is bounded in entries: it is given as many as fit on
// average, and knows no expiry.
type counted struct {
	lookUp func([32]byte) (token, bool)
	add    func([32]byte, token)
}

func openLRU(limit int) store {
	c, err := lru.New[[32]byte, token](limit / (meanClaims + weight))
	if err != nil {
		panic(err) // a size below 1
	}
	return counted{c.Get, func(sum [32]byte, t token) { c.Add(sum, t) }}
}

func openTwoQueues(limit int) store {
	c, err := lru.New2Q[[32]byte, token](limit / (meanClaims + weight))
	if err != nil {
		panic(err)
	}
	return counted{c.Get, c.Add}
}

func (c counted) get(sum *[32]byte, now time.Time) bool {
	t, ok := c.lookUp(*sum)
	return ok && now.Before(t.until)
}

func (c counted) put(sum *[32]byte, t token, _ time.Time) { c.add(*sum, t) }

func (c counted) bytes() int64 { return -1 }

func sumOf(n uint64) [32]byte {
	return sha256.Sum256(binary.LittleEndian.AppendUint64(nil, n))
}
