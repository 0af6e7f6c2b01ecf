package main

import (
	"math/rand/v2"
	"time"
)

const (
	users      = 20_000
	life       = 5 * time.Minute
	perSecond  = 500
	warm       = 5 * time.Minute // from then on it counts
	meanClaims = 1200
)

// trace is who sends a token when: users as often as Zipf says, each with one
// token until that expires and another one then.
type trace struct {
	name  string
	flood float64 // chance that a request of a user's comes with one of a stranger's
	times int     // that a stranger's token comes, within some seconds, and never again
	burst int     // of strangers, one after the other, at the full minute
}

var traces = []trace{
	{"users", 0, 1, 0},
	{"and tokens that come once", 0.5, 1, 0},
	{"that come twice", 0.5, 2, 0},
	{"four times", 0.5, 4, 0},
	{"eight times", 0.5, 8, 0},
	{"and 20,000 that come once each minute", 0, 1, 20_000},
}

// strangers are how many are about at a time.
const strangers = 500

// play sends a trace to a cache and returns how many of the users' tokens were
// there, and the most bytes that it said to hold.
func (tr *trace) play(s store, length time.Duration) (hits float64, most int64) {
	most = -1
	random := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(random, 1.07, 10, users-1)
	claims := make([]byte, 4*meanClaims)
	start := time.Unix(0, 0)
	var found, asked int
	once := uint64(1) << 63
	send := func(n uint64, until, now time.Time) bool {
		sum := sumOf(n)
		if s.get(&sum, now) {
			return true
		}
		s.put(&sum, token{until, claims[:sizeOf(n)]}, now)
		return false
	}
	type visit struct {
		token uint64
		until time.Time
		left  int
	}
	about := make([]visit, strangers)
	stranger := func(now time.Time) {
		v := &about[random.IntN(strangers)]
		if tr.times == 1 || v.left == 0 {
			once++
			*v = visit{once, now.Add(life), tr.times}
		}
		v.left--
		send(v.token, v.until, now)
	}
	for step := range perSecond * int(length/time.Second) {
		now := start.Add(time.Duration(step) * time.Second / perSecond)
		if tr.burst > 0 && step%(60*perSecond) == 0 {
			for range tr.burst {
				stranger(now)
			}
		}
		if random.Float64() < tr.flood {
			stranger(now)
		}
		user := zipf.Uint64()
		phase := time.Duration(user*7919%uint64(life/time.Second)) * time.Second
		nth := (now.Sub(start) + phase) / life
		ok := send(user<<16|uint64(nth), start.Add((nth+1)*life-phase), now)
		if now.Sub(start) >= warm {
			asked++
			if ok {
				found++
			}
		}
		if step%perSecond == 0 {
			most = max(most, s.bytes())
		}
	}
	return float64(found) / float64(asked), most
}

// sizeOf is how many bytes of claims a token has: 400 to 2,000, always the same
// for the same token.
func sizeOf(n uint64) int {
	return 400 + int(n*0x9E3779B97F4A7C15>>32%1601)
}
