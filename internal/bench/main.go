// Command bench times the verification of one access token by bearerguard and
// by its peers, side by side.
//
// All verify the same token with the same checks (signature, algorithm,
// issuer, audience, expiry) under keys that they have fetched from one JWKS on
// loopback. Before any timing each must accept the token and refuse a forgery
// for each check, or nothing is measured. The floor is the least that anybody
// must do: decode the token's base64 and check its signature with the standard
// library.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

type options struct {
	algs   []string
	rounds int
	slot   time.Duration
	only   []string
	json   bool
	check  bool
	slack  float64
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 1 for a failed run or check, 2 for wrong flags.
func run(args []string, stdout, stderr io.Writer) int {
	opts, err := parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	if err := bench(opts, stdout); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	o.algs = algorithms
	flags.Func("algs", "comma-separated `list` of the algorithms to measure (default all)", func(list string) error {
		o.algs = strings.Split(list, ",")
		for _, alg := range o.algs {
			if !slices.Contains(algorithms, alg) {
				return fmt.Errorf("%q is none of %s", alg, strings.Join(algorithms, ", "))
			}
		}
		return nil
	})
	flags.IntVar(&o.rounds, "rounds", 61, "rounds to take the medians of")
	flags.DurationVar(&o.slot, "slot", 4*time.Millisecond, "length of one slot")
	flags.BoolVar(&o.json, "json", false, "print JSON instead of a table")
	o.only = parts
	flags.Func("only", "comma-separated `list` of the parts to measure (default all: "+strings.Join(parts, ",")+")", func(list string) error {
		o.only = strings.Split(list, ",")
		for _, part := range o.only {
			if !slices.Contains(parts, part) {
				return fmt.Errorf("%q is none of %s", part, strings.Join(parts, ", "))
			}
		}
		return nil
	})
	flags.BoolVar(&o.check, "check", false, "exit 1 if one of our times or allocations is beyond its limit")
	flags.Float64Var(&o.slack, "slack", 1, "multiply the limits of time for -check")
	if err := flags.Parse(args); err != nil {
		return o, err // already printed
	}
	var err error
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.rounds < 1 || o.slot <= 0:
		err = errors.New("-rounds and -slot must be positive")
	case !(o.slack > 0):
		err = errors.New("-slack must be positive")
	case o.check && !slices.Contains(o.only, partVerify):
		err = errors.New("-check needs " + partVerify + " among -only")
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
	}
	return o, err
}

func bench(opts options, stdout io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	iss, err := newIssuer()
	if err != nil {
		return err
	}
	defer iss.Close()

	var r results
	if slices.Contains(opts.only, partVerify) {
		for _, alg := range opts.algs {
			h, err := newHeat(ctx, iss, alg)
			if err != nil {
				return err
			}
			if err := h.race(opts.rounds, opts.slot); err != nil {
				return err
			}
			measured, err := h.rows()
			if err != nil {
				return err
			}
			r.Rows = append(r.Rows, measured...)
		}
	}
	if slices.Contains(opts.only, partGrowth) {
		for _, d := range dimensions {
			measured, err := d.grow(ctx, opts.rounds, opts.slot)
			if err != nil {
				return err
			}
			r.Growth = append(r.Growth, measured...)
		}
	}
	if slices.Contains(opts.only, partCores) {
		if r.Concurrency, err = concurrency(ctx, iss, opts.algs[0], opts.rounds, 5*opts.slot); err != nil {
			return err
		}
	}
	if slices.Contains(opts.only, partRequests) {
		if r.Requests, err = wholeRequests(ctx, iss, opts.algs[0], max(1, opts.rounds*2/3), 12*opts.slot); err != nil {
			return err
		}
	}
	print := (*results).print
	if opts.json {
		print = func(r *results, w io.Writer) error { return printJSON(w, r) }
	}
	if err := print(&r, stdout); err != nil || !opts.check {
		return err
	}
	return errors.Join(gate(r.Rows, opts.slack), gateServed(r.Requests, opts.slack))
}

// The parts of a run.
const (
	partVerify   = "verify"
	partGrowth   = "growth"
	partCores    = "cores"
	partRequests = "requests"
)

var parts = []string{partVerify, partGrowth, partCores, partRequests}
