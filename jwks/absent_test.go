package jwks

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// No answer tells how many kids a Cache remembers, so this asks the Cache.
func TestTheMemoryOfDeniedKidsIsBoundedAndForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Config{
			URL:    "https://issuer.example/keys",
			Logger: slog.New(slog.DiscardHandler),
			Client: &http.Client{Transport: tripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("none") })},
		})
		require.NoError(t, err)
		defer c.Close()
		deny := func(from, to int) {
			now := time.Now()
			c.snap.Store(&snapshot{set: new(Set), fetched: now})
			for n := from; n < to; n++ {
				c.remember(name{fmt.Sprint(n), "RS256"}, now)
			}
		}
		deny(0, 10_000)
		require.Len(t, c.absent, 256)
		require.Contains(t, c.absent, c.hash(name{"0", "RS256"}))
		time.Sleep(c.config.Cooldown)
		deny(10_000, 10_001)
		require.Len(t, c.absent, 1, "what is out of date makes room")
	})
}

func TestAClockThatIsSetDoesNotMakeASnapshotYounger(t *testing.T) {
	saved := fmt.Sprintf(`{"url":"https://issuer.example/keys","fetched":%d,%s`, time.Now().Add(-time.Hour).Unix(), oneKey[1:])
	c, err := New(Config{
		URL: "https://issuer.example/keys", Snapshot: []byte(saved), Logger: slog.New(slog.DiscardHandler),
		Client: &http.Client{Transport: tripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("none") })},
	})
	require.NoError(t, err)
	defer c.Close()
	require.Contains(t, c.snap.Load().fetched.String(), " m=", "a reading of the clock that nobody sets")
}

// Between the two looks of a caller another one's fetch may end, which no test
// can time.
func TestAKeyThatAnotherCallersFetchBroughtIsNotFetchedAgain(t *testing.T) {
	c, err := New(Config{
		URL:    "https://issuer.example/keys",
		Logger: slog.New(slog.DiscardHandler),
		Client: &http.Client{Transport: tripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("none") })},
	})
	require.NoError(t, err)
	defer c.Close()
	require.Error(t, c.Refresh(t.Context()))
	set, err := Parse([]byte(oneKey))
	require.NoError(t, err)
	c.snap.Store(&snapshot{set: set, fetched: time.Now()})
	before := c.Status()
	k, err := c.seek(t.Context(), "a", "EdDSA")
	require.NoError(t, err)
	require.NotNil(t, k)
	require.Zero(t, c.Status().UnknownKeyFetches)
	require.Equal(t, before.Fetches, c.Status().Fetches)
}
