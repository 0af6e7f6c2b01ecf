package main

import (
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// scenario is one row of the table.
type scenario struct {
	name  string
	alone bool // it loads the machine, so nothing else may run meanwhile
	play  func(*trial) (outcome, error)
}

var scenarios = []scenario{
	{"S1 storm of unknown kids", true, storm},
	{"S2 rotation", false, func(t *trial) (outcome, error) { return rotate(t, 1) }},
	{"S2 another one at once", false, func(t *trial) (outcome, error) { return rotate(t, 2) }},
	{"S3 outage, 503", false, func(t *trial) (outcome, error) { return broken(t, 6, down) }},
	{"S4 hanging issuer", false, func(t *trial) (outcome, error) { return broken(t, 7, t.hang) }},
	{"S5 HTML with status 200", false, func(t *trial) (outcome, error) { return broken(t, 4, html) }},
	{"S5 empty set", false, func(t *trial) (outcome, error) { return broken(t, 4, publish()) }},
	{"S5 no member keys", false, func(t *trial) (outcome, error) { return broken(t, 4, document(map[string]any{"issuer": issuerID})) }},
	{"S6 down at the start", false, downAtStart},
	{"S7 withdrawn key", false, withdrawn},
	{"S8 key set of 200 MiB", true, oversized},
	{"S9 key for encryption", false, func(t *trial) (outcome, error) { return unfit(t, t.b.jwk(entry{"use": "enc"}), t.underB) }},
	{"S9 key for RS512", false, func(t *trial) (outcome, error) { return unfit(t, t.b.jwk(entry{"alg": "RS512"}), t.underB) }},
	{"S9 key_ops encrypt", false, func(t *trial) (outcome, error) {
		return unfit(t, t.b.jwk(entry{"use": nil, "key_ops": []string{"encrypt"}}), t.underB)
	}},
	{"S9 RSA of 1024 bits", false, func(t *trial) (outcome, error) { return unfit(t, t.tooShort.jwk(nil), t.underShort) }},
}

// storm shows forged tokens, each with a kid of its own, and good ones between
// them. Nobody may be made to fetch by strangers, nor to refuse a good token.
func storm(t *trial) (outcome, error) {
	t.respond(publish(t.a.jwk(nil)))
	if err := t.warm(); err != nil {
		return outcome{}, err
	}
	before := t.requests.Load()
	var stop atomic.Bool
	var shown atomic.Int64
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for !stop.Load() {
				_ = t.verify(t.forged[int(shown.Add(1))%len(t.forged)])
				time.Sleep(time.Millisecond)
			}
		})
	}
	const length = 2
	n := t.show(t.good, length*t.unit)
	stop.Store(true)
	work.Wait()
	fetches := t.requests.Load() - before
	o := t.undisturbed(n)
	// Those of the schedule, and a few for unknown kids.
	if o.ideal && fetches > 2*length+3 {
		return outcome{note: fmt.Sprintf("%d fetches", fetches)}, nil
	}
	if o.ideal {
		o.note = fmt.Sprintf("%d fetches for %d tokens", fetches, shown.Load())
	}
	return o, nil
}

// rotate publishes a key and signs with it at once, as often as told. The first
// token under the last one has to be accepted.
func rotate(t *trial, times int) (outcome, error) {
	t.respond(publish(t.a.jwk(nil)))
	if err := t.warm(); err != nil {
		return outcome{}, err
	}
	keys, tokens := []entry{t.a.jwk(nil), t.b.jwk(nil), t.c.jwk(nil)}, []string{t.good, t.underB, t.underC}
	for n := 1; n < times; n++ {
		t.respond(publish(keys[:n+1]...))
		if _, err := t.accepts(tokens[n], 4*t.unit); err != nil {
			return outcome{note: "misses the first one"}, nil
		}
	}
	t.respond(publish(keys[:times+1]...))
	start := time.Now()
	if err := t.verify(tokens[times]); err == nil {
		took := time.Since(start)
		return outcome{took <= 2*t.patience(), "accepted after " + short(took)}, nil
	}
	took, err := t.accepts(tokens[times], 4*t.unit)
	if err != nil {
		return outcome{note: "refused for " + short(took) + " and on"}, nil
	}
	return outcome{note: "refused for " + short(took)}, nil
}

