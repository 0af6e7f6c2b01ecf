package jwks_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
)

const (
	issuerID = "https://issuer.example"
	keysURL  = issuerID + "/keys"
)

// issuer is a real HTTP server that is reached through pipes, by a real client:
// the clock of testing/synctest stands still while anything waits for a socket.
type issuer struct {
	client *http.Client

	mu      sync.Mutex
	answers map[string]http.HandlerFunc // by path
	asked   map[string][]request        // by path
}

type request struct {
	at     time.Time
	header http.Header
}

func newIssuer(t *testing.T) *issuer {
	i := &issuer{answers: map[string]http.HandlerFunc{}, asked: map[string][]request{}}
	l := &pipes{connections: make(chan net.Conn), closed: make(chan struct{})}
	// What an https URL gets is the bare pipe: TLS is for other tests.
	transport := &http.Transport{DialTLSContext: l.dial}
	i.client = &http.Client{Transport: transport}
	server := &http.Server{Handler: i}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-ended, http.ErrServerClosed)
	})
	return i
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	i.mu.Lock()
	answer := i.answers[path]
	i.asked[path] = append(i.asked[path], request{time.Now(), r.Header})
	i.mu.Unlock()
	if answer == nil {
		answer = http.NotFound
	}
	answer(w, r)
}

// serve changes the answer at a path; nil is 404.
func (i *issuer) serve(path string, answer http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answers[path] = answer
}

// publish serves a good key set from now on.
func (i *issuer) publish(keys ...jwk) { i.serve("/keys", text(set(keys...))) }

// times is how often a test of concurrency does what it does: a tenth for
// `make stress`, which runs the test a thousand times.
func times(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

// times are when a path was asked for.
func (i *issuer) times(path string) []time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	times := []time.Time{}
	for _, r := range i.asked[path] {
		times = append(times, r.at)
	}
	return times
}

// condition is what the latest request for a path was conditional on: its
// If-None-Match and its If-Modified-Since.
func (i *issuer) condition(path string) [2]string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.asked[path]) == 0 {
		return [2]string{"nobody asked", ""}
	}
	h := i.asked[path][len(i.asked[path])-1].header
	return [2]string{strings.Join(h.Values("If-None-Match"), "|"), strings.Join(h.Values("If-Modified-Since"), "|")}
}

// fetches counts those of the key set.
func (i *issuer) fetches() int { return len(i.times("/keys")) }

// gaps are the times between fetches of the key set.
func (i *issuer) gaps() []time.Duration {
	var gaps []time.Duration
	times := i.times("/keys")
	for n := 1; n < len(times); n++ {
		gaps = append(gaps, times[n].Sub(times[n-1]))
	}
	return gaps
}

// cache is one of this issuer's keys, closed when the test ends. Its Config is
// the default but for the changes.
func (i *issuer) cache(t *testing.T, changes ...func(*jwks.Config)) *jwks.Cache {
	config := jwks.Config{URL: keysURL, Client: i.client, Logger: slog.New(slog.DiscardHandler)}
	for _, change := range changes {
		change(&config)
	}
	c, err := jwks.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// ready is a cache that has its first set.
func (i *issuer) ready(t *testing.T, changes ...func(*jwks.Config)) *jwks.Cache {
	c := i.cache(t, changes...)
	require.NoError(t, c.Ready(t.Context()))
	return c
}

func byDiscovery(c *jwks.Config) { c.URL, c.Issuer = "", issuerID }

// pipes is a listener whose connections never leave the process.
type pipes struct {
	connections chan net.Conn
	closed      chan struct{}
	once        sync.Once
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.connections <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.connections:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "pipe"} }

// Answers of an issuer.

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for n := 0; n+1 < len(header); n += 2 {
			w.Header().Set(header[n], header[n+1])
		}
		w.WriteHeader(code)
	}
}

// validated is a good answer with validators, and 304 to whoever has them. More
// header fields go with either.
func validated(etag, modified, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, field := range [][2]string{{"ETag", etag}, {"Last-Modified", modified}} {
			if field[1] != "" {
				w.Header().Set(field[0], field[1])
			}
		}
		for n := 0; n+1 < len(header); n += 2 {
			w.Header().Set(header[n], header[n+1])
		}
		tag, since := r.Header.Get("If-None-Match"), r.Header.Get("If-Modified-Since")
		if tag != "" && tag == etag || tag == "" && since != "" && since == modified {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		text(body)(w, r)
	}
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func slow(delay time.Duration, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(delay):
			then(w, r)
		case <-r.Context().Done():
		}
	}
}

