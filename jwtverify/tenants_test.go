package jwtverify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

// tenants answers for any number of issuers with one signer's key.
type tenants struct {
	signer signer
	set    *jwks.Set
	asked  atomic.Int64
	change func(*jwtverify.Config) // of what is brought
}

func newTenants(t *testing.T) *tenants {
	s := newSigner(t)
	return &tenants{signer: s, set: s.set(t), change: func(*jwtverify.Config) {}}
}

func tenantName(n int) string { return fmt.Sprintf("https://%d.tenants.example.com", n) }

func (w *tenants) resolve(_ context.Context, issuer string) (jwtverify.Config, error) {
	w.asked.Add(1)
	if !strings.HasSuffix(issuer, ".tenants.example.com") {
		return jwtverify.Config{}, fmt.Errorf("not in the table: %w", jwtverify.ErrIssuer)
	}
	c := jwtverify.Config{Issuer: issuer, Audience: []string{signerAudience}, Keys: w.set, Now: func() time.Time { return signerTime }}
	w.change(&c)
	return c, nil
}

func (w *tenants) token(t *testing.T, iss string) string {
	return w.signer.sign(t, `{"alg":"ES256"}`, w.signer.claims(t, map[string]any{"iss": iss}))
}

func TestATenantIsResolvedOnceForAllWhoAsk(t *testing.T) {
	w := newTenants(t)
	m := newIssuers(t, jwtverify.IssuersConfig{Resolve: w.resolve})
	token := w.token(t, tenantName(1))
	var work sync.WaitGroup
	for range 50 {
		work.Go(func() {
			_, err := m.Verify(t.Context(), token)
			assert.NoError(t, err)
		})
	}
	work.Wait()
	require.EqualValues(t, 1, w.asked.Load())
	require.Len(t, m.Status().Keys, 1)
}

func TestAnIssuerThatIsUnknownIsAskedForOnceInAWhile(t *testing.T) {
	w := newTenants(t)
	synctest.Test(t, func(t *testing.T) {
		m := newIssuers(t, jwtverify.IssuersConfig{Resolve: w.resolve})
		token := w.token(t, "https://evil.example.com")
		for range 3 {
			requireReason(t, m, token, jwtverify.ErrIssuer)
		}
		require.EqualValues(t, 1, w.asked.Load())
		time.Sleep(31 * time.Second)
		requireReason(t, m, token, jwtverify.ErrIssuer)
		require.EqualValues(t, 2, w.asked.Load())
		m.Forget("https://evil.example.com")
		requireReason(t, m, token, jwtverify.ErrIssuer)
		require.EqualValues(t, 3, w.asked.Load())
	})
}

func TestAnOutageOfResolveIsNoBadToken(t *testing.T) {
	w := newTenants(t)
	token := w.token(t, tenantName(1))
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("database: connection refused")
		m := newIssuers(t, jwtverify.IssuersConfig{Resolve: func(ctx context.Context, issuer string) (jwtverify.Config, error) {
			c, err := w.resolve(ctx, issuer)
			return c, errors.Join(err, down)
		}})
		for range 3 {
			_, err := m.Verify(t.Context(), token)
			require.ErrorIs(t, err, jwtverify.ErrUnavailable)
			var e *jwtverify.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, time.Second, e.RetryAfter)
			e.RetryAfter = 0 // this caller's alone
		}
		require.EqualValues(t, 1, w.asked.Load())
		down = nil
		time.Sleep(time.Second)
		requireReason(t, m, token, "")
	})
}

func TestAnErrorThatIsBothAnOutageAndARefusalIsAnOutage(t *testing.T) {
	w := newTenants(t)
	m := newIssuers(t, jwtverify.IssuersConfig{Resolve: func(context.Context, string) (jwtverify.Config, error) {
		return jwtverify.Config{}, errors.Join(jwtverify.ErrIssuer, jwtverify.ErrUnavailable)
	}})
	requireReason(t, m, w.token(t, tenantName(1)), jwtverify.ErrUnavailable)
}

