package httpauth_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

const corpusRequests = 20

type requestCase struct {
	ID      string `json:"id"`
	Comment string `json:"comment"`
	Ref     string `json:"ref"`
	Strict  bool   `json:"strict"`
	Config  struct {
		Issuer     string   `json:"issuer"`
		Audience   []string `json:"audience"`
		Algorithms []string `json:"algorithms"`
		LeewayS    int      `json:"leeway_s"`
		Now        int64    `json:"now"`
		RequireTyp string   `json:"require_typ"`
	} `json:"config"`
	JWKS    json.RawMessage `json:"jwks"`
	Request struct {
		Method      string      `json:"method"`
		Target      string      `json:"target"`
		Headers     [][2]string `json:"headers"`
		ContentType string      `json:"content_type"`
		Body        string      `json:"body"`
	} `json:"request"`
	Expect struct {
		Status               []int    `json:"status"`
		HandlerCalled        bool     `json:"handler_called"`
		WWWAuthenticate      bool     `json:"www_authenticate"`
		ErrorAny             []string `json:"error_any"`
		HeaderMustNotContain []string `json:"header_must_not_contain"`
		MustNotContain       []string `json:"must_not_contain"`
	} `json:"expect"`
}

func TestCorpusRequests(t *testing.T) {
	text, err := os.ReadFile("../../jwtverify/testdata/corpus/siblings/http.json")
	require.NoError(t, err)
	var f struct {
		Schema int           `json:"schema"`
		Format string        `json:"format"`
		Split  string        `json:"split"`
		Doc    string        `json:"doc"`
		Cases  []requestCase `json:"cases"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // an unread member would be an unchecked condition
	require.NoError(t, d.Decode(&f))

	seen := map[string]bool{}
	for _, c := range f.Cases {
		seen[c.ID] = true
		t.Run(c.ID, func(t *testing.T) { c.check(t) })
	}
	require.Len(t, seen, corpusRequests)
}

func (c requestCase) check(t *testing.T) {
	t.Log(c.Comment)
	log := &plainLog{}
	var called atomic.Bool
	address := c.protect(t, log.logger(), func(w http.ResponseWriter, _ *http.Request) { called.Store(true) })

	raw := exchange(t, address, c.rawRequest())
	response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), &http.Request{Method: c.Request.Method})
	require.NoError(t, err)
	defer response.Body.Close()

	require.Contains(t, c.Expect.Status, response.StatusCode)
	require.Equal(t, c.Expect.HandlerCalled, called.Load())
	c.checkChallenge(t, response)
	c.checkBytes(t, raw)
	c.checkLog(t, log)
}

// protect serves handler on loopback, guarded as the case says.
func (c requestCase) protect(t *testing.T, log *slog.Logger, handler http.HandlerFunc) (address string) {
	set, err := jwks.Parse(c.JWKS)
	require.NoError(t, err)
	require.Empty(t, c.Config.RequireTyp)
	config := jwtverify.Config{
		Issuer:     c.Config.Issuer,
		Audience:   c.Config.Audience,
		Algorithms: c.Config.Algorithms,
		Keys:       set,
		Leeway:     time.Duration(c.Config.LeewayS) * time.Second,
		Now:        func() time.Time { return time.Unix(c.Config.Now, 0) },
		Logger:     log,
	}
	if c.Config.LeewayS == 0 {
		config.Leeway = -1 // none, where 0 would be the default
	}
	v, err := jwtverify.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	auth, err := httpauth.New(httpauth.Config{Verifier: v})
	require.NoError(t, err)
	server := httptest.NewServer(auth.Handler(handler))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// rawRequest spells the request out: net/http's client would join, tidy up or
// refuse some of these headers.
func (c requestCase) rawRequest() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n", c.Request.Method, c.Request.Target)
	for _, h := range c.Request.Headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	if c.Request.ContentType != "" {
		fmt.Fprintf(&b, "Content-Type: %s\r\n", c.Request.ContentType)
	}
	if c.Request.Body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(c.Request.Body))
	}
	b.WriteString("\r\n" + c.Request.Body)
	return b.Bytes()
}

func exchange(t *testing.T, address string, request []byte) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(request)
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	return answer
}

// errorParameter finds the error parameter of a challenge and not its
// error_description.
var errorParameter = regexp.MustCompile(`(?i)[ ,]error="([^"]*)"`)

