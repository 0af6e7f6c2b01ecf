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