func TestNobodyWaitsLongForResolve(t *testing.T) {
	w := newTenants(t)
	one, other := w.token(t, tenantName(1)), w.token(t, tenantName(2))
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Duration, 1)
		start := time.Now()
		m := newIssuers(t, jwtverify.IssuersConfig{Resolve: func(ctx context.Context, issuer string) (jwtverify.Config, error) {
			if issuer == tenantName(1) {
				<-ctx.Done()
				ended <- time.Since(start)
				return jwtverify.Config{}, ctx.Err()
			}
			return w.resolve(ctx, issuer)
		}})
		requireReason(t, m, one, jwtverify.ErrUnavailable)
		require.Equal(t, 2*time.Second, time.Since(start))
		requireReason(t, m, other, "") // which waits for nothing of the first one's
		require.Equal(t, 2*time.Second, time.Since(start))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := m.Verify(ctx, one)
		require.ErrorIs(t, err, jwtverify.ErrUnavailable)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 3*time.Second, time.Since(start))
		require.Equal(t, 10*time.Second, <-ended)
	})
}

func TestAFloodOfMadeUpIssuersIsBounded(t *testing.T) {
	w := newTenants(t)
	var tokens []string
	for n := range 300 {
		tokens = append(tokens, w.token(t, fmt.Sprintf("https://%d.evil.example.com", n)))
	}
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		m := newIssuers(t, jwtverify.IssuersConfig{Resolve: func(ctx context.Context, issuer string) (jwtverify.Config, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			time.Sleep(900 * time.Millisecond)
			return w.resolve(ctx, issuer)
		}})
		answers := map[string]int{}
		var mu sync.Mutex
		var work sync.WaitGroup
		start := time.Now()
		for _, token := range tokens {
			work.Go(func() {
				_, err := m.Verify(t.Context(), token)
				mu.Lock()
				defer mu.Unlock()
				answers[fmt.Sprint(jwtverify.ReasonOf(err), " after ", time.Since(start))]++
			})
		}
		work.Wait()
		require.EqualValues(t, 16, most.Load())
		require.Equal(t, map[string]int{
			"jwtverify: unavailable after 0s": 300 - 256, // whose turn will not come
			"jwtverify: issuer after 900ms":   16,
			"jwtverify: issuer after 1.8s":    16,
			"jwtverify: unavailable after 2s": 256 - 32,
		}, answers)
	})
}

func TestNoMoreThan1024CallersWaitForAnIssuer(t *testing.T) {
	w := newTenants(t)
	token := w.token(t, tenantName(1))
	synctest.Test(t, func(t *testing.T) {
		m := newIssuers(t, jwtverify.IssuersConfig{Resolve: func(ctx context.Context, issuer string) (jwtverify.Config, error) {
			<-ctx.Done()
			return jwtverify.Config{}, ctx.Err()
		}})
		var atOnce, inTime atomic.Int64
		var work sync.WaitGroup
		start := time.Now()
		for range 1030 {
			work.Go(func() {
				_, err := m.Verify(t.Context(), token)
				var e *jwtverify.Error
				if assert.ErrorAs(t, err, &e) {
					assert.Equal(t, time.Second, e.RetryAfter)
				}
				switch time.Since(start) {
				case 0:
					atOnce.Add(1)
				case 2 * time.Second:
					inTime.Add(1)
				}
			})
		}
		work.Wait()
		require.EqualValues(t, 6, atOnce.Load())
		require.EqualValues(t, 1024, inTime.Load())
		time.Sleep(10 * time.Second)
		start = time.Now()
		requireReason(t, m, token, jwtverify.ErrUnavailable)
		require.Equal(t, 2*time.Second, time.Since(start), "those who left are not counted")
	})
}

