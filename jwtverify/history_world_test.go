package jwtverify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// world is an issuer and the way to it, as a RoundTripper: thousands of
// histories have no time for a server each.
type world struct {
	mu         sync.Mutex
	keys       []map[string]string // published now
	path       string              // of the jwks_uri now; any other is gone
	control    string              // Cache-Control
	validators bool
	version    int
	fault      fault
}

func (w *world) change(f func(*world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w)
	w.version++
}

// good is the answer of a healthy issuer at this moment.
func (w *world) good(r *http.Request) *http.Response {
	w.mu.Lock()
	defer w.mu.Unlock()
	answer := httptest.NewRecorder()
	var body any
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		body = map[string]string{"issuer": signerIssuer, "jwks_uri": signerIssuer + w.path}
	case w.path:
		body = map[string]any{"keys": w.keys}
		if w.control != "" {
			answer.Header().Set("Cache-Control", w.control)
		}
		if tag := fmt.Sprintf(`"%d"`, w.version); w.validators {
			answer.Header().Set("ETag", tag)
			if r.Header.Get("If-None-Match") == tag {
				answer.WriteHeader(http.StatusNotModified)
				return answer.Result()
			}
		}
	default:
		http.NotFound(answer, r)
		return answer.Result()
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	_, _ = answer.Write(text)
	return answer.Result()
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	f := w.fault
	w.mu.Unlock()
	good := w.good(r)
	if f.only != "" && !strings.Contains(r.URL.Path, f.only) {
		return good, nil
	}
	return f.answer(r, good)
}

// fault is what can become of a good answer.
type fault struct {
	name   string
	only   string // of the paths that have this in them
	answer func(r *http.Request, good *http.Response) (*http.Response, error)
}

var spaces = strings.Repeat(" ", 256<<10)

var faults = []fault{
	{name: "none", answer: func(_ *http.Request, good *http.Response) (*http.Response, error) { return good, nil }},
	{name: "refused", answer: func(*http.Request, *http.Response) (*http.Response, error) {
		return nil, errors.New("connection refused")
	}},
	{name: "hangs", answer: func(r *http.Request, _ *http.Response) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}},
	{name: "slow", answer: late(4 * time.Second)},
	{name: "too slow for a caller", answer: late(2500 * time.Millisecond)},
	{name: "too slow", answer: late(6 * time.Second)},
	{name: "panics", answer: func(*http.Request, *http.Response) (*http.Response, error) { panic("a bug of theirs") }},
	{name: "500", answer: instead(500, "")},
	{name: "404", answer: instead(404, "")},
	{name: "keys gone", only: "/keys", answer: instead(404, "")},
	{name: "503 for an hour", answer: instead(503, "", "Retry-After", "3600")},
	{name: "429 for a minute", answer: instead(429, "", "Retry-After", "60")},
	{name: "304 to anyone without a condition", answer: func(r *http.Request, good *http.Response) (*http.Response, error) {
		if r.Header.Get("If-None-Match") != "" {
			return good, nil
		}
		return instead(304, "")(r, good)
	}},
	{name: "redirected", answer: instead(302, "", "Location", "https://login.example/")},
	{name: "HTML", answer: instead(200, "<!doctype html><title>Sign in</title>")},
	{name: "empty", answer: instead(200, "")},
	{name: "no keys", answer: instead(200, `{"keys":[]}`)},
	{name: "no usable keys", answer: instead(200, `{"keys":[{"kty":"oct","k":"AAAA","kid":"key-0"}]}`)},
	{name: "another issuer's metadata", only: "well-known", answer: instead(200, `{"issuer":"https://other.example","jwks_uri":"https://other.example/keys"}`)},
	{name: "metadata down", only: "well-known", answer: instead(502, "")},
	{name: "oversized", answer: func(_ *http.Request, good *http.Response) (*http.Response, error) {
		good.Body = io.NopCloser(io.MultiReader(good.Body, strings.NewReader(spaces)))
		return good, nil
	}},
	{name: "cut", answer: func(_ *http.Request, good *http.Response) (*http.Response, error) {
		good.Body = io.NopCloser(io.LimitReader(good.Body, 20))
		return good, nil
	}},
	{name: "cut with an error", answer: func(_ *http.Request, good *http.Response) (*http.Response, error) {
		good.Body = io.NopCloser(io.MultiReader(io.LimitReader(good.Body, 20), broken{}))
		return good, nil
	}},
	{name: "stops in the body", answer: func(r *http.Request, good *http.Response) (*http.Response, error) {
		good.Body = io.NopCloser(io.MultiReader(io.LimitReader(good.Body, 20), stalled{r.Context()}))
		return good, nil
	}},
}

// late is the answer of the moment of the request, some time after.
func late(by time.Duration) func(*http.Request, *http.Response) (*http.Response, error) {
	return func(r *http.Request, good *http.Response) (*http.Response, error) {
		select {
		case <-time.After(by):
			return good, nil
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

func instead(status int, body string, header ...string) func(*http.Request, *http.Response) (*http.Response, error) {
	return func(*http.Request, *http.Response) (*http.Response, error) {
		answer := httptest.NewRecorder()
		for n := 0; n+1 < len(header); n += 2 {
			answer.Header().Set(header[n], header[n+1])
		}
		answer.WriteHeader(status)
		_, _ = answer.WriteString(body)
		return answer.Result(), nil
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

type stalled struct{ until context.Context }

func (s stalled) Read([]byte) (int, error) {
	<-s.until.Done()
	return 0, s.until.Err()
}
