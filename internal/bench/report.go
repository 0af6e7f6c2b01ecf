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
	FloorRatio  float64 `json:"floor_ratio"`
	PeerRatio   float64 `json:"keyfunc_ratio"`
	NsPerOp     float64 `json:"ns_per_op"`
	AllocsPerOp uint64  `json:"allocs_per_op"`
	BytesPerOp  uint64  `json:"bytes_per_op"`
}

// rows sums up a race, the floor last.
func (h *heat) rows() ([]row, error) {
	var rows []row
	var peer float64
	for _, l := range append(h.lanes[:len(h.lanes):len(h.lanes)], h.floor) {
		count, bytes, err := allocations(l.verify, h.token)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.name, err)
		}
		ratio := median(l.ratios)
		if l.name == keyfuncName {
			peer = ratio
		}
		rows = append(rows, row{h.alg, l.name, ratio, 0, median(l.ns), count, bytes})
	}
	for i := range rows {
		rows[i].PeerRatio = rows[i].FloorRatio / peer
	}
	return rows, nil
}

func printTable(w io.Writer, rows []row) error {
	var out strings.Builder
	fmt.Fprintf(&out, "First verification of a token; %s, %s/%s. Times are medians.\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	out.WriteString("The floor is base64 and the standard library's signature check alone.\n")
	for i, r := range rows {
		if i == 0 || r.Alg != rows[i-1].Alg {
			fmt.Fprintf(&out, "\n%-27s %9s %10s %10s %10s %10s %8s\n", r.Alg, "x floor", "x keyfunc", "keyfunc /", "ns/op", "allocs/op", "B/op")
		}
		fmt.Fprintf(&out, "%-27s %9.3f %10.3f %10.1f %10.0f %10d %8d\n", r.Name, r.FloorRatio, r.PeerRatio, 1/r.PeerRatio, r.NsPerOp, r.AllocsPerOp, r.BytesPerOp)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func printJSON(w io.Writer, rows []row) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(rows)
}

const gatedAlg = "RS256"

// gate fails if our own row for gatedAlg is beyond a limit.
func gate(rows []row, maxRatio float64, maxAllocs uint64) error {
	for _, r := range rows {
		if r.Name != oursName || r.Alg != gatedAlg {
			continue
		}
		var errs []error
		if !(r.FloorRatio <= maxRatio) {
			errs = append(errs, fmt.Errorf("%s takes %.3f times the floor, the limit is %g", r.Alg, r.FloorRatio, maxRatio))
		}
		if r.AllocsPerOp > maxAllocs {
			errs = append(errs, fmt.Errorf("%s takes %d allocations, the limit is %d", r.Alg, r.AllocsPerOp, maxAllocs))
		}
		return errors.Join(errs...)
	}
	return fmt.Errorf("nothing measured for %s by %s", gatedAlg, oursName)
}