func TestCallersWhoLeaveLeaveNothingBehind(t *testing.T) {
	w := newTenants(t)
	entered := make(chan struct{}, 1)
	m := newIssuers(t, jwtverify.IssuersConfig{Resolve: func(ctx context.Context, _ string) (jwtverify.Config, error) {
		entered <- struct{}{}
		<-ctx.Done()
		return jwtverify.Config{}, ctx.Err()
	}})
	token := w.token(t, tenantName(1))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := m.Verify(ended, token)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, entered, "whoever is gone already asks for nothing")
	go func() { _, _ = m.Verify(context.Background(), token) }()
	<-entered
	heap := func() int64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return int64(s.HeapAlloc)
	}
	before := heap()
	for range 2000 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
		_, _ = m.Verify(ctx, token)
		cancel()
	}
	require.Less(t, heap()-before, int64(128<<10))
}

// All tenants of a service come at once when it starts.
func TestIssuersWaitForTheirTurn(t *testing.T) {
	w := newTenants(t)
	var tokens []string
	for n := range 200 {
		tokens = append(tokens, w.token(t, tenantName(n)))
	}
	synctest.Test(t, func(t *testing.T) {
		m := newIssuers(t, jwtverify.IssuersConfig{Resolve: func(ctx context.Context, issuer string) (jwtverify.Config, error) {
			time.Sleep(100 * time.Millisecond)
			return w.resolve(ctx, issuer)
		}})
		var work sync.WaitGroup
		for _, token := range tokens {
			work.Go(func() {
				_, err := m.Verify(t.Context(), token)
				assert.NoError(t, err)
			})
		}
		work.Wait()
	})
}

// What Resolve brings for one name never serves under another, as it would where a
// table is searched without regard to case.
func TestAConfigOfAnotherIssuerIsNotUsed(t *testing.T) {
	w := newTenants(t)
	w.change = func(c *jwtverify.Config) { c.Issuer = strings.ToLower(c.Issuer) }
	m := newIssuers(t, jwtverify.IssuersConfig{Resolve: w.resolve})
	requireReason(t, m, w.token(t, "HTTPS://1.tenants.example.com"), jwtverify.ErrIssuer)
	requireReason(t, m, w.token(t, tenantName(1)), "")
	require.Len(t, m.Status().Keys, 1)
}

