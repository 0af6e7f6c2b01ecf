// Command faults plays nine kinds of trouble with an issuer's keys to bearerguard
// and to its peers, over sockets on loopback and in real time, and prints side by
// side how each fares. It takes less than a minute.
//
// Each contestant has an endpoint of its own for each scenario. All are told to
// keep a key set for a second, those that can be told; all else is their default.
// "ideal" is what a resource server should do; anything else says what happened.
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
	"sync"
	"unicode/utf8"
)

func main() {
	os.Exit(run(os.Args[1:], contestants, os.Stdout, os.Stderr))
}

// run returns the exit code: 1 for a failed run or check, 2 for wrong flags.
func run(args []string, contestants []contestant, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Func("only", "play to the contestant of this `name` alone (bearerguard, keyfunc v3, …)", func(name string) error {
		at := slices.IndexFunc(contestants, func(c contestant) bool { return c.name == name })
		if at < 0 {
			return errors.New("there is no such contestant")
		}
		contestants = contestants[at : at+1]
		return nil
	})
	check := flags.Bool("check", false, "exit 1 unless "+oursName+" is ideal throughout")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil: // already printed
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "faults: unexpected argument %q\n", flags.Arg(0))
		return 2
	}
	m, err := newMaterial(lifetime)
	if err == nil {
		var outcomes [][]outcome
		if outcomes, err = play(m, contestants); err == nil {
			fmt.Fprint(stdout, table(contestants, outcomes))
			if *check {
				err = gate(contestants, outcomes)
			}
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "faults:", err)
		return 1
	}
	return 0
}

// play runs every scenario for every contestant: those that load the machine one
// by one, the others, which wait most of the time, all at once.
func play(m *material, contestants []contestant) ([][]outcome, error) {
	outcomes := make([][]outcome, len(scenarios))
	errs := make([]error, len(scenarios)*len(contestants))
	var together sync.WaitGroup
	each := func(do func(s scenario, cell func(c int))) {
		for i, s := range scenarios {
			outcomes[i] = slices.Grow(outcomes[i], len(contestants))[:len(contestants)]
			do(s, func(c int) {
				var err error
				if outcomes[i][c], err = try(m, s, contestants[c]); err != nil {
					errs[i*len(contestants)+c] = fmt.Errorf("%s, %s: %w", s.name, contestants[c].name, err)
				}
			})
		}
	}
	each(func(s scenario, cell func(int)) {
		for c := range contestants {
			if !s.alone {
				together.Go(func() { cell(c) })
			}
		}
	})
	together.Wait()
	each(func(s scenario, cell func(int)) {
		for c := range contestants {
			if s.alone {
				cell(c)
			}
		}
	})
	return outcomes, errors.Join(errs...)
}

// try is one trial.
func try(m *material, s scenario, c contestant) (outcome, error) {
	ctx, cancel := context.WithCancel(context.Background())
	e := newEndpoint(down)
	defer e.close()
	defer cancel()
	return s.play(&trial{material: m, endpoint: e, open: func() (verifyFunc, error) { return c.open(ctx, e.URL) }})
}

// gate fails unless our column is ideal throughout.
func gate(contestants []contestant, outcomes [][]outcome) error {
	ours := slices.IndexFunc(contestants, func(c contestant) bool { return c.name == oursName })
	if ours < 0 {
		return errors.New(oursName + " was not tried")
	}
	var errs []error
	for i, s := range scenarios {
		if o := outcomes[i][ours]; !o.ideal {
			errs = append(errs, fmt.Errorf("%s is not ideal: %s", s.name, o.note))
		}
	}
	return errors.Join(errs...)
}

// table is in Markdown, which reads well in a terminal too.
func table(contestants []contestant, outcomes [][]outcome) string {
	head := []string{""}
	for _, c := range contestants {
		head = append(head, c.name)
	}
	rows := [][]string{head, make([]string, len(head))}
	for i, s := range scenarios {
		row := []string{s.name}
		for _, o := range outcomes[i] {
			row = append(row, o.String())
		}
		rows = append(rows, row)
	}
	widths := make([]int, len(head))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for n, row := range rows {
		for i, cell := range row {
			fill := " "
			if n == 1 {
				fill = "-"
			}
			b.WriteString("| " + cell + strings.Repeat(fill, widths[i]-utf8.RuneCountInString(cell)) + " ")
		}
		b.WriteString("|\n")
	}
	return b.String()
}

func (o outcome) String() string {
	switch {
	case !o.ideal:
		return o.note
	case o.note == "":
		return "ideal"
	}
	return "ideal: " + o.note
}
