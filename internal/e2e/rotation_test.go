//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// The keys rotate four times while clients of every algorithm get fresh tokens and
// use them at once, and no request is refused.
//
// What the test may rely on, and what not:
//
//   - A rotation is seen through the first token with an unknown kid. That costs
//     one of two places in a bucket, which gets one back per Cooldown. One fetch
//     brings the new keys of all algorithms, so a rotation costs one place however
//     many clients meet it. Two rotations in a row are therefore served at once,
//     and a third is only once a Cooldown has passed: before, its tokens would
//     rightly wait, and the test waits instead.
//   - A key that was published ahead, and seen by a refresh, costs none.
//   - A key that is taken out takes its tokens with it. A token that was signed
//     before and comes after is rightly refused, so the old keys go at a moment
//     when no token is on its way.
func TestNoRequestIsRefusedWhileTheKeysRotate(t *testing.T) {
	for _, test := range []struct {
		server  *server
		clients []string
		keys    int // of one generation
	}{
		{oidcProvider, []string{"rs256", "ps256", "es256", "eddsa"}, 3},
		{zitadelOP, []string{"svc"}, 1},
	} {
		t.Run(test.server.name, func(t *testing.T) {
			const cooldown = time.Second
			as := startProvider(t, test.server)
			config := as.preset(as.Issuer, ordersAPI)
			config.JWKS.Cooldown = cooldown
			v := newVerifier(t, config)
			var apis []api
			for _, kind := range kinds {
				apis = append(apis, startAPI(t, v, kind))
			}
			first := as.mustToken(t, as.client, ordersAPI, "read:orders")
			require.Equal(t, http.StatusOK, apis[0].must(t, http.MethodGet, first).status)

			clients := startClients(t, as, apis, test.clients...)
			clients.awaitGeneration(t, 1)

			for generation := range int64(2) {
				as.order(t, "publish")
				as.order(t, "activate")
				clients.awaitGeneration(t, 2+generation)
			}

			clients.pause(func() {
				as.order(t, "retire")
				require.NoError(t, v.Refresh(t.Context()))
			})
			require.Len(t, v.Status().Keys.Keys, test.keys, "one key of each kind is left")

			as.order(t, "publish")
			require.NoError(t, v.Refresh(t.Context()))
			fetches := v.Status().Keys.Fetches
			as.order(t, "activate")
			clients.awaitGeneration(t, 4)
			require.Equal(t, fetches, v.Status().Keys.Fetches)

			time.Sleep(cooldown) // the bucket gets a place back
			as.order(t, "publish")
			as.order(t, "activate")
			clients.awaitGeneration(t, 5)

			t.Logf("%d requests served", clients.stop(t))
			requireInvalid(t, v, apis[0], first, jwtverify.ErrUnknownKey)
		})
	}
}

// better-auth rotates by itself: a key signs for two seconds and is published for
// two more, whether or not tokens live longer.
func TestNoRequestIsRefusedWhileTheKeysRotateByThemselves(t *testing.T) {
	as := startProvider(t, betterAuth, "--rotate", "2", "--grace", "2")
	config := as.preset(as.Issuer, ordersAPI)
	config.JWKS.Cooldown = time.Second
	v := newVerifier(t, config)
	orders := startAPI(t, v, "net/http")
	first := as.mustToken(t, as.client, ordersAPI, "read:orders")
	require.Equal(t, http.StatusOK, orders.must(t, http.MethodGet, first).status)

	clients := startClients(t, as, []api{orders}, as.client)
	clients.awaitGeneration(t, 2)
	require.Equal(t, http.StatusOK, orders.must(t, http.MethodGet, first).status, "the first key is still published")
	clients.awaitGeneration(t, 3)
	t.Logf("%d requests served", clients.stop(t))
	requireInvalid(t, v, orders, first, jwtverify.ErrUnknownKey)
}

// clients call the API without a break, each call with a token of its own.
type clients struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	served atomic.Int64
	failed chan error // holds the first failure

	// held for reading while a token is on its way
	way sync.RWMutex
	// how many keys signed each client's tokens so far, one after the other
	generation []atomic.Int64
}

// startClients starts one for each name and API.
func startClients(t *testing.T, as *provider, apis []api, names ...string) *clients {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := &clients{cancel: cancel, failed: make(chan error, 1), generation: make([]atomic.Int64, len(apis)*len(names))}
	for i := range c.generation {
		c.done.Go(func() {
			var last string
			for ctx.Err() == nil {
				kid, err := c.visit(as, apis[i/len(names)], names[i%len(names)])
				if err != nil {
					select {
					case c.failed <- err:
					default:
					}
					return
				}
				if kid != last {
					last = kid
					c.generation[i].Add(1)
				}
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

// visit gets a token, calls the API with it and says which key signed it. It is not cut short when the test stops: what has begun must be
// served.
func (c *clients) visit(as *provider, api api, name string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c.way.RLock()
	defer c.way.RUnlock()
	token, err := as.token(ctx, name, ordersAPI, "read:orders")
	if err != nil {
		return "", err
	}
	res, err := api(ctx, http.MethodGet, token)
	if err != nil {
		return "", err
	}
	if res.status != http.StatusOK {
		return "", fmt.Errorf("%s was refused: %d, %s", name, res.status, res.challenge)
	}
	var got seen
	if err := json.Unmarshal(res.body, &got); err != nil {
		return "", err
	}
	return got.Header.KeyID, nil
}

// awaitGeneration waits until every client was served with a token of that
// generation of keys.
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