func TestAFaultyConfigOfATenantIsAnOutageAndIsLogged(t *testing.T) {
	w := newTenants(t)
	w.change = func(c *jwtverify.Config) { c.Audience = nil }
	var log bytes.Buffer
	m := newIssuers(t, jwtverify.IssuersConfig{Resolve: w.resolve, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	token := w.token(t, "https://\n.tenants.example.com")
	for range 2 {
		requireReason(t, m, token, jwtverify.ErrUnavailable)
	}
	require.Equal(t, 1, strings.Count(log.String(), "\n"), "once, and the name is escaped")
	require.Contains(t, log.String(), "Audience is required")
	w.change = func(c *jwtverify.Config) { c.CacheBytes = 1 << 20 }
	_, err := m.Verify(t.Context(), w.token(t, tenantName(2)))
	require.ErrorIs(t, err, jwtverify.ErrUnavailable)
	require.ErrorContains(t, err, "set IssuersConfig.CacheBytes")
}

// badError is what a function returns that forgot to return nil.
type badError struct{ text string }

func (e *badError) Error() string { return e.text }

func TestAPanicOfResolveIsAnOutage(t *testing.T) {
	w := newTenants(t)
	for name, resolve := range map[string]func(context.Context, string) (jwtverify.Config, error){
		"it panics":      func(context.Context, string) (jwtverify.Config, error) { panic("\n") },
		"its error does": func(context.Context, string) (jwtverify.Config, error) { return jwtverify.Config{}, (*badError)(nil) },
		"the fault of its Config": func(context.Context, string) (jwtverify.Config, error) {
			return jwtverify.Config{Issuer: tenantName(1), Fault: (*badError)(nil)}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			m := newIssuers(t, jwtverify.IssuersConfig{Resolve: resolve, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			_, err := m.Verify(t.Context(), w.token(t, tenantName(1)))
			require.ErrorIs(t, err, jwtverify.ErrUnavailable)
			require.NotContains(t, err.Error(), "\n")
			require.Equal(t, 1, strings.Count(log.String(), "\n"))
			require.Contains(t, log.String(), "panicked")
		})
	}
}

func TestWhatResolveSaysOfAnIssuerIsRemembered(t *testing.T) {
	w := newTenants(t)
	var fault error
	w.change = func(c *jwtverify.Config) { c.Issuer += "/" }
	m := newIssuers(t, jwtverify.IssuersConfig{Resolve: func(ctx context.Context, issuer string) (jwtverify.Config, error) {
		c, err := w.resolve(ctx, issuer)
		if fault != nil {
			err = fault
		}
		return c, err
	}})
	for range 2 {
		requireReason(t, m, w.token(t, tenantName(1)), jwtverify.ErrIssuer)
		requireReason(t, m, w.token(t, "https://evil.example.com"), jwtverify.ErrIssuer)
	}
	require.EqualValues(t, 2, w.asked.Load())
	fault = jwtverify.ErrRejected // which is an ErrInvalidToken too
	requireReason(t, m, w.token(t, tenantName(2)), jwtverify.ErrIssuer)
	fault = &jwtverify.Error{Reason: jwtverify.ErrUnavailable, RetryAfter: 7 * time.Second}
	_, err := m.Verify(t.Context(), w.token(t, tenantName(3)))
	var e *jwtverify.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 7*time.Second, e.RetryAfter)
}

// Resolve may cost something: it is not asked for what no issuer's Verifier takes.
func TestJunkAsksForNoIssuer(t *testing.T) {
	w := newTenants(t)
	m := newIssuers(t, jwtverify.IssuersConfig{Resolve: w.resolve})
	header, rest, _ := strings.Cut(w.token(t, tenantName(1)), ".")
	payload, signature, _ := strings.Cut(rest, ".")
	for _, token := range []string{
		"." + payload + "." + signature, "!." + payload + "." + signature, encodeSegment("{}") + "." + payload + "." + signature,
		encodeSegment(`{"alg":"ES256","crit":["x"]}`) + "." + payload + "." + signature, header + "." + payload + ".",
	} {
		requireReason(t, m, token, jwtverify.ErrMalformed)
	}
	require.Zero(t, w.asked.Load())
}

func TestTheTenantWhoseLastGoodTokenIsTheLongestAgoMakesRoom(t *testing.T) {
	w := newTenants(t)
	var tokens [5]string
	for n := range tokens {
		tokens[n] = w.token(t, tenantName(n))
	}
	forged := newSigner(t).sign(t, `{"alg":"ES256"}`, w.signer.claims(t, map[string]any{"iss": tenantName(1)}))
	for name, cacheBytes := range map[string]int{"kept tokens": 0, "none": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newIssuers(t, jwtverify.IssuersConfig{Resolve: w.resolve, MaxResolved: 3, CacheBytes: cacheBytes})
				visit := func(n int) {
					time.Sleep(time.Second)
					requireReason(t, m, tokens[n], "")
				}
				kept := func() (all []int) {
					for n := range tokens {
						if _, ok := m.Status().Keys[tenantName(n)]; ok {
							all = append(all, n)
						}
					}
					return all
				}
				visit(0)
				visit(1)
				visit(2)
				visit(0)
				time.Sleep(time.Second)
				requireReason(t, m, forged, jwtverify.ErrSignature) // keeps nobody in
				visit(3)
				require.Equal(t, []int{0, 2, 3}, kept())
				visit(4)
				require.Equal(t, []int{0, 3, 4}, kept())
				require.EqualValues(t, 2, m.Status().Evicted)
				asked := w.asked.Load()
				visit(1) // comes back
				require.Equal(t, []int{1, 3, 4}, kept())
				require.Equal(t, asked+1, w.asked.Load())
			})
		})
	}
}

