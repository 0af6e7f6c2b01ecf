package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// callers is one line of the table of concurrency.
type callers struct {
	Callers int     `json:"callers"`
	Ratio   float64 `json:"throughput_ratio"` // to one caller
}

var numbersOfCallers = []int{1, 2, 4, 16, 64}

// concurrency measures how many tokens that were seen before are verified while
// so many call at once, in turns, each compared with one caller right before.
func concurrency(ctx context.Context, iss *issuer, alg string, rounds int, slot time.Duration) ([]callers, error) {
	verify, err := openAgain(ctx, iss, alg)
	if err != nil {
		return nil, err
	}
	token, err := iss.token(alg, nil)
	if err != nil {
		return nil, err
	}
	ratios := make([][]float64, len(numbersOfCallers))
	for range rounds {
		for i, n := range numbersOfCallers {
			one, oneErr := throughput(verify, token, 1, slot)
			many, manyErr := throughput(verify, token, n, slot)
			if oneErr != nil || manyErr != nil {
				return nil, fmt.Errorf("%d callers: %w", n, cause(oneErr))
			}
			ratios[i] = append(ratios[i], many/one)
		}
	}
	var rows []callers
	for i, n := range numbersOfCallers {
		rows = append(rows, callers{n, median(ratios[i])})
	}
	return rows, nil
}

// throughput is the number of calls in a second.
func throughput(verify verifyFunc, token string, callers int, slot time.Duration) (float64, error) {
	var calls atomic.Int64
	var failed atomic.Pointer[error]
	var work sync.WaitGroup
	start := time.Now()
	for range callers {
		work.Go(func() {
			n := 0
			for ; n == 0 || time.Since(start) < slot; n += 16 {
				for range 16 { // so that the clock costs little
					if err := verify(token); err != nil {
						failed.Store(&err)
						return
					}
				}
			}
			calls.Add(int64(n))
		})
	}
	work.Wait()
	took := time.Since(start).Seconds()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(calls.Load()) / took, nil
}

func printConcurrency(w io.Writer, rows []callers) error {
	var out strings.Builder
	fmt.Fprintf(&out, "\nTokens seen before, verified in a second by callers at once, to one caller; %d processors.\n\n%-32s %9s\n", runtime.GOMAXPROCS(0), "callers", "x one")
	for _, r := range rows {
		fmt.Fprintf(&out, "%-32d %9.2f\n", r.Callers, r.Ratio)
	}
	_, err := io.WriteString(w, out.String())
	return err
}
