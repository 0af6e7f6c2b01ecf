package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	keyfuncv3 "github.com/MicahParks/keyfunc/v3"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
)

// TestAModelAsksWhenTheOriginalAsks runs the libraries themselves, ours and the
// peers', through the histories, on the clock of a bubble.
func TestAModelAsksWhenTheOriginalAsks(t *testing.T) {
	const replicas, modelled = 100, 10_000
	keys := newKeys(t)
	parts := map[string][]time.Duration{ // what is compared, from each to the next
		rotationAtOnce.name: {-2 * time.Hour, -time.Hour, 0, time.Minute, 5 * time.Minute, 20 * time.Minute},
		outageOfAnHour.name: {-time.Hour, 0, 10 * time.Minute, time.Hour, 70 * time.Minute, 80 * time.Minute},
		outageWithDate.name: {0, time.Hour, time.Hour + 10*time.Second, 80 * time.Minute},
		startInOutage.name:  {0, 30 * time.Second, 3 * time.Minute, 12 * time.Minute, 13 * time.Minute, 30 * time.Minute},
	}
	for _, h := range histories {
		ends := parts[h.name]
		if ends == nil {
			continue
		}
		h.issuer.end = ends[len(ends)-1]
		for j, c := range contestants {
			t.Run(h.name+"/"+c.name, func(t *testing.T) {
				model := h.run(modelled, c.policy())
				original := newCount(&h)
				synctest.Test(t, func(t *testing.T) { relive(t, &h, replicas, originals[j], keys, original) })
				for n, to := range ends[1:] {
					from := ends[n]
					want := model.load(from, to).mean * (to - from).Seconds() / modelled
					got := original.load(from, to).mean * (to - from).Seconds() / replicas
					// Four times the noise of requests that come at random; most do not.
					require.InDelta(t, want, got, 0.04*want+4*math.Sqrt(want/replicas), "requests of a replica from %v to %v", from, to)
				}
			})
		}
	}
}

// keys are the two keys of every issuer.
type keys struct {
	documents [2][]byte
	tokens    [2]string
}

func newKeys(t *testing.T) *keys {
	var k keys
	set := jwk.NewSet()
	for n := range k.documents {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		public, err := jwk.FromRaw(private.Public())
		require.NoError(t, err)
		require.NoError(t, public.Set(jwk.KeyIDKey, strconv.Itoa(n)))
		require.NoError(t, public.Set(jwk.AlgorithmKey, "ES256"))
		require.NoError(t, set.AddKey(public))
		k.documents[n], err = json.Marshal(set)
		require.NoError(t, err)
		header := jws.NewHeaders()
		require.NoError(t, header.Set(jws.KeyIDKey, strconv.Itoa(n)))
		token, err := jws.Sign([]byte("{}"), jws.WithKey(jwa.ES256, private, jws.WithProtectedHeaders(header)))
		require.NoError(t, err)
		k.tokens[n] = string(token)
	}
	return &k
}

const (
	issuerID = "https://issuer.example"
	keysPath = "/keys"
)

// original starts a library and returns what it does with a token under a key.
type original func(t *testing.T, ctx context.Context, client *http.Client, keys *keys) func(key int)

// originals of the contestants, in their order, with their default settings.
var originals = []original{
	func(t *testing.T, ctx context.Context, client *http.Client, _ *keys) func(int) {
		return bearerguard(t, ctx, jwks.Config{URL: issuerID + keysPath, Client: client})
	},
	func(t *testing.T, ctx context.Context, client *http.Client, _ *keys) func(int) {
		return bearerguard(t, ctx, jwks.Config{Issuer: issuerID, Client: client})
	},
	func(t *testing.T, ctx context.Context, client *http.Client, _ *keys) func(int) {
		quiet := func(string) func(context.Context, error) { return func(context.Context, error) {} }
		k, err := keyfuncv3.NewDefaultOverrideCtx(ctx, []string{issuerID + keysPath},
			keyfuncv3.Override{Client: client, RefreshErrorHandlerFunc: quiet})
		require.NoError(t, err)
		return func(key int) { _, _ = k.Storage().KeyRead(ctx, strconv.Itoa(key)) }
	},
	func(t *testing.T, ctx context.Context, client *http.Client, _ *keys) func(int) {
		cache := jwk.NewCache(ctx)
		require.NoError(t, cache.Register(issuerID+keysPath, jwk.WithHTTPClient(client)))
		_, _ = cache.Refresh(ctx, issuerID+keysPath)
		// Get would fetch nothing more. It waits for a fetch under way by a mutex,
		// and the clock of a bubble for that mutex.
		return func(int) {}
	},
	func(_ *testing.T, ctx context.Context, client *http.Client, keys *keys) func(int) {
		set := oidc.NewRemoteKeySet(oidc.ClientContext(ctx, client), issuerID+keysPath)
		return func(key int) { _, _ = set.VerifySignature(ctx, keys.tokens[key]) }
	},
}

func bearerguard(t *testing.T, ctx context.Context, config jwks.Config) func(int) {
	config.Logger = slog.New(slog.DiscardHandler)
	cache, err := jwks.New(config)
	require.NoError(t, err)
	context.AfterFunc(ctx, func() { _ = cache.Close() })
	return func(key int) { _, _ = cache.Key(ctx, strconv.Itoa(key), "ES256") }
}

// relive is history.run with a library instead of a policy.
func relive(t *testing.T, h *history, replicas int, open original, keys *keys, c *count) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begin := time.Now()
	now := func() time.Duration { return h.begin + time.Since(begin) }
	var lock sync.Mutex // of c
	var work sync.WaitGroup
	for n := range replicas {
		work.Go(func() {
			random := mathrand.New(mathrand.NewPCG(2, uint64(n)))
			time.Sleep(h.start(random) - now())
			var known atomic.Int64
			known.Store(noKey)
			client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				at := now()
				lock.Lock()
				c.add(at, 1)
				lock.Unlock()
				time.Sleep(latency)
				switch {
				case !h.issuer.up(at):
					return answer(r, http.StatusServiceUnavailable, "", begin.Add(h.issuer.rises-h.begin), h.issuer.retryAfter), nil
				case r.URL.Path != keysPath:
					return answer(r, http.StatusOK, `{"issuer":"`+issuerID+`","jwks_uri":"`+issuerID+keysPath+`"}`, begin, false), nil
				}
				key := h.issuer.published(at)
				known.Store(int64(key))
				return answer(r, http.StatusOK, string(keys.documents[key]), begin, false), nil
			})}
			see := open(t, ctx, client, keys)
			for {
				token := h.issuer.token(now(), int(known.Load()), random)
				if token >= h.issuer.end {
					break
				}
				time.Sleep(token - now())
				if key := h.issuer.published(token); int64(key) != known.Load() {
					see(key)
				}
			}
			time.Sleep(h.issuer.end - now())
		})
	}
	work.Wait()
	cancel()
	time.Sleep(time.Minute) // a request that is under way ends when it ends
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(r *http.Request, status int, body string, back time.Time, retryAfter bool) *http.Response {
	header := http.Header{"Content-Type": {"application/json"}}
	if retryAfter {
		header.Set("Retry-After", back.UTC().Format(http.TimeFormat))
	}
	return &http.Response{
		StatusCode: status, Status: strconv.Itoa(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}
}
