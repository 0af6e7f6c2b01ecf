package jwtverify_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// mostOfTenant is what a tenant may cost, its keys included, in bytes.
const mostOfTenant = 24 << 10

// manyTenants are tenants of one server, each with an issuer identifier and a key of
// its own, found by discovery. It returns a token of each, verified once, and the
// bytes that a tenant takes.
func manyTenants(t testing.TB, n int) (m *jwtverify.Issuers, tokens []string, bytes float64) {
	t.Helper()
	signers := make([]signer, n)
	jwks := make([]string, n)
	for i := range n {
		signers[i] = newSigner(t)
		jwks[i] = `{"keys":[` + marshal(t, signers[i].jwk(t, "1")) + `]}`
	}
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var tenant int
		_, after, _ := strings.Cut(r.URL.Path, "/tenants/")
		if _, err := fmt.Sscan(strings.ReplaceAll(after, "/", " "), &tenant); err != nil || tenant >= n {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/keys") {
			_, _ = io.WriteString(w, jwks[tenant])
			return
		}
		_, _ = fmt.Fprintf(w, `{"issuer":"%s/tenants/%d","jwks_uri":"%s/tenants/%d/keys"}`, server.URL, tenant, server.URL, tenant)
	}))
	t.Cleanup(server.Close)
	for i := range n {
		tokens = append(tokens, signers[i].sign(t, `{"alg":"ES256","kid":"1"}`, signers[i].claims(t, map[string]any{
			"iss": fmt.Sprintf("%s/tenants/%d", server.URL, i), "exp": time.Now().Add(time.Hour).Unix(),
		})))
	}

	inUse := func() float64 {
		var memory runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&memory)
		return float64(memory.HeapAlloc)
	}
	before := inUse()
	m, err := jwtverify.NewIssuers(jwtverify.IssuersConfig{
		MaxResolved: n,
		CacheBytes:  -1,
		Logger:      slog.New(slog.DiscardHandler),
		Resolve: func(_ context.Context, issuer string) (jwtverify.Config, error) {
			return jwtverify.Config{Issuer: issuer, Audience: []string{signerAudience}}, nil
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	var work sync.WaitGroup
	const atOnce = 8
	for first := range atOnce {
		work.Go(func() {
			for i := first; i < n; i += atOnce {
				if _, err := m.Verify(t.Context(), tokens[i]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	require.Len(t, m.Status().Keys, n)
	server.CloseClientConnections() // whose buffers are no tenant's
	return m, tokens, (inUse() - before) / float64(n)
}

func TestATenantTakesLittleMemory(t *testing.T) {
	_, _, bytes := manyTenants(t, 300)
	require.Less(t, bytes, float64(mostOfTenant))
}

// BenchmarkTenants verifies tokens of so many tenants in turns, none of them kept,
// and says what a tenant takes.
func BenchmarkTenants(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m, tokens, bytes := manyTenants(b, n)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, err := m.Verify(b.Context(), tokens[i%n]); err != nil {
					b.Fatal(err)
				}
				i++
			}
			b.ReportMetric(bytes, "B/tenant")
		})
	}
}
