package jwtverify_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
)

// mint makes good tokens fast, and as many as one likes.
type mint struct{ secret []byte }

var tokenMint = mint{[]byte("a secret that no test has to keep to itself")}

// token is the n-th of a kind, with more claims beside those that it needs, and
// valid until a minute after signerTime or later.
func (m mint) token(n int, life time.Duration, more string) string {
	return hs256(m.secret, `{"alg":"HS256","kid":"k"}`, fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":"user-%d","exp":%d%s}`,
		signerIssuer, signerAudience, n, signerTime.Add(time.Minute+life).Unix(), more))
}

func (m mint) set(t testing.TB) *jwks.Set {
	key, err := jwks.NewSecret("k", "HS256", m.secret)
	require.NoError(t, err)
	set, err := jwks.NewSet(key)
	require.NoError(t, err)
	return set
}

func (m mint) config(t testing.TB, change func(*jwtverify.Config)) jwtverify.Config {
	c := jwtverify.Config{
		Issuer: signerIssuer, Audience: []string{signerAudience}, Keys: m.set(t), Algorithms: []string{"HS256", "HS384"},
		Leeway: -1, Now: func() time.Time { return signerTime },
	}
	if change != nil {
		change(&c)
	}
	return c
}

// verifier trusts the mint's tokens.
func (m mint) verifier(t testing.TB, change func(*jwtverify.Config)) *jwtverify.Verifier {
	v, err := jwtverify.New(m.config(t, change))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	return v
}

func cacheBytes(n int) func(*jwtverify.Config) {
	return func(c *jwtverify.Config) { c.CacheBytes = n }
}

// padding makes the claims of a token longer by about n bytes.
func padding(n int) string { return fmt.Sprintf(`,"pad":%q`, strings.Repeat("x", n)) }

func TestTheCacheKeepsToItsBytesWhateverComes(t *testing.T) {
	for _, limit := range []int{5_000, 64 << 10, 500_000} {
		for _, uses := range []int{1, 5} { // tokens that all come often are the hardest to make room among
			for _, pad := range []int{0, 300, 3000, 11_000} {
				t.Run(fmt.Sprintf("%d bytes, %d uses, tokens of %d", limit, uses, pad), func(t *testing.T) {
					v := tokenMint.verifier(t, cacheBytes(limit))
					flood := min(4*limit/(pad+700)+100, 3000)
					var most int64
					var callers sync.WaitGroup
					for caller := range 2 {
						callers.Go(func() {
							for n := range flood / 2 {
								token := tokenMint.token(2*n+caller, 0, padding(pad))
								for range uses {
									if _, err := v.Verify(t.Context(), token); err != nil {
										t.Error(err)
									}
								}
								bytes := v.Status().Cache.Bytes
								if bytes > int64(limit) {
									t.Errorf("%d bytes", bytes)
									return
								}
								if caller == 0 {
									most = max(most, bytes)
								}
							}
						})
					}
					callers.Wait()
					if pad < limit/20 { // and so the bytes are there to be used
						require.Greater(t, most, int64(limit)*8/10)
					}
				})
			}
		}
	}
}

func TestTokensThatComeOftenStayThroughAFloodOfOthers(t *testing.T) {
	const room, hot = 1000, 100
	for _, pad := range []int{0, 300, 1500} {
		t.Run(fmt.Sprint("tokens of ", pad), func(t *testing.T) {
			v := tokenMint.verifier(t, cacheBytes(room*(pad+700)))
			often := make([]string, hot)
			for n := range often {
				often[n] = tokenMint.token(n, 0, padding(pad))
				for range 3 {
					requireAccepted(t, v, often[n])
				}
			}
			// Between two uses of each, twice as many others come as there is
			// room for. Three rounds show that they come again and again.
			var before jwtverify.CacheStatus
			for n := range 13 * 2 * room {
				if n == 3*2*room {
					before = v.Status().Cache
				}
				requireAccepted(t, v, tokenMint.token(hot+n, 0, padding(pad)))
				if n := n % (2 * room); n < hot {
					requireAccepted(t, v, often[n])
				}
			}
			after := v.Status().Cache
			require.Less(t, after.Entries, room*5/4, "or nothing had to leave")
			require.Greater(t, after.Evictions-before.Evictions, uint64(18*room))
			t.Logf("%d hits of %d", after.Hits-before.Hits, 10*hot)
			require.Greater(t, after.Hits-before.Hits, uint64(10*hot*9/10))
		})
	}
}