// Anyone may name a tenant and forge a token.
func TestJunkMovesOutNobodyWhoseTokensAreGood(t *testing.T) {
	w := newTenants(t)
	good := w.token(t, tenantName(0))
	stranger := newSigner(t)
	var junk []string
	for n := range 20 {
		junk = append(junk, stranger.sign(t, `{"alg":"ES256"}`, w.signer.claims(t, map[string]any{"iss": tenantName(n)})))
	}
	synctest.Test(t, func(t *testing.T) {
		m := newIssuers(t, jwtverify.IssuersConfig{Resolve: w.resolve, MaxResolved: 3})
		requireReason(t, m, good, "")
		asked := w.asked.Load()
		for _, token := range junk {
			time.Sleep(time.Second)
			requireReason(t, m, token, jwtverify.ErrSignature)
		}
		for _, n := range []int{0, 18, 19} { // of the others the latest
			require.Contains(t, m.Status().Keys, tenantName(n))
		}
		requireReason(t, m, good, "")
		require.Equal(t, asked+19, w.asked.Load())
	})
}

func TestAThousandTenantsAreKept(t *testing.T) {
	w := newTenants(t)
	m := newIssuers(t, jwtverify.IssuersConfig{Resolve: w.resolve})
	for n := range 1100 {
		requireReason(t, m, w.token(t, tenantName(n)), "")
	}
	require.Len(t, m.Status().Keys, 1000)
	require.EqualValues(t, 100, m.Status().Evicted)
}

func TestForgottenTenantsDoNotCount(t *testing.T) {
	w := newTenants(t)
	m := newIssuers(t, jwtverify.IssuersConfig{Resolve: w.resolve, MaxResolved: 3})
	for n := range 9 {
		requireReason(t, m, w.token(t, tenantName(n)), "")
		m.Forget(tenantName(n))
	}
	require.Zero(t, m.Status().Evicted)
}

func TestATenantIsAskedForAgainAndLeavesIfItIsUnknown(t *testing.T) {
	w := newTenants(t)
	token := w.token(t, tenantName(1))
	synctest.Test(t, func(t *testing.T) {
		var says error
		m := newIssuers(t, jwtverify.IssuersConfig{Resolve: func(ctx context.Context, issuer string) (jwtverify.Config, error) {
			c, err := w.resolve(ctx, issuer)
			return c, errors.Join(err, says)
		}})
		asked := w.asked.Load()
		visit := func(after time.Duration, reason jwtverify.Reason, askings int64) {
			t.Helper()
			time.Sleep(after)
			requireReason(t, m, token, reason)
			synctest.Wait()
			require.Equal(t, askings, w.asked.Load()-asked)
		}
		visit(0, "", 1)
		visit(10*time.Minute-time.Second, "", 1)
		visit(time.Second, "", 2)
		visit(0, "", 2)
		says = errors.New("no database") // in an outage it stays
		visit(10*time.Minute, "", 3)
		visit(time.Minute, "", 3)
		says = jwtverify.ErrIssuer
		visit(9*time.Minute, "", 4) // which brings it to light
		visit(0, jwtverify.ErrIssuer, 5)
		require.Empty(t, m.Status().Keys)
		require.Zero(t, m.Status().Cache.Entries)
		says = nil
		visit(time.Minute, "", 6)
		w.change = func(c *jwtverify.Config) { c.Issuer += "/" } // as good as unknown
		visit(10*time.Minute, "", 7)
		require.Empty(t, m.Status().Keys)
	})
}

