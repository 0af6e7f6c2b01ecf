package schedule_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/internal/schedule"
)

func TestTheServerMayShortenTheRefreshButNeverLengthenIt(t *testing.T) {
	const none = -1
	for _, c := range []struct{ ceiling, freshness, random, want time.Duration }{
		{10 * time.Minute, none, 0, 10 * time.Minute},
		{10 * time.Minute, 38 * 24 * time.Hour, 0, 10 * time.Minute},
		{10 * time.Minute, 5 * time.Minute, 0, 5 * time.Minute},
		{10 * time.Minute, 15 * time.Second, 0, time.Minute},
		{10 * time.Minute, 0, 0, time.Minute},
		{20 * time.Second, 0, 0, 20 * time.Second},
		{20 * time.Second, 5 * time.Second, 0, 20 * time.Second},
		{10 * time.Minute, none, 1, 8 * time.Minute},
		{10 * time.Minute, 0, 1, 48 * time.Second},
	} {
		require.Equal(t, c.want, schedule.Refresh(c.ceiling, c.freshness, float64(c.random)), "%+v", c)
	}
}

func TestFailuresBackOffSlowlyWithKeysInHandAndFastWithout(t *testing.T) {
	const ceiling = 10 * time.Minute
	for n, want := range map[int]time.Duration{1: 30 * time.Second, 2: time.Minute, 5: 8 * time.Minute, 6: ceiling, 1000: ceiling} {
		require.Equal(t, want, schedule.Backoff(n, true, ceiling, 0, 1), "%d in hand", n)
		require.Equal(t, want/2, schedule.Backoff(n, true, ceiling, 0, 0), "%d in hand", n)
	}
	for n, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 6: 30 * time.Second, 1000: 30 * time.Second} {
		require.Equal(t, want, schedule.Backoff(n, false, ceiling, 0, 1), "%d without", n)
		require.Equal(t, want/2, schedule.Backoff(n, false, ceiling, 0, 0), "%d without", n)
	}
	require.Equal(t, 90*time.Second, schedule.Backoff(1, false, ceiling, 90*time.Second, 0), "Retry-After wins")
	require.Equal(t, ceiling, schedule.Backoff(1, true, ceiling, time.Hour, 0), "Retry-After is bounded")
	require.Equal(t, 108*time.Second, schedule.Backoff(1, false, ceiling, 90*time.Second, 1), "and spread")
	require.Equal(t, ceiling+6*time.Minute, schedule.Backoff(1, true, ceiling, time.Hour, 1), "the wider with keys in hand")
}

func TestFreshnessFollowsRFC9111(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for name, c := range map[string]struct {
		header http.Header
		want   time.Duration
	}{
		"nothing said":              {http.Header{}, -1},
		"max-age":                   {http.Header{"Cache-Control": {"public, max-age=300"}}, 5 * time.Minute},
		"max-age, quoted, any case": {http.Header{"Cache-Control": {`Max-Age="300"`}}, 5 * time.Minute},
		"max-age less age":          {http.Header{"Cache-Control": {"max-age=300"}, "Age": {"100"}}, 200 * time.Second},
		"older than its max-age":    {http.Header{"Cache-Control": {"max-age=300"}, "Age": {"400"}}, 0},
		"max-age over expires":      {http.Header{"Cache-Control": {"max-age=300"}, "Expires": {date(time.Hour)}}, 5 * time.Minute},
		"no-store":                  {http.Header{"Cache-Control": {"no-store"}}, 0},
		"no-cache beside max-age":   {http.Header{"Cache-Control": {"max-age=300", "no-cache"}}, 0},
		"expires":                   {http.Header{"Expires": {date(time.Hour)}}, time.Hour},
		"expires by server's clock": {http.Header{"Expires": {date(time.Hour)}, "Date": {date(30 * time.Minute)}}, 30 * time.Minute},
		"expires less age":          {http.Header{"Expires": {date(time.Hour)}, "Age": {"600"}}, 50 * time.Minute},
		"expires 0":                 {http.Header{"Expires": {"0"}}, 0},
		"expired":                   {http.Header{"Expires": {date(-time.Hour)}}, 0},
		"max-age of nonsense":       {http.Header{"Cache-Control": {"max-age=soon"}}, -1},
		"max-age negative":          {http.Header{"Cache-Control": {"max-age=-5"}}, -1},
		"max-age beyond int64":      {http.Header{"Cache-Control": {"max-age=99999999999999999999"}}, 10 * 365 * 24 * time.Hour},
	} {
		require.Equal(t, c.want, schedule.Freshness(c.header, now), name)
	}
}

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "120": 2 * time.Minute, "-1": 0, "soon": 0, "1.5": 0,
		now.Add(time.Minute).Format(http.TimeFormat):  time.Minute,
		now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		require.Equal(t, want, schedule.RetryAfter(http.Header{"Retry-After": {value}}, now), "%q", value)
	}
}

func TestBucketRefillsOneAnIntervalAndHoldsTwo(t *testing.T) {
	const interval = 30 * time.Second
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var b schedule.Bucket
	take := func() bool { ok, _ := b.Take(now, interval); return ok }
	require.True(t, take())
	require.True(t, take())
	require.False(t, take())
	_, wait := b.Take(now, interval)
	require.Equal(t, interval, wait)
	now = now.Add(interval - 1)
	require.False(t, take())
	now = now.Add(1)
	require.True(t, take())
	require.False(t, take())
	now = now.Add(24 * time.Hour)
	require.True(t, take())
	require.True(t, take())
	require.False(t, take(), "it never holds more than two")
}
