package main

import (
	"errors"
	"fmt"
)

// kind is what a row is about, and so which limits it has.
type kind string

const (
	first kind = "first" // verification of a token that was not seen before
	again kind = "again" // of one that was
	late  kind = "refused before the signature"
	early kind = "refused by header or shape"
)

// limit is what -check holds one of our rows to: time as a part of the floor's
// or of the fastest peer's (0: any), and allocations.
type limit struct {
	floor, peer float64
	allocs      uint64
}

var limits = map[kind]map[string]limit{
	first: {"RS256": {floor: 1.09, allocs: 14}, "ES256": {floor: 1.05, allocs: 16}, "EdDSA": {floor: 1.06, allocs: 5}},
	again: {"RS256": {peer: 1. / 42, allocs: 4}, "ES256": {peer: 1. / 85, allocs: 4}, "EdDSA": {peer: 1. / 70, allocs: 4}},
	late:  {"RS256": {floor: 1. / 10, allocs: 10}, "ES256": {floor: 1. / 25, allocs: 10}, "EdDSA": {floor: 1. / 18, allocs: 10}},
	early: {"RS256": {floor: 1. / 50, allocs: 3}, "ES256": {floor: 1. / 50, allocs: 3}, "EdDSA": {floor: 1. / 50, allocs: 3}},
}

// allocating is junk of which somebody else's error is a part: the JSON reader's.
var allocating = map[string]uint64{"a header that is no JSON": 6}

// gate names every limit that our rows exceed. Limits of time are multiplied by
// slack, for machines that have other work; what a first check may cost beyond the
// floor is, not the floor itself. Those of allocations are not.
func gate(rows []row, slack float64) error {
	var errs []error
	judged := 0
	for _, r := range rows {
		l, ok := limits[r.Kind][r.Alg]
		if !ok || r.Peer {
			continue
		}
		judged++
		exceeds := func(what string, is, limit float64) {
			if limit == 0 {
				return
			}
			if whole := float64(int(limit)); !(is <= whole+(limit-whole)*slack) {
				errs = append(errs, fmt.Errorf("%s, %s: %.4f times %s, the limit is %.4f", r.Alg, r.Name, is, what, whole+(limit-whole)*slack))
			}
		}
		exceeds("the floor", r.FloorRatio, l.floor)
		exceeds("the fastest peer", r.PeerRatio, l.peer)
		if limit := max(l.allocs, allocating[r.Name]); r.AllocsPerOp > limit {
			errs = append(errs, fmt.Errorf("%s, %s: %d allocations, the limit is %d", r.Alg, r.Name, r.AllocsPerOp, limit))
		}
	}
	if judged == 0 {
		return errors.New("nothing of ours was measured")
	}
	return errors.Join(errs...)
}
