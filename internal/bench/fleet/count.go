package main

import (
	"slices"
	"time"
)

// count is what a fleet does to the issuer in one history, and what the fleet
// has of it.
type count struct {
	history *history
	seconds []int           // requests in each second, from history.begin on
	fresh   []time.Duration // from history.moment until a replica had the keys of then
}

func newCount(h *history) *count {
	return &count{history: h, seconds: make([]int, (h.issuer.end-h.begin)/time.Second)}
}

// another begins the count of another replica.
func (c *count) another() { c.fresh = append(c.fresh, never) }

func (c *count) add(now time.Duration, requests int) {
	if second := int((now - c.history.begin) / time.Second); second < len(c.seconds) {
		c.seconds[second] += requests
	}
}

// fetched notes that the replica now has that key.
func (c *count) fetched(now time.Duration, key int) {
	moment := c.history.moment
	if now < moment && key < 1 || key < c.history.issuer.published(moment) {
		return
	}
	last := &c.fresh[len(c.fresh)-1]
	*last = min(*last, max(0, now-moment))
}

// within is the time in which that part of the fleet was fresh.
func (c *count) within(part float64) time.Duration {
	slices.Sort(c.fresh)
	return c.fresh[int(part*float64(len(c.fresh)-1))]
}

// load sums up a part of a history.
type load struct {
	mean   float64 // requests a second
	second float64 // in the worst second
	window float64 // in the worst ten seconds, by the second
}

const window = 10

func (c *count) load(from, to time.Duration) load {
	begin := c.history.begin
	part := c.seconds[(from-begin)/time.Second : (to-begin)/time.Second]
	var total, second, ten, worst int
	for i, n := range part {
		total += n
		ten += n
		if i >= window {
			ten -= part[i-window]
		}
		second, worst = max(second, n), max(worst, ten)
	}
	return load{float64(total) / float64(len(part)), float64(second), float64(worst) / window}
}

func (c *count) steady() float64  { return c.load(-time.Hour, 0).mean }
func (c *count) meanwhile() load  { return c.load(0, c.history.moment) }
func (c *count) afterwards() load { return c.load(c.history.moment, c.history.moment+aftermath) }
