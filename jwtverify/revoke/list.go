package revoke

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// Config is how a List is made. The zero Config is good.
type Config struct {
	// MaxEntries is how many Entries there may be. An Entry takes 42 to 55 bytes.
	// Zero: 1,000,000.
	MaxEntries int
	// Now is the clock, for tests. Nil: time.Now.
	Now func() time.Time
}

// ErrFull is the error for an Entry for which a List has no room. It is not in the
// list: what it names is still let in.
var ErrFull = errors.New("revoke: the list is full: set Config.MaxEntries higher")

// List is a set of Entries in memory. Reading takes no lock. It is safe for
// concurrent use, and needs no closing.
type List struct {
	now    func() time.Time
	most   int64
	used   atomic.Int64        // slots that hold an Entry, expired ones too
	kinds  [kinds]atomic.Int64 // of those
	seeds  [2]seeds            // of hashes that nobody outside can foresee
	shards [shards]shard
	swept  atomic.Int64 // when all shards were last rebuilt to make room, in Unix seconds
}

// seeds are those of an issuer and of a value. They are hashed apart, so that no two
// pairs run into each other, and an issuer only once for all that is asked of a token.
type seeds struct{ issuer, value maphash.Seed }

const (
	defaultMost = 1_000_000
	shards      = 64
	margin      = 5 * time.Minute // the most leeway that a Verifier allows
)

// shard is a part of the Entries. Its table is replaced when it is full, so that
// what readers see of one never changes place.
type shard struct {
	mu    sync.Mutex // of who writes
	table atomic.Pointer[table]
	used  int
	_     [32]byte
}

// table has a filter in front of its slots, of a byte for each. It is small enough to
// stay in the processor's caches, where a million slots do not, and it knows most of
// the tokens that are not revoked.
type table struct {
	slots  []slot
	filter []atomic.Uint64
}

// slot holds a hash of what an Entry names, of 125 bits, and when it applies. It is
// filled once, until last; later only the times grow.
type slot struct {
	low, high     atomic.Uint64 // the lowest 3 bits of high are the Kind
	before, until atomic.Int64  // Unix nanoseconds; Unix seconds, 0 in a slot that is empty
}

// New makes an empty List.
func New(c Config) (*List, error) {
	if c.MaxEntries < 0 {
		return nil, fmt.Errorf("revoke: Config.MaxEntries is negative: write 0 for %d", defaultMost)
	}
	l := &List{now: c.Now, most: int64(c.MaxEntries)}
	if l.most == 0 {
		l.most = defaultMost
	}
	if l.now == nil {
		l.now = time.Now
	}
	for i := range l.seeds {
		l.seeds[i] = seeds{maphash.MakeSeed(), maphash.MakeSeed()}
	}
	return l, nil
}

// Revoke adds Entries: from then on Check refuses what they name. Two that differ
// in their times alone become one that names what both do. If an Entry is not valid
// none is added. The error is [ErrFull] if there was no room for all of them.
func (l *List) Revoke(entries ...Entry) error {
	if l == nil || l.now == nil {
		return errors.New("revoke: the List was not made by New")
	}
	for _, e := range entries {
		if err := e.Validate(); err != nil {
			return err
		}
	}
	var full error
	for _, e := range entries {
		until := e.Until.Add(margin)
		if !l.now().Before(until) {
			continue // it names no token that is still good
		}
		before := int64(math.MaxInt64)
		if !e.Before.IsZero() {
			before = nanoseconds(e.Before)
		}
		low := maphash.String(l.seeds[0].issuer, e.Issuer) ^ maphash.String(l.seeds[0].value, e.Value)
		if !l.put(low, l.high(e.Kind, e.Issuer, e.Value), before, until.Unix()+1) {
			full = ErrFull
		}
	}
	return full
}

// Check refuses a token that an Entry names, with [jwtverify.ErrRevoked]. It is for
// jwtverify's Config.Checks.
func (l *List) Check(_ context.Context, t *jwtverify.Token) error {
	if l == nil || l.now == nil || t == nil {
		return fmt.Errorf("%w: the list of revoked tokens was not made by revoke.New", jwtverify.ErrUnavailable)
	}
	issuer := maphash.String(l.seeds[0].issuer, t.Issuer)
	for _, claim := range [...]struct {
		kind  Kind
		value string
	}{{ByToken, t.ID}, {BySession, t.SessionID}, {BySubject, t.Subject}, {ByClient, t.ClientID}, {ByKey, t.Header.KeyID}} {
		if claim.value == "" || l.kinds[claim.kind].Load() == 0 {
			continue
		}
		low := issuer ^ maphash.String(l.seeds[0].value, claim.value)
		in := l.shardOf(low).table.Load()
		if !in.mayHave(low) {
			continue
		}
		s := in.find(low, l.high(claim.kind, t.Issuer, claim.value))
		if s == nil || l.now().Unix() >= s.until.Load() {
			continue
		}
		if t.IssuedAt.IsZero() || nanoseconds(t.IssuedAt) < s.before.Load() {
			return revoked[claim.kind]
		}
	}
	return nil
}

var revoked = func() (all [kinds]error) {
	for kind, claim := range map[Kind]string{ByToken: "jti", BySession: "sid", BySubject: "sub", ByClient: "client_id", ByKey: "kid"} {
		all[kind] = fmt.Errorf("%w by its %s", jwtverify.ErrRevoked, claim)
	}
	return all
}()

