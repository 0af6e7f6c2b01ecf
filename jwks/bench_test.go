package jwks_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
)

func TestAKnownKeyIsFoundWithoutAllocating(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA, rsaJWK.with(jwk{"kid": "r"}))
		cache := i.ready(t)
		ctx := t.Context()
		requireNone := func(f func() error) {
			t.Helper()
			require.Zero(t, testing.AllocsPerRun(1000, func() {
				if f() != nil {
					panic("it is known")
				}
			}))
		}
		find := func(f finder, kid, alg string) func() error {
			return func() error { _, err := f.Key(ctx, kid, alg); return err }
		}
		requireNone(find(cache, "a", "EdDSA"))
		requireNone(find(cache, "r", "PS256"))
		requireNone(find(cache, "", "RS256"))
		requireNone(find(parse(t, keyA), "a", "EdDSA"))

		cache.Deny("r")
		require.Zero(t, testing.AllocsPerRun(1000, func() { _, _ = cache.Key(ctx, "r", "PS256") }), "a denied one too")
		requireNone(find(cache, "a", "EdDSA"))
	})
}

// Whoever asks for a known key waits for nobody: the time per look-up is the same
// however many ask, and while keys are refreshed without a pause.
func BenchmarkKey(b *testing.B) {
	s := httptest.NewServer(text(set(keyA, keyB)))
	defer s.Close()
	for _, storm := range []bool{false, true} {
		for _, readers := range []int{1, 2, 8, 64} {
			b.Run(fmt.Sprintf("readers=%d/storm=%t", readers, storm), func(b *testing.B) {
				cache := many(b, 1, s.URL)[0]
				defer cache.Close()
				var storming sync.WaitGroup
				var done atomic.Bool
				if storm {
					storming.Go(func() {
						for !done.Load() {
							if err := cache.Refresh(b.Context()); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				procs := runtime.GOMAXPROCS(0)
				if readers < procs {
					defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(readers))
					procs = readers
				}
				b.SetParallelism(readers / procs)
				b.ReportAllocs()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := cache.Key(b.Context(), "a", "EdDSA"); err != nil {
							b.Error(err)
							return
						}
					}
				})
				b.StopTimer()
				done.Store(true)
				storming.Wait()
				b.ReportMetric(float64(cache.Status().Fetches-1)/b.Elapsed().Seconds(), "refreshes/s")
			})
		}
	}
}

// A service may trust thousands of issuers, of which few are busy.
func BenchmarkIdleCache(b *testing.B) {
	document := set(keyA, keyB)
	for _, c := range []struct {
		name  string
		start func(*httptest.Server)
	}{
		{"http", (*httptest.Server).Start},
		{"https", (*httptest.Server).StartTLS},
		{"http2", func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() }},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := httptest.NewUnstartedServer(text(document))
			c.start(s)
			defer s.Close()
			change := func(*jwks.Config) {}
			if s.TLS != nil {
				roots := x509.NewCertPool()
				roots.AddCert(s.Certificate())
				change = func(c *jwks.Config) { c.TLS = &tls.Config{RootCAs: roots} }
			}
			const n = 2000
			closeAll(b, many(b, 100, s.URL, change)) // what all share is made once
			perSet, sets := held(n, func(n int) []*jwks.Set {
				sets := make([]*jwks.Set, n)
				for at := range sets {
					sets[at], _ = jwks.Parse([]byte(document))
				}
				return sets
			})
			var perCache float64
			for b.Loop() {
				var caches []*jwks.Cache
				perCache, caches = held(n, func(n int) []*jwks.Cache { return many(b, n, s.URL, change) })
				closeAll(b, caches)
			}
			runtime.KeepAlive(sets)
			b.ReportMetric(perCache-perSet, "B/cache")
			b.ReportMetric(perSet, "B/keys")
			if perCache-perSet > mostHeld {
				b.Errorf("an idle Cache holds %.0f bytes beyond its keys; %d are allowed", perCache-perSet, mostHeld)
			}
		})
	}
}