// Between what Resolve read and what it returns the tenant may have left.
func TestForgetHoldsForWhatResolveIsAboutToSay(t *testing.T) {
	for name, c := range map[string]struct {
		before, after error
		want          jwtverify.Reason
	}{"left": {nil, jwtverify.ErrIssuer, jwtverify.ErrIssuer}, "came": {jwtverify.ErrIssuer, nil, ""}} {
		t.Run(name, func(t *testing.T) {
			w := newTenants(t)
			read, goOn := make(chan struct{}, 9), make(chan struct{})
			var mu sync.Mutex
			says := c.before
			m := newIssuers(t, jwtverify.IssuersConfig{Resolve: func(ctx context.Context, issuer string) (jwtverify.Config, error) {
				mu.Lock()
				err := says
				mu.Unlock()
				read <- struct{}{}
				<-goOn
				config, _ := w.resolve(ctx, issuer)
				return config, err
			}})
			token := w.token(t, tenantName(1))
			done := make(chan error)
			go func() {
				_, err := m.Verify(context.Background(), token)
				done <- err
			}()
			<-read
			mu.Lock()
			says = c.after
			mu.Unlock()
			m.Forget(tenantName(1))
			close(goOn)
			require.Equal(t, c.want, jwtverify.ReasonOf(<-done), "who waited is told what holds now")
			requireReason(t, m, token, c.want)
		})
	}
}

// While a token is being judged its tenant may change: then the new Config judges,
// from the beginning.
func TestATokenIsNotJudgedByAForgottenConfig(t *testing.T) {
	for name, bytes := range map[string]int{"kept": 0, "not kept": -1} {
		t.Run(name, func(t *testing.T) {
			w := newTenants(t)
			var m *jwtverify.Issuers
			var armed, moved bool
			w.change = func(c *jwtverify.Config) {
				if c.Scopes = [][]string{{"old"}}; moved {
					c.Scopes = [][]string{{"new"}}
				}
				c.Checks = []func(context.Context, *jwtverify.Token) error{func(context.Context, *jwtverify.Token) error {
					if armed && !moved {
						moved = true
						m.Forget(tenantName(1))
					}
					return nil
				}}
			}
			m = newIssuers(t, jwtverify.IssuersConfig{Resolve: w.resolve, CacheBytes: bytes})
			token := w.signer.sign(t, `{"alg":"ES256"}`, w.signer.claims(t, map[string]any{"iss": tenantName(1), "old": "admin", "new": "read"}))
			scopes := func() []string {
				verified, err := m.Verify(t.Context(), token)
				require.NoError(t, err)
				return verified.Scopes
			}
			require.Equal(t, []string{"admin"}, scopes())
			armed = true
			for range 3 {
				require.Equal(t, []string{"read"}, scopes())
			}
			armed, moved = true, false
			m.Forget(tenantName(1))
			require.Equal(t, []string{"read"}, scopes(), "which moves in the middle of a first verification")
		})
	}
}

func TestForgettingOneTenantCostsNoOtherItsTokens(t *testing.T) {
	w := newTenants(t)
	m := newIssuers(t, jwtverify.IssuersConfig{Resolve: w.resolve})
	one, two := w.token(t, tenantName(1)), w.token(t, tenantName(2))
	requireReason(t, m, one, "")
	requireReason(t, m, two, "")
	m.Forget(tenantName(1))
	require.Eventually(t, func() bool { return m.Status().Cache.Entries == 1 }, 5*time.Second, time.Millisecond)
	requireReason(t, m, two, "")
	require.EqualValues(t, 1, m.Status().Cache.Hits)
}

func TestATenantMayHaveItsTokensNotKept(t *testing.T) {
	w := newTenants(t)
	w.change = func(c *jwtverify.Config) { c.CacheBytes = -1 }
	m := newIssuers(t, jwtverify.IssuersConfig{Resolve: w.resolve})
	for range 2 {
		requireReason(t, m, w.token(t, tenantName(1)), "")
	}
	require.Zero(t, m.Status().Cache.Entries)
}