func cached(control string, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", control)
		then(w, r)
	}
}

func metadata(id, keys string) http.HandlerFunc {
	document, err := json.Marshal(map[string]string{"issuer": id, "jwks_uri": keys})
	if err != nil {
		panic(err)
	}
	return text(string(document))
}

// Keys, made once.

type jwk map[string]any

// with is the same entry but for some members; a nil value takes one away.
func (j jwk) with(members jwk) jwk {
	changed := jwk{}
	for _, from := range []jwk{j, members} {
		for name, value := range from {
			changed[name] = value
			if value == nil {
				delete(changed, name)
			}
		}
	}
	return changed
}

func set(keys ...jwk) string {
	if keys == nil {
		keys = []jwk{}
	}
	document, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return string(document)
}

var (
	rsaPrivate, _ = rsa.GenerateKey(rand.Reader, 2048)
	rsaPublic     = &rsaPrivate.PublicKey
	ecPublic      = newEC(elliptic.P256())
	ec384Public   = newEC(elliptic.P384())
	edPublics     = [3]ed25519.PublicKey{newEd(), newEd(), newEd()}

	rsaJWK   = jwk{"kty": "RSA", "n": b64(rsaPublic.N.Bytes()), "e": b64(big.NewInt(int64(rsaPublic.E)).Bytes())}
	ecJWK    = ecEntry("P-256", ecPublic)
	ec384JWK = ecEntry("P-384", ec384Public)
	// Three keys that cost nothing, with kid a, b and c.
	keyA, keyB, keyC = edEntry("a", edPublics[0]), edEntry("b", edPublics[1]), edEntry("c", edPublics[2])
)

func newEC(curve elliptic.Curve) *ecdsa.PublicKey {
	private, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	return &private.PublicKey
}

func newEd() ed25519.PublicKey {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return public
}

func ecEntry(curve string, public *ecdsa.PublicKey) jwk {
	point, err := public.Bytes()
	if err != nil {
		panic(err)
	}
	half := len(point) / 2
	return jwk{"kty": "EC", "crv": curve, "x": b64(point[1 : 1+half]), "y": b64(point[1+half:])}
}

func edEntry(kid string, public ed25519.PublicKey) jwk {
	return jwk{"kty": "OKP", "crv": "Ed25519", "kid": kid, "alg": "EdDSA", "x": b64(public)}
}

func b64(octets []byte) string { return base64.RawURLEncoding.EncodeToString(octets) }

// newKey is jwks.NewKey where it must work.
func newKey(t *testing.T, kid, alg string, public crypto.PublicKey) *jwks.Key {
	k, err := jwks.NewKey(kid, alg, public)
	require.NoError(t, err)
	return k
}

// finder is a Set and a Cache.
type finder interface {
	Key(ctx context.Context, kid, alg string) (*jwks.Key, error)
}

func requireKey(t *testing.T, f finder, kid string) *jwks.Key {
	t.Helper()
	k, err := f.Key(t.Context(), kid, "EdDSA")
	require.NoError(t, err)
	require.NotNil(t, k)
	return k
}

func requireNoSuchKey(t *testing.T, f finder, kid string) {
	t.Helper()
	k, err := f.Key(t.Context(), kid, "EdDSA")
	require.ErrorIs(t, err, jwks.ErrKeyNotFound)
	require.NotErrorIs(t, err, jwks.ErrUnavailable)
	require.Nil(t, k)
}

// requireUnavailable also returns when to come back.
func requireUnavailable(t *testing.T, err error) time.Duration {
	t.Helper()
	require.ErrorIs(t, err, jwks.ErrUnavailable)
	require.NotErrorIs(t, err, jwks.ErrKeyNotFound)
	later, ok := err.(interface{ RetryAfter() time.Duration })
	require.True(t, ok)
	require.GreaterOrEqual(t, later.RetryAfter(), time.Duration(0))
	return later.RetryAfter()
}

func requireUnavailableKey(t *testing.T, f finder, kid string) time.Duration {
	t.Helper()
	k, err := f.Key(t.Context(), kid, "EdDSA")
	require.Nil(t, k)
	return requireUnavailable(t, err)
}