func TestNewTokensFindRoomAmongThoseThatOnceCameOften(t *testing.T) {
	const hot = 600 // more than half of what there is room for
	v := tokenMint.verifier(t, cacheBytes(1<<20))
	for generation := range 4 {
		var before jwtverify.CacheStatus
		for round := range 20 {
			if round == 10 {
				before = v.Status().Cache
			}
			for n := range hot {
				requireAccepted(t, v, tokenMint.token(generation*hot+n, 0, padding(300)))
			}
		}
		hits := v.Status().Cache.Hits - before.Hits
		t.Logf("generation %d: %d hits of %d", generation, hits, 10*hot)
		// From 3,591 to 6,000 in a hundred runs; 246 in the third generation where nothing ages.
		require.Greater(t, hits, uint64(10*hot*5/10))
	}
}

func TestExpiredTokensLeaveAsOthersCome(t *testing.T) {
	now := signerTime
	v := tokenMint.verifier(t, func(c *jwtverify.Config) {
		c.CacheBytes, c.Now, c.Leeway = 1<<20, func() time.Time { return now }, 30*time.Second
	})
	kept := func() int { // or evicted, as a few are whose set is full
		s := v.Status().Cache
		return s.Entries + int(s.Evictions)
	}
	first, others := 300, 0
	come := func(n int) {
		for range n {
			requireAccepted(t, v, tokenMint.token(first+others, time.Hour, ""))
			others++
		}
	}
	for n := range first {
		token := tokenMint.token(n, 0, "")
		requireAccepted(t, v, token)
		requireAccepted(t, v, token)
	}
	require.Equal(t, first, kept())
	now = now.Add(time.Minute)
	come(300)
	require.Equal(t, first+others, kept(), "within the leeway they are good")
	now = now.Add(30 * time.Second)
	before := v.Status().Cache.Evictions
	come(500)
	status := v.Status().Cache
	require.Less(t, before+status.Evictions, uint64(30), "to leave after the end is no eviction")
	require.InDelta(t, others, status.Entries, 30)
}

func TestHitsMissesAndEvictionsAreCounted(t *testing.T) {
	set := tokenMint.set(t)
	keys := &swap{set: set}
	v := tokenMint.verifier(t, func(c *jwtverify.Config) { c.Keys = keys })
	counts := func() [4]int {
		s := v.Status().Cache
		return [4]int{s.Entries, int(s.Hits), int(s.Misses), int(s.Evictions)}
	}
	require.Equal(t, [4]int{}, counts())
	var bytes []int64
	for n := range 3 {
		token := tokenMint.token(n, 0, "")
		requireAccepted(t, v, token)
		for range n {
			requireAccepted(t, v, token)
		}
		bytes = append(bytes, v.Status().Cache.Bytes)
	}
	require.Equal(t, bytes[1]-bytes[0], bytes[2]-bytes[1], "tokens of the same length")
	require.Greater(t, bytes[2], bytes[1])
	require.Equal(t, [4]int{3, 3, 3, 0}, counts())
	requireRefused(t, v, tokenMint.token(0, -time.Hour, ""), jwtverify.ErrExpired)
	requireRefused(t, v, "junk", jwtverify.ErrMalformed)
	require.Equal(t, [4]int{3, 3, 4, 0}, counts(), "what is refused by its shape is not looked for")

	// The same key, read again, is still that key; another one under its name
	// is not, and what it did not sign leaves.
	token := tokenMint.token(0, 0, "")
	keys.set = tokenMint.set(t)
	requireAccepted(t, v, token)
	require.Equal(t, [4]int{3, 4, 4, 0}, counts())
	keys.set = mint{[]byte("another secret of the same issuer's, by and by")}.set(t)
	requireRefused(t, v, token, jwtverify.ErrSignature)
	require.Equal(t, [4]int{2, 4, 5, 0}, counts())
	keys.set = set
	requireAccepted(t, v, token)
	require.Equal(t, [4]int{3, 4, 6, 0}, counts())
	for n := range 3 {
		requireAccepted(t, v, tokenMint.token(n, 0, ""))
	}
	require.Equal(t, [4]int{3, 7, 6, 0}, counts())

	// One that has the signature of another is looked for where that one is, and
	// leaves it alone.
	part, other := strings.Split(token, "."), strings.Split(tokenMint.token(7, 0, ""), ".")
	requireRefused(t, v, part[0]+"."+other[1]+"."+part[2], jwtverify.ErrSignature)
	require.Equal(t, [4]int{3, 7, 7, 0}, counts())
	requireAccepted(t, v, token)
	require.Equal(t, [4]int{3, 8, 7, 0}, counts())

	small := tokenMint.verifier(t, cacheBytes(8<<10))
	for n := range 1000 {
		requireAccepted(t, small, tokenMint.token(n, 0, ""))
	}
	s := small.Status().Cache
	require.Equal(t, uint64(1000-s.Entries), s.Evictions)
	require.Equal(t, uint64(1000), s.Misses)
}

// swap is a KeySource whose set a test changes between calls.
type swap struct{ set *jwks.Set }

