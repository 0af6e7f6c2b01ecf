package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"
)

// lane is one verify function in a race and what was seen of it.
type lane struct {
	name   string
	kind   kind
	peer   bool // not ours
	verify verifyFunc
	calls  int       // that fill one slot
	ns     []float64 // per call, one for each slot
	ratios []float64 // to the floor, one for each round
}

// race runs the lanes in turns, each slot between two slots of the floor. The
// clock of a shared machine drifts from slot to slot, so a lane is compared
// with its neighbours only. The order is drawn anew each round: what one lane
// leaves to the garbage collector falls on all of them alike.
func (h *heat) race(rounds int, slot time.Duration) error {
	for _, l := range append(h.lanes[:len(h.lanes):len(h.lanes)], h.floor) {
		if err := l.calibrate(h.token, slot); err != nil {
			return err
		}
	}
	h.floor.ratios = []float64{1} // by definition
	order := slices.Clone(h.lanes)
	for range rounds {
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		before, err := h.floor.slot(h.token)
		if err != nil {
			return err
		}
		for _, l := range order {
			ns, laneErr := l.slot(h.token)
			after, floorErr := h.floor.slot(h.token)
			if err := errors.Join(laneErr, floorErr); err != nil {
				return err
			}
			l.ratios = append(l.ratios, ns/((before+after)/2))
			before = after
		}
	}
	return nil
}

// calibrate sets how many calls fill a slot. It also warms the lane up.
func (l *lane) calibrate(token string, slot time.Duration) error {
	l.calls = 1
	for {
		ns, err := l.slot(token)
		if err != nil {
			return err
		}
		l.ns = nil
		if took := ns * float64(l.calls); took >= float64(slot)/2 {
			l.calls = max(1, int(float64(slot)/ns))
			return nil
		}
		l.calls *= 2
	}
}

// slot times one slot and returns the nanoseconds of a call.
func (l *lane) slot(token string) (float64, error) {
	start := time.Now()
	for range l.calls {
		if err := l.verify(token); err != nil {
			return 0, fmt.Errorf("%s: %w", l.name, err)
		}
	}
	ns := float64(time.Since(start)) / float64(l.calls)
	l.ns = append(l.ns, ns)
	return ns, nil
}

// allocations counts the allocations of a call and their bytes, both rounded
// down as testing.AllocsPerRun does, which counts no bytes.
func allocations(verify verifyFunc, token string) (count, bytes uint64, err error) {
	const runs = 200
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		if err := verify(token); err != nil {
			return 0, 0, err
		}
	}
	runtime.ReadMemStats(&after)
	return (after.Mallocs - before.Mallocs) / runs, (after.TotalAlloc - before.TotalAlloc) / runs, nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}
