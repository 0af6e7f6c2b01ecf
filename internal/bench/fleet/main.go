// Command fleet shows what 100,000 replicas do to an issuer in a rotation, an
// outage and a cold start: ours, with the very functions of internal/schedule,
// and the same fleet with the policies of our peers. It prints tables and writes
// them into README.md, and the picture fleet.svg beside it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 1 for a failed run or check, 2 for wrong flags.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	flags.SetOutput(stderr)
	replicas := flags.Int("replicas", 100_000, "size of the fleet")
	dir := flags.String("dir", "fleet", "`directory` of the README.md and fleet.svg to write; empty: write nothing")
	check := flags.Bool("check", false, fmt.Sprintf("exit 1 if our fleet asks more than %d times its steady rate after an outage", goal))
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil: // already printed
		return 2
	case flags.NArg() > 0 || *replicas < 1:
		fmt.Fprintln(stderr, "fleet: no arguments are wanted, and -replicas is at least 1")
		return 2
	}
	results := simulate(*replicas)
	tables := printed(results)
	fmt.Fprint(stdout, tables)
	if *dir != "" {
		err = errors.Join(
			writeTables(filepath.Join(*dir, "README.md"), tables),
			os.WriteFile(filepath.Join(*dir, "fleet.svg"), []byte(picture(results)), 0o644))
	}
	if *check {
		err = errors.Join(err, results.gate())
	}
	if err != nil {
		fmt.Fprintln(stderr, "fleet:", err)
		return 1
	}
	return 0
}

// results holds a count for each history and contestant.
type results struct {
	replicas int
	counts   [][]*count
	outages  []*count // of otherOutages, by our first contestant
}

func simulate(replicas int) *results {
	r := &results{replicas: replicas, outages: make([]*count, len(otherOutages))}
	var work sync.WaitGroup
	turns := make(chan struct{}, runtime.GOMAXPROCS(0))
	fill := func(place **count, h *history, c contestant) {
		work.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			*place = h.run(replicas, c.policy())
		})
	}
	for i := range histories {
		r.counts = append(r.counts, make([]*count, len(contestants)))
		for j, c := range contestants {
			fill(&r.counts[i][j], &histories[i], c)
		}
	}
	for i, length := range otherOutages {
		h := outage("", length)
		fill(&r.outages[i], &h, contestants[0])
	}
	work.Wait()
	return r
}

// steady is a contestant's rate while nothing happens.
func (r *results) steady(contestant int) float64 { return r.counts[0][contestant].steady() }

// goal is how many times its steady rate our fleet may ask in the worst ten
// seconds after an outage.
const goal = 2

func (r *results) gate() error {
	var faults []error
	for i, h := range histories {
		for j, c := range contestants {
			if !h.gate || !c.ours {
				continue
			}
			if times := r.counts[i][j].afterwards().window / r.steady(j); !(times <= goal) {
				faults = append(faults, fmt.Errorf("%s: %s: %.2f times the steady rate, the goal is %d", h.name, c.name, times, goal))
			}
		}
	}
	return errors.Join(faults...)
}