func (s *swap) Key(ctx context.Context, kid, alg string) (*jwks.Key, error) {
	return s.set.Key(ctx, kid, alg)
}

func TestACacheOfAnySizeDoesNoHarm(t *testing.T) {
	for _, limit := range []int{4 << 10, 5000, 20_000, math.MaxInt} {
		v := tokenMint.verifier(t, cacheBytes(limit))
		for n := range 20 {
			for range 3 {
				requireAccepted(t, v, tokenMint.token(n, 0, padding(n*300)))
			}
			require.LessOrEqual(t, v.Status().Cache.Bytes, int64(limit))
		}
	}
	require.Positive(t, func() int {
		v := tokenMint.verifier(t, cacheBytes(4<<10))
		requireAccepted(t, v, tokenMint.token(0, 0, ""))
		return v.Status().Cache.Entries
	}(), "4 KiB hold a token")
}

func TestASizeThatIsMeantInOtherUnitsIsAFault(t *testing.T) {
	for _, size := range []int{1, 8, 4<<10 - 1} {
		_, err := jwtverify.New(tokenMint.config(t, cacheBytes(size)))
		require.ErrorContains(t, err, fmt.Sprintf("Config.CacheBytes is %d: write it in bytes, 4096 or more", size))
	}
}

func TestATokenThatIsFoundExpiredLeaves(t *testing.T) {
	now := signerTime
	v := tokenMint.verifier(t, func(c *jwtverify.Config) { c.Now = func() time.Time { return now } })
	token := tokenMint.token(0, 0, "")
	requireAccepted(t, v, token)
	require.Equal(t, 1, v.Status().Cache.Entries)
	now = now.Add(time.Hour)
	requireRefused(t, v, token, jwtverify.ErrExpired)
	require.Zero(t, v.Status().Cache.Entries)
}

func TestTheCacheHasEightMiBUnlessToldOtherwise(t *testing.T) {
	v := tokenMint.verifier(t, nil)
	for n := 0; v.Status().Cache.Evictions < 100 && n < 10_000; n += 100 {
		for i := range 100 {
			requireAccepted(t, v, tokenMint.token(n+i, 0, padding(4000)))
		}
	}
	bytes := v.Status().Cache.Bytes
	require.LessOrEqual(t, bytes, int64(8<<20))
	require.Greater(t, bytes, int64(8<<20)*9/10)
}

func TestANegativeSizeTurnsTheCacheOff(t *testing.T) {
	v := tokenMint.verifier(t, cacheBytes(-1))
	for range 3 {
		requireAccepted(t, v, tokenMint.token(0, 0, ""))
	}
	require.Zero(t, v.Status().Cache)
}

func TestWhatWasRefusedIsNotKept(t *testing.T) {
	now, keys := signerTime, &swap{set: tokenMint.set(t)}
	v := tokenMint.verifier(t, func(c *jwtverify.Config) {
		c.Keys, c.Now = keys, func() time.Time { return now }
	})
	good := tokenMint.token(0, 0, "")
	forged := good[:len(good)-2] + "AA"
	early := tokenMint.token(1, 0, fmt.Sprintf(`,"nbf":%d`, signerTime.Unix()+30))
	for range 2 {
		requireRefused(t, v, forged, jwtverify.ErrSignature)
		requireRefused(t, v, early, jwtverify.ErrNotYetValid)
		requireRefused(t, v, tokenMint.token(2, -time.Hour, ""), jwtverify.ErrExpired)
	}
	keys.set = new(jwks.Set)
	requireRefused(t, v, good, jwtverify.ErrUnknownKey)
	require.Zero(t, v.Status().Cache.Entries)

	keys.set = tokenMint.set(t)
	requireAccepted(t, v, good)
	requireRefused(t, v, forged, jwtverify.ErrSignature)
	now = now.Add(30 * time.Second)
	requireAccepted(t, v, early)
	before := v.Status().Cache
	now = now.Add(-30 * time.Second)
	requireRefused(t, v, early, jwtverify.ErrNotYetValid)
	now = now.Add(time.Minute)
	requireRefused(t, v, early, jwtverify.ErrExpired)
	require.Equal(t, before.Misses, v.Status().Cache.Misses, "they were decided about without their signature")
	require.Equal(t, before.Hits+2, v.Status().Cache.Hits)
	now = now.Add(-time.Nanosecond)
	requireAccepted(t, v, early)
}

