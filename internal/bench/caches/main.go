// Command caches weighs caches for verified tokens: ours, and two well-kept
// libraries. It prints how many tokens each finds again on traces of users whose
// tokens expire, alone and beside tokens that come once; what a hit and a put
// cost; and how much memory each takes of what it was given.
package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("caches", flag.ContinueOnError)
	flags.SetOutput(stderr)
	rounds := flags.Int("rounds", 21, "slots to take the medians of")
	slot := flags.Duration("slot", 5*time.Millisecond, "length of one slot")
	length := flags.Duration("trace", 30*time.Minute, "length of the traces, on their own clock")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 || *rounds < 1 || *slot <= 0 || *length <= warm {
		return 2
	}
	fmt.Fprintf(stdout, "%s, %s/%s, %d processors\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
	for _, limit := range []int{1 << 20, 8 << 20} {
		fmt.Fprintf(stdout, "\n**%d MiB: users' tokens found again; the most bytes held, by the cache's own account**\n\n|  |", limit>>20)
		for _, tr := range traces {
			fmt.Fprintf(stdout, " %s |", tr.name)
		}
		fmt.Fprint(stdout, " most bytes |\n| --- |")
		for range len(traces) + 1 {
			fmt.Fprint(stdout, " ---: |")
		}
		fmt.Fprintln(stdout)
		for _, c := range contestants {
			fmt.Fprintf(stdout, "| %s |", c.name)
			most := int64(-1)
			for _, tr := range traces {
				hits, held := tr.play(c.open(limit), *length)
				most = max(most, held)
				fmt.Fprintf(stdout, " %.1f %% |", 100*hits)
			}
			if most < 0 {
				fmt.Fprintln(stdout, " does not count |")
			} else {
				fmt.Fprintf(stdout, " %.2f of the limit |\n", float64(most)/float64(limit))
			}
		}
	}
	fmt.Fprint(stdout, "\n**8 MiB: cost, medians of slots in turns; heap held when full; heap of an empty one**\n\n"+
		"| | ns a hit | ns a put | heap, of the limit | empty, KiB | goroutines |\n| --- | ---: | ---: | ---: | ---: | ---: |\n")
	costs := measure(*rounds, *slot)
	for i, c := range contestants {
		full, empty, goroutines := memory(c)
		fmt.Fprintf(stdout, "| %s | %.0f | %.0f | %.2f | %.1f | %d |\n", c.name, costs[i].hit, costs[i].put, float64(full)/(8<<20), float64(empty)/1024, goroutines)
	}
	return 0
}

type cost struct{ hit, put float64 }

// measure times hits on a thousand tokens that are there, and puts of new ones
// into a full cache.
func measure(rounds int, slot time.Duration) []cost {
	const known = 1000
	now := time.Unix(0, 0)
	until := now.Add(life)
	sums := make([][32]byte, known)
	for n := range sums {
		sums[n] = sumOf(uint64(n))
	}
	claims := make([]byte, meanClaims)
	hits, puts := make([][]float64, len(contestants)), make([][]float64, len(contestants))
	var holding, full []store
	for _, c := range contestants {
		w := c.open(8 << 20)
		for n := range sums {
			w.put(&sums[n], token{until, claims}, now)
		}
		holding, full = append(holding, w), append(full, c.open(8<<20))
	}
	fresh := uint64(1) << 40
	batch := make([][32]byte, 512)
	for range rounds {
		for _, i := range rand.Perm(len(contestants)) {
			hits[i] = append(hits[i], slotOf(slot, len(sums), func() {
				for n := range sums {
					holding[i].get(&sums[n], now)
				}
			}))
			var spent time.Duration
			calls := 0
			for spent < slot {
				for n := range batch {
					fresh++
					batch[n] = sumOf(fresh)
				}
				start := time.Now()
				for n := range batch {
					full[i].put(&batch[n], token{until, claims}, now)
				}
				spent += time.Since(start)
				calls += len(batch)
			}
			puts[i] = append(puts[i], float64(spent)/float64(calls))
		}
	}
	costs := make([]cost, len(contestants))
	for i := range costs {
		costs[i] = cost{median(hits[i]), median(puts[i])}
	}
	return costs
}

func slotOf(slot time.Duration, calls int, work func()) float64 {
	start := time.Now()
	n := 0
	for n == 0 || time.Since(start) < slot {
		work()
		n += calls
	}
	return float64(time.Since(start)) / float64(n)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// memory is the heap that a cache of 8 MiB holds when as much as fits three times
// went through it, and before, and the goroutines that it started.
func memory(c contestant) (full, empty int64, goroutines int) {
	before, running := heap(), runtime.NumGoroutine()
	s := c.open(8 << 20)
	empty = heap() - before
	now := time.Unix(0, 0)
	for n := range uint64(3 * 8 << 20 / meanClaims) {
		sum := sumOf(n)
		s.put(&sum, token{now.Add(life), make([]byte, sizeOf(n))}, now)
	}
	full, goroutines = heap()-before, runtime.NumGoroutine()-running
	runtime.KeepAlive(s)
	return full, empty, goroutines
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
