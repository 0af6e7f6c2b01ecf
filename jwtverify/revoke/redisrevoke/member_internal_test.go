package redisrevoke

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify/revoke"
)

func TestAnEntryIsReadAsItWasWritten(t *testing.T) {
	until := time.Unix(1_800_000_000, 0)
	before := time.Unix(1_799_999_999, 7)
	for name, c := range map[string]struct {
		entry  revoke.Entry
		member string
	}{
		"token":         {revoke.Token("https://i.example", "id", until), "1t17:https://i.example2:id"},
		"session":       {revoke.Session("i", "s", until), "1s1:i1:s"},
		"subject":       {revoke.Subject("i", "alice", before, until), "1u1:i5:alice1799999999.000000007"},
		"client":        {revoke.Client("i", "app", before, until), "1c1:i3:app1799999999.000000007"},
		"key":           {revoke.Key("i", "k", until), "1k1:i1:k"},
		"any bytes":     {revoke.Token("i:1", "\x00:9:\xff\r\n", until), "1t3:i:17:\x00:9:\xff\r\n"},
		"before 1970":   {revoke.Subject("i", "a", time.Unix(-1, 5), until), "1u1:i1:a-1.000000005"},
		"the longest":   {revoke.Key(strings.Repeat("i", 1024), strings.Repeat("v", 1024), until), "1k1024:" + strings.Repeat("i", 1024) + "1024:" + strings.Repeat("v", 1024)},
		"year 9999":     {revoke.Key("i", "k", time.Unix(lastSecond, 0)), "1k1:i1:k"},
		"sub like time": {revoke.Subject("i", "1.000000000", before, until), "1u1:i11:1.0000000001799999999.000000007"},
	} {
		t.Run(name, func(t *testing.T) {
			member, score := encode(c.entry)
			require.Equal(t, c.member, member)
			require.LessOrEqual(t, len(member), maxMember)
			again, err := decode(member, strconv.FormatInt(score, 10))
			require.NoError(t, err)
			require.Equal(t, c.entry.Kind, again.Kind)
			require.Equal(t, c.entry.Issuer, again.Issuer)
			require.Equal(t, c.entry.Value, again.Value)
			require.True(t, c.entry.Before.Equal(again.Before) && c.entry.Until.Equal(again.Until))
		})
	}
}

func TestAnEntryNeverEndsSoonerThanItWasMeantTo(t *testing.T) {
	_, score := encode(revoke.Token("i", "id", time.Unix(100, 1)))
	require.EqualValues(t, 101, score)
}

func TestAnythingElseIsNotAnEntry(t *testing.T) {
	const good, score = "1t1:i2:id", "1800000000"
	_, err := decode(good, score)
	require.NoError(t, err)
	for name, c := range map[string][2]string{
		"nothing":                  {"", score},
		"another version":          {"2t1:i2:id", score},
		"no such kind":             {"1x1:i2:id", score},
		"kind 0":                   {"1\x001:i2:id", score},
		"cut":                      {good[:len(good)-1], score},
		"more behind":              {good + "x", score},
		"a moment with a token":    {good + "1.000000000", score},
		"a subject without one":    {"1u1:i2:id", score},
		"a moment in another form": {"1u1:i2:id01.000000000", score},
		"a fraction too short":     {"1u1:i2:id1.0", score},
		"a fraction too large":     {"1u1:i2:id1.1000000000", score},
		"a moment behind 9999":     {"1u1:i2:id253402300800.000000000", score},
		"a length with a zero":     {"1t01:i2:id", score},
		"a length with a sign":     {"1t+1:i2:id", score},
		"a length too long":        {"1t99999999999999999999:i2:id", score},
		"no issuer":                {"1t0:2:id", score},
		"a value of 1025 bytes":    {"1t1:i1025:" + strings.Repeat("v", 1025), score},
		"more than 4 KiB":          {"1t1:i5000:" + strings.Repeat("v", 5000), score},
		"no end":                   {good, ""},
		"an end of 0":              {good, "0"},
		"an end behind 9999":       {good, "253402300800"},
		"an end with a fraction":   {good, "1800000000.5"},
		"an end that is not one":   {good, "inf"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decode(c[0], c[1])
			require.ErrorIs(t, err, errMember)
		})
	}
}

func FuzzMember(f *testing.F) {
	f.Add("1t1:i2:id", "1800000000")
	f.Add("1u1:i5:alice1799999999.000000007", "253402300799")
	f.Add("1k1024:", "1")
	f.Fuzz(func(t *testing.T, member, score string) {
		e, err := decode(member, score)
		if err != nil {
			return
		}
		require.NoError(t, e.Validate())
		again, until := encode(e)
		require.Equal(t, member, again)
		require.Equal(t, e.Until.Unix(), until)
	})
}
