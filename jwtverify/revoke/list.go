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
	// MaxEntries is how many Entries there may be. An Entry takes 40 to 55 bytes.
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
	seeds  [4]maphash.Seed     // of hashes that nobody outside can foresee
	shards [shards]shard
	swept  atomic.Int64 // when all shards were last rebuilt to make room, in Unix seconds
}

const (
	defaultMost = 1_000_000
	shards      = 64
	margin      = 5 * time.Minute // the most leeway that a Verifier allows
)

// shard is a part of the Entries. Its table is replaced when it is full, so that
// what readers see of one never changes place.
type shard struct {
	mu    sync.Mutex // of who writes
	table atomic.Pointer[[]slot]
	used  int
	_     [32]byte
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
		l.seeds[i] = maphash.MakeSeed()
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
		low, high := l.hash(e.Kind, e.Issuer, e.Value)
		if !l.put(low, high, before, until.Unix()+1) {
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
	for _, claim := range [...]struct {
		kind  Kind
		value string
	}{{ByToken, t.ID}, {BySession, t.SessionID}, {BySubject, t.Subject}, {ByClient, t.ClientID}, {ByKey, t.Header.KeyID}} {
		if claim.value == "" || l.kinds[claim.kind].Load() == 0 {
			continue
		}
		low, high := l.hash(claim.kind, t.Issuer, claim.value)
		s := find(l.shardOf(high).table.Load(), low, high)
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
		if table := l.shards[i].table.Load(); table != nil {
			status.Bytes += int64(len(*table)) * slotBytes
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

// hash tells Entries apart. Issuer and value are hashed apart, so that no two
// pairs run into each other.
func (l *List) hash(kind Kind, issuer, value string) (low, high uint64) {
	mix := func(issuer, value uint64) uint64 { return bits.RotateLeft64(issuer, int(kind)) ^ value }
	low = mix(maphash.String(l.seeds[0], issuer), maphash.String(l.seeds[1], value))
	high = mix(maphash.String(l.seeds[2], issuer), maphash.String(l.seeds[3], value))
	return low, high&^7 | uint64(kind)
}

func (l *List) shardOf(high uint64) *shard { return &l.shards[high>>(64-6)] }

// find finds a slot; nil if there is none. A table is never full, so that the search
// ends.
func find(table *[]slot, low, high uint64) *slot {
	if table == nil {
		return nil
	}
	for i := home(*table, low); ; i++ {
		if i == len(*table) {
			i = 0
		}
		s := &(*table)[i]
		if s.until.Load() == 0 {
			return nil
		}
		if s.low.Load() == low && s.high.Load() == high {
			return s
		}
	}
}

// home is where the search begins.
func home(table []slot, low uint64) int {
	at, _ := bits.Mul64(low, uint64(len(table)))
	return int(at)
}

// put adds or extends an Entry.
func (l *List) put(low, high uint64, before, until int64) bool {
	sh := l.shardOf(high)
	for {
		sh.mu.Lock()
		if s := find(sh.table.Load(), low, high); s != nil {
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
	table := sh.table.Load()
	if table == nil || sh.used+1 > len(*table)*4/5 {
		l.rebuild(sh)
		table = sh.table.Load()
	}
	fill(*table, low, high, before, until)
	sh.used++
	l.kinds[high&7].Add(1)
	return true
}

func fill(table []slot, low, high uint64, before, until int64) {
	i := home(table, low)
	for table[i].until.Load() != 0 {
		if i++; i == len(table) {
			i = 0
		}
	}
	s := &table[i]
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
	if table := sh.table.Load(); table != nil {
		old = *table
	}
	live := 0
	for i := range old {
		if old[i].until.Load() > now {
			live++
		}
	}
	table := make([]slot, max(16, live*13/8))
	for i := range old {
		switch s := &old[i]; {
		case s.until.Load() > now:
			fill(table, s.low.Load(), s.high.Load(), s.before.Load(), s.until.Load())
		case s.until.Load() != 0:
			l.kinds[s.high.Load()&7].Add(-1)
		}
	}
	l.used.Add(int64(live - sh.used))
	sh.used = live
	sh.table.Store(&table)
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
