package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
)

// row is one line of the table.
type row struct {
	Alg         string  `json:"alg"`
	Name        string  `json:"name"`
	Kind        kind    `json:"kind"`
	Peer        bool    `json:"peer"` // not ours
	FloorRatio  float64 `json:"floor_ratio"`
	PeerRatio   float64 `json:"fastest_peer_ratio"`
	NsPerOp     float64 `json:"ns_per_op"`
	AllocsPerOp uint64  `json:"allocs_per_op"`
	BytesPerOp  uint64  `json:"bytes_per_op"`
}

// rows sums up a race, the floor last.
func (h *heat) rows() ([]row, error) {
	var rows []row
	var peer float64 // the fastest
	for _, l := range append(h.lanes[:len(h.lanes):len(h.lanes)], h.floor) {
		count, bytes, err := allocations(l.verify, h.token)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.name, err)
		}
		ratio := median(l.ratios)
		if l.kind == first && l.peer && (peer == 0 || ratio < peer) {
			peer = ratio
		}
		rows = append(rows, row{h.alg, l.name, l.kind, l.peer, ratio, 0, median(l.ns), count, bytes})
	}
	for i := range rows {
		rows[i].PeerRatio = rows[i].FloorRatio / peer
	}
	return rows, nil
}

func printTable(w io.Writer, rows []row) error {
	var out strings.Builder
	fmt.Fprintf(&out, "Verification of a token; %s, %s/%s. Times are medians.\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	out.WriteString("The floor is base64 and the standard library's signature check alone.\n")
	for i, r := range rows {
		if i == 0 || r.Alg != rows[i-1].Alg {
			fmt.Fprintf(&out, "\n%-32s %9s %9s %9s %9s %9s %8s\n", r.Alg, "x floor", "floor /", "peer /", "ns/op", "allocs/op", "B/op")
		}
		switch {
		case r.Name == floor.name:
			out.WriteString("for comparison:\n")
		case i > 0 && r.Kind != rows[i-1].Kind && (r.Kind == late || r.Kind == early):
			fmt.Fprintf(&out, "%s:\n", r.Kind)
		}
		fmt.Fprintf(&out, "%-32s %9.3f %9.1f %9.1f %9.0f %9d %8d\n", r.Name, r.FloorRatio, 1/r.FloorRatio, 1/r.PeerRatio, r.NsPerOp, r.AllocsPerOp, r.BytesPerOp)
	}
	out.WriteString("\nfloor / and peer / say how many times faster than the floor and the fastest peer.\n")
	_, err := io.WriteString(w, out.String())
	return err
}

// results is what a run found out.
type results struct {
	Rows        []row     `json:"rows"`
	Growth      []grown   `json:"growth,omitempty"`
	Concurrency []callers `json:"concurrency,omitempty"`
	Requests    []served  `json:"requests,omitempty"`
}

func (r *results) print(w io.Writer) error {
	var errs []error
	if len(r.Rows) > 0 {
		errs = append(errs, printTable(w, r.Rows))
	}
	if len(r.Growth) > 0 {
		errs = append(errs, printGrowth(w, r.Growth))
	}
	if len(r.Concurrency) > 0 {
		errs = append(errs, printConcurrency(w, r.Concurrency))
	}
	if len(r.Requests) > 0 {
		errs = append(errs, printServed(w, r.Requests))
	}
	return errors.Join(errs...)
}

func printJSON(w io.Writer, r *results) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}
