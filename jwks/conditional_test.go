package jwks_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The clock of synctest starts with the year 2000.
const lastYear = "Fri, 31 Dec 1999 12:00:00 GMT"

var unconditional = [2]string{}

func TestA304RenewsTheSetAtHand(t *testing.T) {
	for name, v := range map[string][2]string{
		"ETag":               {`"v1"`, ""},
		"weak ETag":          {`W/"v1"`, ""},
		"odd ETag":           {`W/"a, b;  c='\,` + "\xff" + `"`, ""},
		"ETag of no form":    {`v1`, ""},
		"Last-Modified":      {"", lastYear},
		"odd Last-Modified":  {"", "Friday, 31-Dec-99 12:00:00 GMT"},
		"both":               {`"v1"`, lastYear},
		"ETag of 256 bytes":  {strings.Repeat("e", 256), ""},
		"a second before it": {"", "Fri, 31 Dec 1999 23:59:59 GMT"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer(t)
				i.serve("/keys", validated(v[0], v[1], set(keyA, keyB)))
				cache := i.ready(t)
				require.Equal(t, unconditional, i.condition("/keys"), "there is no set yet")
				a, first := requireKey(t, cache, "a"), cache.Status()

				for range 3 {
					time.Sleep(quiet)
					require.NoError(t, cache.Refresh(t.Context()))
					require.Equal(t, v, i.condition("/keys"), "as they came")
					now := cache.Status()
					require.Equal(t, time.Now(), now.Fetched)
					require.Equal(t, first.Keys, now.Keys)
					require.Zero(t, now.Failures)
					require.Same(t, a, requireKey(t, cache, "a"))
				}
				// It counts as a fetch in every respect.
				requireNoSuchKey(t, cache, "x")
				time.Sleep(72 * time.Hour)
				require.Same(t, a, requireKey(t, cache, "a"))
				require.Equal(t, v, i.condition("/keys"))
				require.Zero(t, cache.Status().Failures)

				i.serve("/keys", validated(`"v2"`, "", set(keyB)))
				require.NoError(t, cache.Refresh(t.Context()))
				requireNoSuchKey(t, cache, "a")
				requireKey(t, cache, "b")
				require.NoError(t, cache.Refresh(t.Context()))
				require.Equal(t, [2]string{`"v2"`, ""}, i.condition("/keys"), "those of the answer before are gone")
			})
		})
	}
}

func TestA304WithoutValidatorsLeavesThoseAtHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.serve("/keys", validated(`"v1"`, lastYear, set(keyA)))
		cache := i.ready(t)
		i.serve("/keys", status(http.StatusNotModified))
		for range 3 {
			require.NoError(t, cache.Refresh(t.Context()))
			require.Equal(t, [2]string{`"v1"`, lastYear}, i.condition("/keys"))
		}
		i.serve("/keys", status(http.StatusNotModified, "ETag", `"v1 too"`))
		require.NoError(t, cache.Refresh(t.Context()))
		require.NoError(t, cache.Refresh(t.Context()))
		require.Equal(t, `"v1 too"`, i.condition("/keys")[0])
	})
}

func TestA304SaysHowLongItIsFreshOrWhatTheAnswerBeforeSaidHolds(t *testing.T) {
	for _, c := range []struct {
		first, then string // Cache-Control
		want        time.Duration
	}{
		{"max-age=120", "", 2 * time.Minute},
		{"max-age=120", "max-age=300", 5 * time.Minute},
		{"max-age=300", "max-age=120", 2 * time.Minute},
		{"max-age=300", "no-cache", time.Minute},
		{"", "max-age=120", 2 * time.Minute},
		{"", "", 10 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			i := newIssuer(t)
			header := func(control string) []string {
				if control == "" {
					return nil
				}
				return []string{"Cache-Control", control}
			}
			i.serve("/keys", validated(`"v1"`, "", set(keyA), header(c.first)...))
			cache := i.ready(t)
			i.serve("/keys", status(http.StatusNotModified, header(c.then)...))
			time.Sleep(time.Until(cache.Status().NextRefresh))
			synctest.Wait()
			require.Equal(t, 2, i.fetches())
			// Later ones say nothing: what the 304 said holds by now.
			i.serve("/keys", status(http.StatusNotModified))
			time.Sleep(50 * c.want)
			gaps := i.gaps()[1:]
			require.GreaterOrEqual(t, len(gaps), 49)
			for _, gap := range gaps {
				require.LessOrEqual(t, gap, c.want, "%+v", c)
				require.GreaterOrEqual(t, gap, c.want*8/10, "%+v", c)
			}
			require.Zero(t, cache.Status().Failures)
		})
	}
}

func TestA304ThatNobodyAskedForIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.serve("/keys", status(http.StatusNotModified, "ETag", `"v1"`))
		cache := i.cache(t)
		time.Sleep(time.Minute)
		requireUnavailableKey(t, cache, "a")
		require.Contains(t, cache.Status().LastError, "status 304")
		require.Equal(t, unconditional, i.condition("/keys"), "the validators of no set")

		i.publish(keyA) // without validators
		require.NoError(t, cache.Refresh(t.Context()))
		fetched := cache.Status().Fetched
		time.Sleep(quiet)
		i.serve("/keys", status(http.StatusNotModified))
		requireUnavailable(t, cache.Refresh(t.Context()))
		require.Equal(t, fetched, cache.Status().Fetched)
	})
}

func TestABadAnswersValidatorsAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.serve("/keys", validated(`"bad"`, "", set()))
		cache := i.cache(t)
		time.Sleep(time.Minute)
		requireUnavailableKey(t, cache, "a")
		require.Equal(t, unconditional, i.condition("/keys"))

		i.serve("/keys", validated(`"good"`, "", set(keyA)))
		require.NoError(t, cache.Refresh(t.Context()))
		i.serve("/keys", validated(`"bad"`, "", set()))
		for range 3 {
			requireUnavailable(t, cache.Refresh(t.Context()))
			require.NotContains(t, i.condition("/keys"), `"bad"`)
		}
	})
}

func TestAnAnswerWithoutValidatorsEndsTheUseOfThoseBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.serve("/keys", validated(`"v1"`, lastYear, set(keyA)))
		cache := i.ready(t)
		i.publish(keyB)
		require.NoError(t, cache.Refresh(t.Context()))
		require.Equal(t, [2]string{`"v1"`, lastYear}, i.condition("/keys"))
		require.NoError(t, cache.Refresh(t.Context()))
		require.Equal(t, unconditional, i.condition("/keys"))
	})
}

// RFC 9110 §8.8.2.2: what changes twice in one second bears one date.
func TestValidatorsThatSayTooMuchOrTooLittleAreNotSentBack(t *testing.T) {
	for name, v := range map[string][2]string{
		"ETag of 257 bytes":                {strings.Repeat("e", 257), ""},
		"ETag of 32 KiB":                   {strings.Repeat("e", 32<<10), ""},
		"Last-Modified in the same second": {"", "Sat, 01 Jan 2000 00:00:00 GMT"},
		"Last-Modified in the future":      {"", "Sat, 01 Jan 2000 00:00:01 GMT"},
		"Last-Modified that is no date":    {"", "yesterday"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer(t)
				i.serve("/keys", validated(v[0], v[1], set(keyA)))
				cache := i.ready(t)
				require.NoError(t, cache.Refresh(t.Context()))
				require.Equal(t, unconditional, i.condition("/keys"))
			})
		})
	}
}

func TestAMovedJWKSURIIsNotAskedWithTheOldOnesValidators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.serve(openID, metadata(issuerID, keysURL))
		i.serve("/keys", validated(`"1"`, lastYear, set(keyA)))
		cache := i.ready(t, byDiscovery)
		i.serve("/keys", status(http.StatusGone))
		i.serve("/moved", validated(`"1"`, lastYear, set(keyB)))
		i.serve(openID, metadata(issuerID, issuerID+"/moved"))
		requireUnavailable(t, cache.Refresh(t.Context()))
		require.NoError(t, cache.Refresh(t.Context()))
		require.Equal(t, unconditional, i.condition("/moved"))
		requireKey(t, cache, "b")
		require.NoError(t, cache.Refresh(t.Context()))
		require.Equal(t, [2]string{`"1"`, lastYear}, i.condition("/moved"))
	})
}

func TestValidatorsDoNotFollowARedirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		to := func(path string) http.HandlerFunc {
			return http.RedirectHandler(path, http.StatusFound).ServeHTTP
		}
		i.serve("/v1", validated(`"1"`, lastYear, set(keyA)))
		i.serve("/v2", validated(`"1"`, lastYear, set(keyB)))
		i.serve("/keys", to("/v1"))
		cache := i.ready(t)
		i.serve("/keys", to("/v2"))
		require.NoError(t, cache.Refresh(t.Context()))
		require.Equal(t, unconditional, i.condition("/keys"), "they were not this URL's")
		require.Equal(t, unconditional, i.condition("/v2"))
		requireKey(t, cache, "b")

		i.serve("/keys", validated(`"1"`, lastYear, set(keyB)))
		require.NoError(t, cache.Refresh(t.Context()))
		i.serve("/keys", to("/v1"))
		require.NoError(t, cache.Refresh(t.Context()))
		require.Equal(t, [2]string{`"1"`, lastYear}, i.condition("/keys"))
		require.Equal(t, unconditional, i.condition("/v1"))
		requireKey(t, cache, "a")

		i.serve("/keys", validated(`"1"`, lastYear, set(keyB)))
		require.NoError(t, cache.Refresh(t.Context()))
		i.serve("/v1", status(http.StatusNotModified))
		i.serve("/keys", to("/v1"))
		requireUnavailable(t, cache.Refresh(t.Context()))
	})
}

func TestAServerThatChokesOnConditionsLosesOneFetchAndNotTheKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		good := validated(`"v1"`, lastYear, set(keyA))
		i.serve("/keys", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			good(w, r)
		})
		cache := i.ready(t)
		for range 3 {
			requireUnavailable(t, cache.Refresh(t.Context()))
			require.NoError(t, cache.Refresh(t.Context()))
		}
		time.Sleep(48 * time.Hour)
		requireKey(t, cache, "a")
	})
}

func TestReadersReadOnWhileA304Renews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.serve("/keys", validated(`"v1"`, "", set(keyA, keyB)))
		cache := i.ready(t)
		a := requireKey(t, cache, "a")
		var readers sync.WaitGroup
		var done atomic.Bool
		for range 4 {
			readers.Go(func() {
				for !done.Load() {
					k, err := cache.Key(t.Context(), "a", "EdDSA")
					if err != nil || k != a {
						t.Error("a reader did not find the key", err)
						return
					}
					if s := cache.Status(); len(s.Keys) != 2 || len(cache.Snapshot()) == 0 {
						t.Error("a reader saw half a set", s)
						return
					}
				}
			})
		}
		for range times(200) {
			require.NoError(t, cache.Refresh(t.Context()))
		}
		done.Store(true)
		readers.Wait()
		require.EqualValues(t, times(200)+1, cache.Status().Fetches)
	})
}