func TestNothingIsLetInFromTheFirstMomentOfClose(t *testing.T) {
	w := newTenants(t)
	one, two, three, unknown := w.token(t, tenantName(1)), w.token(t, tenantName(2)), w.token(t, tenantName(3)), w.token(t, "https://evil.example.com")
	synctest.Test(t, func(t *testing.T) {
		checks := 0
		w.change = func(c *jwtverify.Config) {
			c.Checks = []func(context.Context, *jwtverify.Token) error{func(context.Context, *jwtverify.Token) error { checks++; return nil }}
		}
		m := newIssuers(t, jwtverify.IssuersConfig{Resolve: func(ctx context.Context, issuer string) (jwtverify.Config, error) {
			if issuer == tenantName(2) {
				<-ctx.Done()
				time.Sleep(time.Second) // as one that is slow to notice
			}
			return w.resolve(ctx, issuer)
		}})
		requireReason(t, m, one, "")
		requireReason(t, m, unknown, jwtverify.ErrIssuer)
		go func() { _, _ = m.Verify(context.Background(), two) }()
		synctest.Wait()
		start, asked, checked := time.Now(), w.asked.Load(), checks
		done := make(chan error)
		go func() { done <- m.Close() }()
		synctest.Wait()
		for range 2 {
			for _, token := range []string{one, two, three, unknown, "junk"} {
				requireReason(t, m, token, jwtverify.ErrUnavailable)
			}
			require.ErrorIs(t, m.Ready(t.Context()), jwtverify.ErrUnavailable)
			require.ErrorIs(t, m.Refresh(t.Context(), tenantName(1)), jwtverify.ErrUnavailable)
			time.Sleep(2 * time.Second)
		}
		require.NoError(t, <-done)
		require.GreaterOrEqual(t, time.Since(start), time.Second)
		require.Equal(t, asked+1, w.asked.Load(), "by the one under way alone")
		require.Equal(t, checked, checks)
		require.Zero(t, m.Status().Cache.Entries)
	})
}

func TestOneIssuersKeysAreFetchedInAnEmergency(t *testing.T) {
	a, b, m := startIssuers(t, jwtverify.IssuersConfig{Resolve: newTenants(t).resolve})
	before := [2]int{a.Requests(), b.Requests()}
	require.NoError(t, m.Refresh(t.Context(), b.URL))
	require.NoError(t, m.Refresh(t.Context(), "https://unknown.example.com"))
	require.Equal(t, [2]int{before[0], before[1] + 1}, [2]int{a.Requests(), b.Requests()})
}

func TestATenantThatIsForgottenIsResolvedAnew(t *testing.T) {
	w := newTenants(t)
	m := newIssuers(t, jwtverify.IssuersConfig{Resolve: w.resolve})
	token := w.token(t, tenantName(1))
	requireReason(t, m, token, "")
	requireReason(t, m, token, "")
	require.EqualValues(t, 1, m.Status().Cache.Hits)
	w.change = func(c *jwtverify.Config) { c.Audience = []string{"https://moved.example.com"} }
	requireReason(t, m, token, "")
	m.Forget(tenantName(1))
	requireReason(t, m, token, jwtverify.ErrAudience) // though it was verified before
	require.EqualValues(t, 2, w.asked.Load())
	require.Eventually(t, func() bool { return m.Status().Cache.Entries == 0 }, 5*time.Second, time.Millisecond)
}

func TestNobodyIsAskedForAnyMoreOnceClosed(t *testing.T) {
	w := newTenants(t)
	var tokens []string
	for n := range 40 {
		tokens = append(tokens, w.token(t, tenantName(n)))
	}
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		var log bytes.Buffer
		m := newIssuers(t, jwtverify.IssuersConfig{Logger: slog.New(slog.NewTextHandler(&log, nil)), Resolve: func(ctx context.Context, _ string) (jwtverify.Config, error) {
			asked.Add(1)
			<-ctx.Done()
			return jwtverify.Config{}, ctx.Err()
		}})
		var work sync.WaitGroup
		for _, token := range tokens {
			work.Go(func() {
				_, err := m.Verify(t.Context(), token)
				assert.ErrorIs(t, err, jwtverify.ErrUnavailable)
			})
		}
		synctest.Wait()
		require.NoError(t, m.Close())
		work.Wait()
		require.EqualValues(t, 16, asked.Load())
		require.Empty(t, log.String(), "that is no outage of Resolve's")
	})
}

