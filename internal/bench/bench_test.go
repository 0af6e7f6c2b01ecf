package main

import (
	"strconv"
	"testing"
)

// BenchmarkVerify has names like BenchmarkVerify/RS256/bearerguard, for
// benchstat. The command compares more closely: it measures all in turns.
func BenchmarkVerify(b *testing.B) {
	iss, err := newIssuer()
	if err != nil {
		b.Fatal(err)
	}
	defer iss.Close()
	for _, alg := range algorithms {
		b.Run(alg, func(b *testing.B) {
			h, err := newHeat(b.Context(), iss, alg)
			if err != nil {
				b.Fatal(err)
			}
			for _, l := range append(h.lanes, h.floor) {
				b.Run(l.name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if err := l.verify(h.token); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		})
	}
}

// BenchmarkStore is the first verification of tokens that are then kept, which the
// cache's default makes of every first one, beside that of tokens that are not.
func BenchmarkStore(b *testing.B) {
	iss, err := newIssuer()
	if err != nil {
		b.Fatal(err)
	}
	defer iss.Close()
	for _, alg := range algorithms {
		tokens := make([]string, 256)
		for i := range tokens {
			if tokens[i], err = iss.token(alg, map[string]any{"jti": strconv.Itoa(i)}); err != nil {
				b.Fatal(err)
			}
		}
		for _, cache := range []struct {
			name  string
			bytes int
		}{{"kept", 4 << 10}, {"not kept", -1}} { // 4 KiB: none is there when its turn comes again
			b.Run(alg+"/"+cache.name, func(b *testing.B) {
				v, err := newVerifier(b.Context(), iss, alg, cache.bytes)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if _, err := v.Verify(b.Context(), tokens[i%len(tokens)]); err != nil {
						b.Fatal(err)
					}
				}
				if hits := v.Status().Cache.Hits; hits > uint64(b.N/20) {
					b.Fatalf("%d of %d were there already", hits, b.N)
				}
			})
		}
	}
}

// BenchmarkJunk is each kind of junk by itself, for profiles of a refusal.
func BenchmarkJunk(b *testing.B) {
	iss, err := newIssuer()
	if err != nil {
		b.Fatal(err)
	}
	defer iss.Close()
	for _, alg := range algorithms {
		lanes, err := junkLanes(b.Context(), iss, alg)
		if err != nil {
			b.Fatal(err)
		}
		for _, l := range lanes {
			b.Run(alg+"/"+l.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := l.verify(""); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
