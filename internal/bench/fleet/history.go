package main

import (
	"math/rand/v2"
	"time"
)

// history is what happens to an issuer and a fleet. All times are counted from
// when the trouble begins.
type history struct {
	name    string
	begin   time.Duration // from here on replicas start,
	rollout time.Duration // evenly over this
	moment  time.Duration // from which on the issuer has what a replica needs
	issuer  issuer
	gate    bool // -check judges what comes after
}

// warm is a fleet that was rolled out over two hours, two hours ago. Its last
// hour before the trouble is what we call steady.
func warm(h history) history {
	h.begin, h.rollout = -4*time.Hour, 2*time.Hour
	h.issuer.end = h.moment + aftermath
	return h
}

const aftermath = 2 * time.Hour

func outage(name string, length time.Duration) history {
	return warm(history{name: name, moment: length, gate: true, issuer: issuer{
		publishes: never, rotates: never, falls: 0, rises: length,
	}})
}

func rotation(name string, ahead time.Duration) history {
	return warm(history{name: name, issuer: issuer{
		publishes: -ahead, rotates: 0, falls: never, rises: never,
	}})
}

func coldStart(name string, rollout, down time.Duration) history {
	return history{name: name, rollout: rollout, moment: down, issuer: issuer{
		publishes: never, rotates: never, falls: 0, rises: down, end: down + aftermath,
	}}
}

// The histories of the tables. An hour is a multiple of every policy's period;
// 12 minutes are none, since the next turn of a policy would follow at once.
var (
	rotationAtOnce = rotation("A new key signs in the moment in which it is published", 0)
	rotationAhead  = rotation("A new key signs an hour after it was published", time.Hour)
	outageOfAnHour = outage("An outage of an hour", time.Hour)
	outageWithDate = polite(outage("The same, with a Retry-After that names its end", time.Hour))
	startInOutage  = coldStart("All start within 30 s, and the issuer is down for 12 min more", 30*time.Second, 12*time.Minute)
	histories      = []history{rotationAtOnce, rotationAhead, outageOfAnHour, outageWithDate, startInOutage}
	otherOutages   = []time.Duration{time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, time.Hour, 12 * time.Hour}
)

func polite(h history) history {
	h.issuer.retryAfter = true
	return h
}

// contestant is a fleet that keeps to one policy.
type contestant struct {
	name   string
	policy func() policy
	ours   bool // -check is about us
}

var contestants = []contestant{
	{"bearerguard", func() policy { return &ours{} }, true},
	{"bearerguard, by discovery", func() policy { return &ours{discovery: true} }, true},
	{"keyfunc v3", func() policy { return &keyfunc{} }, false},
	{"jwx v2, jwk.Cache", func() policy { return &jwx{} }, false},
	{"go-oidc v3", func() policy { return goOIDC{} }, false},
}

// run lets a fleet live through a history. Replicas know nothing of each other,
// so they do it one by one; each starts at the same time whatever its policy.
func (h *history) run(replicas int, p policy) *count {
	c := newCount(h)
	source := rand.NewPCG(0, 0)
	r := &replica{issuer: &h.issuer, random: rand.New(source), count: c}
	for n := range replicas {
		source.Seed(1, uint64(n))
		c.another()
		r.live(p, h.start(r.random))
	}
	return c
}

func (h *history) start(random *rand.Rand) time.Duration {
	return h.begin + time.Duration(random.Float64()*float64(h.rollout))
}
