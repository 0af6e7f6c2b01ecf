package introspect

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/bearerguard/bearerguard/internal/cache"
	"github.com/bearerguard/bearerguard/jwtverify"
)

// verdict is what an answer has decided about a token. It settles all but what the
// Checks say.
type verdict struct {
	token *jwtverify.Token // the cache's own; callers get copies. Nil: refused
	err   *jwtverify.Error // why, and likewise
	until time.Time        // how long it holds; zero: it is not kept
	bytes int64            // that it takes beside itself
}

// holds asks both clocks: the one on the wall may be set back, and the other stands still
// while the machine is suspended.
func (v *verdict) holds(now time.Time) bool {
	return now.Before(v.until) && now.Round(0).Before(v.until)
}

type verdicts = cache.Cache[verdict]

func newVerdicts(bytes int) *verdicts { return cache.New[verdict](bytes, roomSize) }

// recall finds the verdict about a token that is known, if there is one that holds.
func (i *Introspector) recall(sum *cache.Sum, now time.Time) (verdict, bool) {
	lane := rand.Uint32()
	for _, known := range []*verdicts{i.active, i.refused} {
		if known == nil {
			continue
		}
		e := known.Get(tag(sum))
		hit := e != nil && known.Is(e, sum) && e.Value.holds(now)
		known.Count(lane, hit)
		if hit {
			return e.Value, true
		}
	}
	return verdict{}, false
}

func (i *Introspector) keep(sum *cache.Sum, v verdict, now time.Time) {
	known := i.active
	if v.token == nil {
		known = i.refused
	}
	if known != nil && now.Before(v.until) {
		known.Put(tag(sum), sum, v, v.bytes, v.until, now)
	}
}

// sumOf is what a token is known by.
func sumOf(token string) cache.Sum {
	var short [512]byte // most opaque tokens
	if len(token) <= len(short) {
		return sha256.Sum256(append(short[:0], token...))
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	*buffer = append((*buffer)[:0], token...)
	sum := sha256.Sum256(*buffer)
	clear(*buffer) // or the pool would keep tokens
	return sum
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// tag is a part of the sum: who makes up tokens can choose it, and gains nothing but to
// push his own out of what is kept of refused ones.
func tag(sum *cache.Sum) cache.Tag { return cache.Tag(binary.LittleEndian.Uint64(sum[:])) }

// room has room for a Token and for the elements of its lists, as many as nearly every
// token has, in one allocation.
type room struct {
	token jwtverify.Token
	lists [roomFor]string
}

const roomFor = 8

var roomSize = int64(reflect.TypeFor[room]().Size())

// copied is a copy of a Token that shares nothing that can be changed.
func copied(t *jwtverify.Token) *jwtverify.Token {
	r := &room{token: *t}
	lists := r.lists[:0]
	if n := elements(t); n > roomFor {
		lists = make([]string, 0, n)
	}
	for _, list := range []*[]string{&r.token.Audience, &r.token.Scopes, &r.token.Roles} {
		if *list == nil {
			continue
		}
		start := len(lists)
		lists = append(lists, *list...)
		*list = slices.Clip(lists[start:])
	}
	return &r.token
}

func elements(t *jwtverify.Token) int { return len(t.Audience) + len(t.Scopes) + len(t.Roles) }

// size is what a Token takes in memory, at most: its struct and lists, and its claims,
// once as they came and once for the strings that are no parts of them.
func size(t *jwtverify.Token, claims int) int64 {
	return roomSize + int64(elements(t))*16 + int64(claims)*5/2
}