// Strangers decide how often Resolve is asked, and so how often it fails.
func TestTheLogIsToldOfResolveOnceASecond(t *testing.T) {
	w := newTenants(t)
	var tokens []string
	for n := range 30 {
		tokens = append(tokens, w.token(t, tenantName(n)))
	}
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		m := newIssuers(t, jwtverify.IssuersConfig{Logger: slog.New(slog.NewTextHandler(&log, nil)), Resolve: func(context.Context, string) (jwtverify.Config, error) {
			return jwtverify.Config{}, errors.New("no database")
		}})
		for _, token := range tokens {
			requireReason(t, m, token, jwtverify.ErrUnavailable)
			time.Sleep(100 * time.Millisecond)
		}
		require.Equal(t, 3, strings.Count(log.String(), "no database"))
	})
}

func TestCloseEndsWhatResolveDoes(t *testing.T) {
	w := newTenants(t)
	entered := make(chan struct{})
	m := newIssuers(t, jwtverify.IssuersConfig{Resolve: func(ctx context.Context, issuer string) (jwtverify.Config, error) {
		close(entered)
		<-ctx.Done()
		return w.resolve(ctx, issuer)
	}})
	done := make(chan error, 1)
	token := w.token(t, tenantName(1))
	go func() {
		_, err := m.Verify(context.Background(), token)
		done <- err
	}()
	<-entered
	require.NoError(t, m.Close())
	require.ErrorIs(t, <-done, jwtverify.ErrUnavailable)
	require.Empty(t, m.Status().Keys)
}

func TestAnEvictedTenantLeavesNothingBehind(t *testing.T) {
	issuers := map[string]*jwttest.Issuer{}
	for range 4 {
		issuer := jwttest.NewIssuer("https://api.example.com")
		t.Cleanup(issuer.Close)
		issuers[issuer.URL] = issuer
	}
	m := newIssuers(t, jwtverify.IssuersConfig{MaxResolved: 1, Resolve: func(_ context.Context, issuer string) (jwtverify.Config, error) {
		return issuers[issuer].Config(), nil
	}})
	visit := func() {
		for _, issuer := range issuers {
			requireReason(t, m, issuer.Token(nil), "")
		}
	}
	visit()
	before := runtime.NumGoroutine()
	for range 10 {
		visit()
	}
	require.Len(t, m.Status().Keys, 1)
	require.Eventually(t, func() bool { return m.Status().Cache.Entries <= 1 }, 5*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+8 }, 5*time.Second, 10*time.Millisecond)
}

// Whoever is let in is let in by his own issuer's rules, whatever tenants come and
// go meanwhile.
func TestTenantsThatComeAndGoNeverMixUp(t *testing.T) {
	w := newTenants(t)
	w.change = func(c *jwtverify.Config) { c.Audience = []string{"for " + c.Issuer} }
	m := newIssuers(t, jwtverify.IssuersConfig{Resolve: w.resolve, MaxResolved: 3})
	const names = 8
	var good, wrong [names]string
	for n := range names {
		sign := func(aud string) string {
			return w.signer.sign(t, `{"alg":"ES256"}`, w.signer.claims(t, map[string]any{"iss": tenantName(n), "aud": aud}))
		}
		good[n], wrong[n] = sign("for "+tenantName(n)), sign("for "+tenantName((n+1)%names))
	}
	var work sync.WaitGroup
	for g := range 8 {
		work.Go(func() {
			for i := range 500 {
				n := (g*7 + i*i) % names
				if token, err := m.Verify(t.Context(), good[n]); err == nil {
					assert.Equal(t, tenantName(n), token.Issuer)
				} else {
					assert.ErrorIs(t, err, jwtverify.ErrUnavailable)
				}
				_, err := m.Verify(t.Context(), wrong[n])
				assert.Error(t, err)
				if i%50 == 0 {
					m.Forget(tenantName(n))
				}
			}
		})
	}
	work.Wait()
}
