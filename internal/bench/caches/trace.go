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
	flood float64 // part of the requests whose token comes once and never again
	burst int     // of such tokens, one after the other, at the full minute
}

var traces = []trace{
	{"users", 0, 0},
	{"users, and as many tokens that come once", 0.5, 0},
	{"users, and 20,000 that come once each minute", 0, 20_000},
}

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
	stranger := func(now time.Time) {
		once++
		send(once, now.Add(life), now)
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