// broken answers in some wrong way for that many units. Known keys stay good.
func broken(t *trial, units time.Duration, answer http.HandlerFunc) (outcome, error) {
	t.respond(publish(t.a.jwk(nil)))
	if err := t.warm(); err != nil {
		return outcome{}, err
	}
	t.respond(answer)
	// Whoever waits for an answer without a limit is not waited for.
	length := units * t.unit
	defer time.AfterFunc(length, t.release).Stop()
	n := t.show(t.good, length)
	o := t.undisturbed(n)
	if n.invalid > 0 {
		o.note += ", called invalid"
	}
	return o, nil
}

// downAtStart starts during an outage. That must not fail, and tokens are good
// soon after its end.
func downAtStart(t *trial) (outcome, error) {
	t.respond(down)
	start := time.Now()
	var err error
	if t.verify, err = t.open(); err != nil {
		return outcome{note: "does not start"}, nil
	}
	if took := time.Since(start); took > t.patience() {
		return outcome{note: "starts after " + short(took)}, nil
	}
	switch n := t.show(t.good, 2*t.unit); {
	case n.refused < n.shown:
		return outcome{note: "accepts without keys"}, nil
	case n.invalid > 0:
		return outcome{note: "calls the token invalid"}, nil
	}
	t.respond(publish(t.a.jwk(nil)))
	took, err := t.accepts(t.good, 8*t.unit)
	if err != nil {
		return outcome{note: "refused for " + short(took) + " and on"}, nil
	}
	return outcome{took <= 3*t.unit, "good " + short(took) + " after"}, nil
}

// withdrawn takes a key out of the set. Its tokens have to be refused when the
// set is no longer fresh.
func withdrawn(t *trial) (outcome, error) {
	t.respond(publish(t.a.jwk(nil), t.b.jwk(nil)))
	if err := t.warm(); err != nil {
		return outcome{}, err
	}
	t.respond(publish(t.b.jwk(nil)))
	took, refused := t.refuses(t.good, 8*t.unit)
	if !refused {
		return outcome{note: "accepted for " + short(took) + " and on"}, nil
	}
	return outcome{took <= 3*t.unit, "refused after " + short(took)}, nil
}

const mib = 1 << 20

// oversized answers with far more than any key set has. It must be refused
// before it fills the memory.
func oversized(t *trial) (outcome, error) {
	t.respond(flood(t.flood, t.a.jwk(nil)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	verify, err := t.open()
	if err == nil {
		err = verify(t.good)
	}
	runtime.ReadMemStats(&after)
	debug.FreeOSMemory()
	allocated := (after.TotalAlloc - before.TotalAlloc) / mib
	note := fmt.Sprintf("allocates %d MiB", allocated)
	if err == nil {
		return outcome{note: note + ", accepts"}, nil
	}
	return outcome{allocated < 8, note}, nil
}

// unfit publishes a key that must not verify what a token under it says, beside
// a good one.
func unfit(t *trial, bad entry, token string) (outcome, error) {
	t.respond(publish(bad, t.a.jwk(nil)))
	var err error
	if t.verify, err = t.open(); err != nil {
		return outcome{note: "does not start"}, nil
	}
	_, good := t.accepts(t.good, t.unit)
	switch accepted := t.verify(token) == nil; {
	case accepted && good != nil:
		return outcome{note: "accepted, the good key refused"}, nil
	case accepted:
		return outcome{note: "accepted"}, nil
	case good != nil:
		return outcome{note: "the good key is refused too"}, nil
	}
	return outcome{ideal: true}, nil
}
