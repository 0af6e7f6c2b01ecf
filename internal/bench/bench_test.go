package main

import "testing"

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