// Status describes a List.
type Status struct {
	Entries int   // those included that have expired since a while
	Bytes   int64 // that they take
}

// Status describes the List at this moment.
func (l *List) Status() (status Status) {
	if l == nil {
		return status
	}
	status.Entries = int(l.used.Load())
	for i := range l.shards {
		if t := l.shards[i].table.Load(); t != nil {
			status.Bytes += int64(len(t.slots))*slotBytes + int64(len(t.filter))*8
		}
	}
	return status
}

const slotBytes = 4 * 8

// nanoseconds is a time that fits, or the nearest one.
func nanoseconds(t time.Time) int64 {
	const most = math.MaxInt64/int64(time.Second) - 1
	return time.Unix(min(max(t.Unix(), -most), most), int64(t.Nanosecond())).UnixNano()
}

// high is the half of a hash that only what may be in the list is asked for.
func (l *List) high(kind Kind, issuer, value string) uint64 {
	high := maphash.String(l.seeds[1].issuer, issuer) ^ maphash.String(l.seeds[1].value, value)
	return high&^7 | uint64(kind)
}

func (l *List) shardOf(low uint64) *shard { return &l.shards[low%shards] }

func newTable(slots int) *table {
	return &table{make([]slot, slots), make([]atomic.Uint64, (slots+7)/8)}
}

// sieve is where the filter has an Entry, and its three bits there.
func (t *table) sieve(low uint64) (word *atomic.Uint64, bits uint64) {
	return &t.filter[home(len(t.filter), low)], 1<<(low>>6%64) | 1<<(low>>12%64) | 1<<(low>>18%64)
}

// mayHave is false for most of what is not in the table.
func (t *table) mayHave(low uint64) bool {
	if t == nil {
		return false
	}
	word, bits := t.sieve(low)
	return word.Load()&bits == bits
}

// find finds a slot; nil if there is none. A table is never full, so that the search
// ends.
func (t *table) find(low, high uint64) *slot {
	if t == nil {
		return nil
	}
	for i := home(len(t.slots), low); ; i++ {
		if i == len(t.slots) {
			i = 0
		}
		s := &t.slots[i]
		if s.until.Load() == 0 {
			return nil
		}
		if s.low.Load() == low && s.high.Load() == high {
			return s
		}
	}
}

// home is where among n the search begins.
func home(n int, low uint64) int {
	at, _ := bits.Mul64(low, uint64(n))
	return int(at)
}

// put adds or extends an Entry.
func (l *List) put(low, high uint64, before, until int64) bool {
	sh := l.shardOf(low)
	for {
		sh.mu.Lock()
		if s := sh.table.Load().find(low, high); s != nil {
			if s.until.Load() <= l.now().Unix() {
				s.before.Store(before) // the old one is over
			}
			s.before.Store(max(s.before.Load(), before))
			s.until.Store(max(s.until.Load(), until))
			sh.mu.Unlock()
			return true
		}
		if l.used.Add(1) <= l.most {
			break
		}
		l.used.Add(-1)
		sh.mu.Unlock()
		if !l.sweep() {
			return false
		}
	}
	defer sh.mu.Unlock()
	t := sh.table.Load()
	if t == nil || sh.used+1 > len(t.slots)*4/5 {
		l.rebuild(sh)
		t = sh.table.Load()
	}
	t.fill(low, high, before, until)
	sh.used++
	l.kinds[high&7].Add(1)
	return true
}

func (t *table) fill(low, high uint64, before, until int64) {
	i := home(len(t.slots), low)
	for t.slots[i].until.Load() != 0 {
		if i++; i == len(t.slots) {
			i = 0
		}
	}
	word, bits := t.sieve(low)
	word.Store(word.Load() | bits)
	s := &t.slots[i]
	s.low.Store(low)
	s.high.Store(high)
	s.before.Store(before)
	s.until.Store(until) // from now on readers see it
}

// rebuild leaves out of a shard what has expired, and makes room for more. The
// shard's mutex is held.
func (l *List) rebuild(sh *shard) {
	now := l.now().Unix()
	var old []slot
	if t := sh.table.Load(); t != nil {
		old = t.slots
	}
	live := 0
	for i := range old {
		if old[i].until.Load() > now {
			live++
		}
	}
	t := newTable(max(16, live*13/8))
	for i := range old {
		switch s := &old[i]; {
		case s.until.Load() > now:
			t.fill(s.low.Load(), s.high.Load(), s.before.Load(), s.until.Load())
		case s.until.Load() != 0:
			l.kinds[s.high.Load()&7].Add(-1)
		}
	}
	l.used.Add(int64(live - sh.used))
	sh.used = live
	sh.table.Store(t)
}

// sweep rebuilds every shard, once a second at most, and tells whether there is room
// now.
func (l *List) sweep() bool {
	last, now := l.swept.Load(), l.now().Unix()
	if now == last || !l.swept.CompareAndSwap(last, now) {
		return l.used.Load() < l.most
	}
	for i := range l.shards {
		sh := &l.shards[i]
		sh.mu.Lock()
		l.rebuild(sh)
		sh.mu.Unlock()
	}
	return l.used.Load() < l.most
}