func (c requestCase) checkChallenge(t *testing.T, response *http.Response) {
	challenges := response.Header.Values("WWW-Authenticate")
	if !c.Expect.WWWAuthenticate {
		require.Empty(t, challenges)
		require.Empty(t, c.Expect.ErrorAny)
		return
	}
	require.Len(t, challenges, 1)
	scheme, _, _ := strings.Cut(challenges[0], " ")
	require.Equal(t, "Bearer", scheme)
	errors := errorParameter.FindAllStringSubmatch(challenges[0], -1)
	require.LessOrEqual(t, len(errors), 1, "RFC 6750 §3: no parameter more than once: %s", challenges[0])
	code := ""
	if len(errors) == 1 {
		code = errors[0][1]
	}
	require.Contains(t, c.Expect.ErrorAny, code, challenges[0])
}

// ownHeaders are all that a refusal may carry; any other would have come in
// with the request.
var ownHeaders = []string{
	"Cache-Control", "Connection", "Content-Length", "Content-Type", "Date", "Www-Authenticate", "X-Content-Type-Options",
}

func (c requestCase) checkBytes(t *testing.T, raw []byte) {
	head, _, ok := strings.Cut(string(raw), "\r\n\r\n")
	require.True(t, ok)
	lines := strings.Split(head, "\r\n")[1:]
	for _, line := range lines {
		name, _, ok := strings.Cut(line, ":")
		require.True(t, ok, line)
		require.Contains(t, ownHeaders, http.CanonicalHeaderKey(name))
		for _, bad := range c.Expect.HeaderMustNotContain {
			require.NotContains(t, line, bad)
		}
	}
	for _, bad := range c.Expect.MustNotContain {
		require.NotContains(t, strings.ToLower(string(raw)), strings.ToLower(bad))
	}
	for _, secret := range c.secrets() {
		require.NotContains(t, string(raw), secret, "the answer repeats the credential")
	}
}

// secrets are those parts of the request that are credentials: whatever is long
// and has no blank in it.
func (c requestCase) secrets() []string {
	var all []string
	for _, h := range c.Request.Headers {
		for _, part := range strings.FieldsFunc(h[1], func(r rune) bool { return r == ' ' || r == '\t' || r == '.' }) {
			if len(part) >= 20 {
				all = append(all, part)
			}
		}
	}
	return all
}

// checkLog holds for every request: a record that is written as one line stays
// one line, and says nothing of the credential.
func (c requestCase) checkLog(t *testing.T, log *plainLog) {
	if c.ID == "http-035" {
		require.NotEmpty(t, log.lines(), "the refusal of a token is logged at Debug")
	}
	for _, line := range log.lines() {
		require.NotContains(t, line, "\n")
		require.NotContains(t, line, "\r")
		for _, secret := range c.secrets() {
			require.NotContains(t, line, secret)
		}
	}
}

// plainLog is a log handler as careless as they come: it quotes nothing. What
// is still one line in it is one line in any log.
type plainLog struct {
	mu      sync.Mutex
	records []string
}

func (l *plainLog) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.records)
}

func (l *plainLog) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, line)
}

func (l *plainLog) logger() *slog.Logger { return slog.New(plainHandler{log: l}) }

type plainHandler struct {
	log   *plainLog
	attrs string
}

func (h plainHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h plainHandler) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message + h.attrs
	r.Attrs(func(a slog.Attr) bool {
		line += plainAttr(a)
		return true
	})
	h.log.add(line)
	return nil
}

func (h plainHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.attrs += plainAttr(a)
	}
	return h
}

func (h plainHandler) WithGroup(string) slog.Handler { return h }

func plainAttr(a slog.Attr) string { return fmt.Sprintf(" %s=%v", a.Key, a.Value.Resolve().Any()) }
