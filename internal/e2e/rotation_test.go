//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
)

// The keys rotate three times while clients of all four algorithms get fresh
// tokens and use them at once, and no request is refused.
//
// What the test may rely on, and what not:
//
//   - A rotation is seen through the first token with an unknown kid. That costs
//     one of two places in a bucket, which gets one back per Cooldown. One fetch
//     brings the new keys of all algorithms, so a rotation costs one place however
//     many clients meet it. Two rotations in a row are therefore served at once,
//     and a third is only once a Cooldown has passed: before, its tokens would
//     rightly wait, and the test waits instead.
//   - A key that is taken out takes its tokens with it. A token that was signed
//     before and comes after is rightly refused, so the old keys go at a moment
//     when no token is on its way.
func TestNoRequestIsRefusedWhileTheKeysRotate(t *testing.T) {
	const cooldown = time.Second
	as := startProvider(t)
	v := newVerifier(t, jwtverify.Config{
		Issuer:   as.Issuer,
		Audience: []string{ordersAPI},
		JWKS:     jwks.Config{Cooldown: cooldown},
	})
	var apis []api
	for _, kind := range kinds {
		apis = append(apis, startAPI(t, v, kind))
	}
	first := as.mustToken(t, "es256", ordersAPI, "read:orders")
	require.Equal(t, http.StatusOK, apis[0].must(t, http.MethodGet, first).status)

	clients := startClients(t, as, apis, "rs256", "ps256", "es256", "eddsa")
	clients.awaitGeneration(t, 1)

	as.order(t, "rotate")
	clients.awaitGeneration(t, 2)

	as.order(t, "rotate")
	clients.awaitGeneration(t, 3)

	clients.pause(func() {
		as.order(t, "retire")
		require.NoError(t, v.Refresh(t.Context()))
	})
	require.Len(t, v.Status().Keys.Keys, 3, "one key of each kind is left")

	time.Sleep(cooldown) // the bucket gets a place back
	as.order(t, "rotate")
	clients.awaitGeneration(t, 4)

	t.Logf("%d requests served", clients.stop(t))
	requireInvalid(t, v, apis[0], first, jwtverify.ErrUnknownKey)
}

// clients call the API without a break, each call with a token of its own.
type clients struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	served atomic.Int64
	failed chan error // holds the first failure

	// held for reading while a token is on its way
	way sync.RWMutex
	// the generation of the keys that signed each client's last token
	generation []atomic.Int64
}

// startClients starts one for each name and API.
func startClients(t *testing.T, as *provider, apis []api, names ...string) *clients {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := &clients{cancel: cancel, failed: make(chan error, 1), generation: make([]atomic.Int64, len(apis)*len(names))}
	for i := range c.generation {
		c.done.Go(func() {
			for ctx.Err() == nil {
				generation, err := c.visit(as, apis[i/len(names)], names[i%len(names)])
				if err != nil {
					select {
					case c.failed <- err:
					default:
					}
					return
				}
				c.generation[i].Store(generation)
				c.served.Add(1)
				time.Sleep(time.Millisecond) // leaves the authorization server time for its orders
			}
		})
	}
	t.Cleanup(func() {
		c.cancel()
		c.done.Wait()
	})
	return c
}

// visit gets a token, calls the API with it and says which generation of keys
// signed it. It is not cut short when the test stops: what has begun must be
// served.
func (c *clients) visit(as *provider, api api, name string) (int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c.way.RLock()
	defer c.way.RUnlock()
	token, err := as.token(ctx, name, ordersAPI, "read:orders")
	if err != nil {
		return 0, err
	}
	res, err := api(ctx, http.MethodGet, token)
	if err != nil {
		return 0, err
	}
	if res.status != http.StatusOK {
		return 0, fmt.Errorf("%s was refused: %d, %s", name, res.status, res.challenge)
	}
	var got seen
	if err := json.Unmarshal(res.body, &got); err != nil {
		return 0, err
	}
	_, number, _ := strings.Cut(got.Header.KeyID, "-")
	return strconv.ParseInt(number, 10, 64)
}

// awaitGeneration waits until every client was served with a token signed by the
// keys of that generation.
func (c *clients) awaitGeneration(t *testing.T, want int64) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case err := <-c.failed:
			require.NoError(t, err, "on the way to generation %d", want)
		case <-deadline:
			t.Fatalf("not every client came to the keys of generation %d", want)
		case <-time.After(5 * time.Millisecond):
		}
		arrived := 0
		for i := range c.generation {
			if c.generation[i].Load() == want {
				arrived++
			}
		}
		if arrived == len(c.generation) {
			return
		}
	}
}

// pause does f while no token is on its way.
func (c *clients) pause(f func()) {
	c.way.Lock()
	defer c.way.Unlock()
	f()
}

// stop ends the clients, requires that none was refused and says how many
// requests were served.
func (c *clients) stop(t *testing.T) int64 {
	t.Helper()
	c.cancel()
	c.done.Wait()
	close(c.failed)
	require.NoError(t, <-c.failed)
	return c.served.Load()
}