func TestAKnownTokenNeedsItsKeyToBeThere(t *testing.T) {
	keys := &swap{set: tokenMint.set(t)}
	v := tokenMint.verifier(t, func(c *jwtverify.Config) { c.Keys = keys })
	token := tokenMint.token(0, 0, "")
	requireAccepted(t, v, token)
	requireAccepted(t, v, token)

	keys.set = new(jwks.Set)
	requireRefused(t, v, token, jwtverify.ErrUnknownKey)
	other, err := jwks.NewSecret("other kid", "HS256", tokenMint.secret)
	require.NoError(t, err)
	keys.set, err = jwks.NewSet(other)
	require.NoError(t, err)
	requireRefused(t, v, token, jwtverify.ErrUnknownKey)
	keys.set = tokenMint.set(t)
	requireAccepted(t, v, token)
}

func TestAKnownTokenIsAskedAboutAgain(t *testing.T) {
	var verdict error
	v := tokenMint.verifier(t, func(c *jwtverify.Config) {
		c.Checks = []func(context.Context, *jwtverify.Token) error{func(context.Context, *jwtverify.Token) error { return verdict }}
	})
	for n, first := range []error{nil, errors.New("no")} {
		token := tokenMint.token(n, 0, "")
		for _, verdict = range []error{first, nil, jwtverify.ErrRevoked, nil, errors.New("no"), errTenant, nil} {
			got, err := v.Verify(t.Context(), token)
			if verdict == nil {
				require.NoError(t, err)
				continue
			}
			require.Nil(t, got)
			want := jwtverify.ReasonOf(verdict)
			if want == "" {
				want = jwtverify.ErrRejected
			}
			require.Equal(t, want, jwtverify.ReasonOf(err))
		}
	}
	require.Equal(t, uint64(2), v.Status().Cache.Misses)
}

func TestAClosedVerifierKnowsNoToken(t *testing.T) {
	v := tokenMint.verifier(t, nil)
	token := tokenMint.token(0, 0, "")
	requireAccepted(t, v, token)
	requireAccepted(t, v, token)
	require.NoError(t, v.Close())
	got, err := v.Verify(t.Context(), token)
	require.Nil(t, got)
	require.ErrorIs(t, err, jwtverify.ErrUnavailable)
}

func TestATokenBelongsToWhoeverGotIt(t *testing.T) {
	v := tokenMint.verifier(t, func(c *jwtverify.Config) { c.Roles = [][]string{{"roles"}} })
	for name, more := range map[string]string{
		"short lists": `,"scope":"a b","roles":["r"]`,
		"long lists":  `,"scope":"a b c d e f g h i","roles":["` + strings.Repeat(`r","`, 30) + `r"]`,
		"empty lists": `,"scope":"","roles":[]`,
		"no lists":    "",
	} {
		t.Run(name, func(t *testing.T) {
			token := tokenMint.token(0, 0, more)
			first, err := v.Verify(t.Context(), token)
			require.NoError(t, err)
			want := deepCopy(first)
			for range 3 {
				got, err := v.Verify(t.Context(), token)
				require.NoError(t, err)
				require.Equal(t, want, *got)
				scribble(got)
			}
			require.Equal(t, want, *first)
			// What is added to one list is not in the next.
			_ = append(first.Audience, "admin")
			_ = append(first.Scopes, "admin")
			require.Equal(t, want, *first)
		})
	}
}

// A Token holds nothing that a later verification writes to.
func TestATokenOutlivesTheBuffersItWasReadWith(t *testing.T) {
	for _, size := range []int{0, -1} {
		v := tokenMint.verifier(t, cacheBytes(size))
		type kept struct {
			token   *jwtverify.Token
			content jwtverify.Token
		}
		var all []kept
		for n := range 300 {
			token := tokenMint.token(n%150, 0, padding(n%7*500)+`,"scope":"a b","scp":["c","\u0064"],"jti":"id\/`+fmt.Sprint(n%150)+`"`)
			got, err := v.Verify(t.Context(), token)
			require.NoError(t, err)
			all = append(all, kept{got, deepCopy(got)})
		}
		for _, k := range all {
			require.Equal(t, k.content, *k.token)
		}
	}
}

func TestTheCorpusIsJudgedAlikeWithAnyCache(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/*.json")
	require.NoError(t, err)
	judged, hits := 0, uint64(0)
	for _, file := range files {
		for _, c := range readCorpus(t, file) {
			keys, err := c.keys(t)
			if err != nil || c.Level == "jws" {
				continue // there is nothing to verify, or no Verifier
			}
			var want *verdict
			for _, size := range []int{-1, 0, 4 << 10} {
				config := c.Config.verifier(keys)
				config.CacheBytes = size
				v, err := jwtverify.New(config)
				if err != nil {
					continue
				}
				for range 3 {
					got := judge(v, c.token(t))
					if want == nil {
						want = &got
					}
					require.NoError(t, want.compare(got, true), c.ID)
				}
				judged++
				hits += v.Status().Cache.Hits
				require.NoError(t, v.Close())
			}
		}
	}
	require.Greater(t, judged, corpusCases)
	require.Greater(t, hits, uint64(corpusCases/3))
}
