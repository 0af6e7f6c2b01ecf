package introspect_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/introspect"
)

const (
	audience = "https://api.example.com"
	clientID = "orders api:1" // which only form-encoding gets through HTTP's Basic scheme
	secret   = "s3cr%t:+ and more"
	opaque   = "opaque-token_0.with~some/of+it=="
)

// endpoint is an issuer that introspects, on loopback.
type endpoint struct {
	*httptest.Server
	asked atomic.Int32

	mu     sync.Mutex
	answer http.HandlerFunc
	forms  []url.Values
	last   *http.Request
}

func newEndpoint(t *testing.T, answer http.HandlerFunc) *endpoint {
	t.Helper()
	e := &endpoint{answer: answer}
	mux := http.NewServeMux()
	mux.HandleFunc("/introspect", func(w http.ResponseWriter, r *http.Request) {
		e.asked.Add(1)
		_ = r.ParseForm()
		e.mu.Lock()
		e.forms, e.last = append(e.forms, r.PostForm), r
		answer := e.answer
		e.mu.Unlock()
		answer(w, r)
	})
	mux.HandleFunc("/.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": e.URL, "introspection_endpoint": e.URL + "/introspect"})
	})
	e.Server = httptest.NewServer(mux)
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) say(answer http.HandlerFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = answer
}

func (e *endpoint) request() (*http.Request, url.Values) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last, e.forms[len(e.forms)-1]
}

func (e *endpoint) config() introspect.Config {
	return introspect.Config{
		Issuer: e.URL, Endpoint: e.URL + "/introspect", Audience: []string{audience},
		ClientID: clientID, ClientSecret: secret, Logger: slog.New(slog.DiscardHandler),
	}
}

type claims map[string]any

// active is a usual answer of an issuer's, with changes; nil takes a member out.
func active(issuer string, changes claims) claims {
	all := claims{
		"active": true, "iss": issuer, "aud": audience, "sub": "alice", "client_id": "shop", "scope": "read:orders write:orders",
		"token_type": "Bearer", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "jti": "id-1",
	}
	for name, value := range changes {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}

func says(body any) http.HandlerFunc {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return saysText("application/json;charset=UTF-8", string(text))
}

func saysText(mediaType, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		_, _ = io.WriteString(w, text)
	}
}

func fails(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

func start(t *testing.T, c introspect.Config) *introspect.Introspector {
	t.Helper()
	i, err := introspect.New(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, i.Close()) })
	return i
}

// world is an endpoint that says active of every token, and an Introspector that asks
// it; the Config may be changed before.
func world(t *testing.T, change ...func(*introspect.Config)) (*endpoint, *introspect.Introspector) {
	t.Helper()
	e := newEndpoint(t, nil)
	e.say(says(active(e.URL, nil)))
	c := e.config()
	for _, f := range change {
		f(&c)
	}
	return e, start(t, c)
}

func requireReason(t *testing.T, i introspect.Verifier, token string, reason jwtverify.Reason) *jwtverify.Error {
	t.Helper()
	accepted, err := i.Verify(t.Context(), token)
	require.Nil(t, accepted)
	require.Equal(t, reason, jwtverify.ReasonOf(err), "%v", err)
	var e *jwtverify.Error
	require.ErrorAs(t, err, &e)
	require.NotContains(t, err.Error(), token)
	return e
}

// journal is a log that tests read.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
