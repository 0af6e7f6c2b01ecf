package jwtverify_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
)

const scenarioCases = 22

type scenario struct {
	ID      string           `json:"id"`
	Comment string           `json:"comment"`
	Ref     string           `json:"ref"`
	Strict  bool             `json:"strict"`
	Config  corpusConfig     `json:"config"`
	Issuers []scenarioIssuer `json:"issuers"`
	Steps   []scenarioStep   `json:"steps"`
}

type scenarioIssuer struct {
	Name          string          `json:"name"`
	Issuer        string          `json:"issuer"`
	JWKS          json.RawMessage `json:"jwks"`
	DiscoveryBody string          `json:"discovery_body"`
}

type scenarioStep struct {
	Op     string `json:"op"`
	Issuer string `json:"issuer"`

	// serve
	Status      int             `json:"status"`
	JWKS        json.RawMessage `json:"jwks"`
	Body        string          `json:"body"`
	ContentType string          `json:"content_type"`
	Behaviour   string          `json:"behaviour"`
	PadBytes    int             `json:"pad_bytes"`

	// advance
	Seconds int `json:"seconds"`

	// verify, concurrent, flood
	Verifier     string        `json:"verifier"`
	Token        string        `json:"token"`
	Tokens       []string      `json:"tokens"`
	Expect       oneOrAll      `json:"expect"`
	Reason       string        `json:"reason"`
	MaxMS        int           `json:"max_ms"`
	Count        int           `json:"count"`
	Alg          string        `json:"alg"`
	KidTemplate  string        `json:"kid_template"`
	TokenSuffix  string        `json:"token_suffix"`
	MaxFetches   *int64        `json:"max_fetches"`
	Min          *int64        `json:"min"`
	Max          *int64        `json:"max"`
	MaxForeign   *int64        `json:"max_foreign"`
	Name         string        `json:"name"`
	VerifierConf *corpusConfig `json:"config"`
}

// oneOrAll is a string, or an array of them.
type oneOrAll []string

func (o *oneOrAll) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte("[")) {
		return json.Unmarshal(text, (*[]string)(o))
	}
	*o = make([]string, 1)
	return json.Unmarshal(text, &(*o)[0])
}

// noSetToAsk are the scenarios whose "unknown_key" is no verdict on the token:
// the last fetch failed, stalls, or none ever succeeded, so nobody can say
// whether the key exists, and a client must not be told to throw its token away.
var noSetToAsk = map[string]bool{
	"scenario-008": true, // status 500
	"scenario-013": true, // a body over the limit
	"scenario-017": true, // an answer that never ends
	"scenario-021": true, // down for longer than MaxStale
	"scenario-036": true, // metadata of another issuer
	"scenario-038": true, // metadata without an issuer
	"scenario-041": true, // metadata that points to a file
}

func TestScenarios(t *testing.T) {
	text, err := os.ReadFile("testdata/corpus/siblings/scenario.json")
	require.NoError(t, err)
	var f struct {
		Schema int        `json:"schema"`
		Format string     `json:"format"`
		Split  string     `json:"split"`
		Doc    string     `json:"doc"`
		Cases  []scenario `json:"cases"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // an unread member would be an unchecked condition
	require.NoError(t, d.Decode(&f))
	require.Len(t, f.Cases, scenarioCases)

	seen := map[string]bool{}
	for _, s := range f.Cases {
		require.NotEmpty(t, s.Steps, s.ID)
		seen[s.ID] = true
		t.Run(s.ID, func(t *testing.T) {
			t.Log(s.Comment)
			synctest.Test(t, func(t *testing.T) { playScenario(t, s) })
		})
	}
	require.Len(t, seen, scenarioCases)
	for id := range noSetToAsk {
		require.True(t, seen[id], id)
	}
}

// stage is one scenario while it plays: its issuers on an in-memory network,
// and a verifier for each of them.
type stage struct {
	scenario
	start     time.Time
	network   *memoryNetwork
	endpoints map[string]*endpoint           // by the issuer's name
	verifiers map[string]*jwtverify.Verifier // by their own or their issuer's name
	issuerOf  map[string]string              // issuer identifier by the verifier's name
}

func playScenario(t *testing.T, s scenario) {
	p := &stage{
		scenario:  s,
		start:     time.Now(),
		network:   newMemoryNetwork(t),
		endpoints: map[string]*endpoint{},
		verifiers: map[string]*jwtverify.Verifier{},
		issuerOf:  map[string]string{},
	}
	for _, i := range s.Issuers {
		e := &endpoint{url: i.Issuer + "/jwks.json", metadata: i.DiscoveryBody}
		e.answer.Store(&scenarioStep{Status: http.StatusOK, JWKS: i.JWKS})
		p.endpoints[i.Name] = e
		p.network.serve(t, strings.TrimPrefix(i.Issuer, "https://"), e)
	}
	for _, i := range s.Issuers {
		config := s.Config
		config.Issuer = i.Issuer
		p.addVerifier(t, i.Name, config)
	}
	for n, step := range s.Steps {
		t.Logf("step %d at %v: %s", n+1, time.Since(p.start), step.Op)
		p.play(t, step)
	}
	require.Zero(t, p.network.foreign.Load(), "no scenario has a reason to connect to any other host")
	for _, e := range p.endpoints {
		require.Less(t, e.padding.Load(), int64(1<<20), "a body over the limit is not read to its end")
	}
}

func (p *stage) addVerifier(t *testing.T, name string, c corpusConfig) {
	require.NotContains(t, p.verifiers, name)
	config := c.verifier(nil)
	config.Now = func() time.Time { return time.Unix(c.Now, 0).Add(time.Since(p.start)) }
	config.JWKS.Client = p.network.client
	config.Logger = slog.New(slog.DiscardHandler)
	for _, i := range p.Issuers {
		// With metadata to read, the verifier is told of nothing but the issuer.
		if i.Issuer == c.Issuer && i.DiscoveryBody == "" {
			config.JWKS.URL = p.endpoints[i.Name].url
		}
	}
	v, err := jwtverify.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	p.verifiers[name] = v
	p.issuerOf[name] = c.Issuer
}

func (p *stage) play(t *testing.T, s scenarioStep) {
	switch s.Op {
	case "verifier":
		p.addVerifier(t, s.Name, *s.VerifierConf)
	case "serve":
		p.endpoints[s.Issuer].answer.Store(&s)
	case "advance":
		time.Sleep(time.Duration(s.Seconds) * time.Second)
		synctest.Wait() // for the refreshes that were due at this very moment
	case "refresh":
		p.refresh(t, s)
	case "verify":
		began := time.Now()
		tok, err := p.verify(t, s.Verifier, s.Token)
		p.judge(t, s.Expect[0], s.Reason, tok, err)
		requireWithin(t, s.MaxMS, began)
	case "concurrent":
		p.concurrent(t, s)
	case "flood":
		p.flood(t, s)
	case "fetches":
		n := p.endpoints[s.Issuer].fetches.Load()
		require.GreaterOrEqual(t, n, *s.Min)
		require.LessOrEqual(t, n, *s.Max)
	case "outbound":
		require.LessOrEqual(t, p.network.foreign.Load(), *s.MaxForeign)
	default:
		require.Fail(t, "the corpus has a new operation", s.Op)
	}
}

// refresh lets the verifiers of an issuer fetch now, and holds them to telling
// whether that worked.
func (p *stage) refresh(t *testing.T, s scenarioStep) {
	e := p.endpoints[s.Issuer]
	before := e.fetches.Load()
	for name, v := range p.verifiers {
		if e.url != p.issuerOf[name]+"/jwks.json" {
			continue
		}
		err := v.Refresh(t.Context())
		if answer := e.answer.Load(); answer.Status == http.StatusOK && answer.JWKS != nil && answer.PadBytes == 0 {
			require.NoError(t, err)
		} else {
			require.Error(t, err)
		}
	}
	require.Greater(t, e.fetches.Load(), before, "a refresh asks the issuer")
}

// verify hands the token to the verifier named, or else to all of them, as a
// service that trusts several issuers does: the one whose issuer the token
// names decides, and every other one must have refused it for its issuer.
func (p *stage) verify(t *testing.T, verifier, token string) (*jwtverify.Token, error) {
	if verifier != "" {
		return p.verifiers[verifier].Verify(t.Context(), token)
	}
	var tok *jwtverify.Token
	err := error(jwtverify.ErrIssuer)
	for _, i := range p.Issuers {
		got, e := p.verifiers[i.Name].Verify(t.Context(), token)
		if len(p.Issuers) == 1 || i.Issuer == claimedIssuer(t, token) {
			tok, err = got, e
			continue
		}
		require.Nil(t, got)
		require.Equal(t, jwtverify.ErrIssuer, jwtverify.ReasonOf(e), "%v", e)
	}
	return tok, err
}

func claimedIssuer(t *testing.T, token string) string {
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	var claims struct{ Iss string }
	require.NoError(t, json.Unmarshal(payload, &claims))
	return claims.Iss
}

func (p *stage) judge(t *testing.T, expect, reason string, tok *jwtverify.Token, err error) {
	t.Helper()
	if expect == "accept" {
		require.NoError(t, err)
		require.NotNil(t, tok)
		return
	}
	require.Equal(t, "reject", expect)
	require.Nil(t, tok, "a refused token must not come out")
	if reason == "unknown_key" && noSetToAsk[p.ID] {
		require.ErrorIs(t, err, jwtverify.ErrUnavailable)
		require.NotErrorIs(t, err, jwtverify.ErrInvalidToken)
		return
	}
	want, ok := corpusReasons[reason]
	require.True(t, ok, "the corpus has a new reason, %q", reason)
	require.ErrorIs(t, err, jwtverify.ErrInvalidToken)
	require.Equal(t, want, jwtverify.ReasonOf(err), "%v", err)
}

func requireWithin(t *testing.T, maxMS int, began time.Time) {
	t.Helper()
	if maxMS > 0 {
		require.LessOrEqual(t, time.Since(began), time.Duration(maxMS)*time.Millisecond)
	}
}

// concurrent sends count tokens at once, taking turns among those given.
func (p *stage) concurrent(t *testing.T, s scenarioStep) {
	require.Len(t, s.Expect, len(s.Tokens))
	only := p.Issuers[0].Name
	e := p.endpoints[only]
	before, began := e.fetches.Load(), time.Now()

	type verdict struct {
		tok *jwtverify.Token
		err error
	}
	verdicts := make([]verdict, s.Count)
	var all sync.WaitGroup
	for n := range verdicts {
		all.Go(func() {
			tok, err := p.verifiers[only].Verify(t.Context(), s.Tokens[n%len(s.Tokens)])
			verdicts[n] = verdict{tok, err}
		})
	}
	all.Wait()
	requireWithin(t, s.MaxMS, began)
	require.LessOrEqual(t, e.fetches.Load()-before, *s.MaxFetches)
	for n, v := range verdicts {
		p.judge(t, s.Expect[n%len(s.Expect)], "unknown_key", v.tok, v.err)
	}
}

// flood sends count tokens that differ in their kid, one after the other.
func (p *stage) flood(t *testing.T, s scenarioStep) {
	e := p.endpoints[p.Issuers[0].Name]
	before := e.fetches.Load()
	for n := range s.Count {
		header, err := json.Marshal(map[string]string{
			"alg": s.Alg,
			"kid": strings.ReplaceAll(s.KidTemplate, "{n}", fmt.Sprint(n)),
		})
		require.NoError(t, err)
		tok, err := p.verify(t, "", base64.RawURLEncoding.EncodeToString(header)+s.TokenSuffix)
		p.judge(t, s.Expect[0], "unknown_key", tok, err)
	}
	synctest.Wait()
	require.LessOrEqual(t, e.fetches.Load()-before, *s.MaxFetches)
}

// endpoint is an issuer: its metadata, and a key set that a scenario changes.
type endpoint struct {
	url      string
	metadata string
	answer   atomic.Pointer[scenarioStep]
	fetches  atomic.Int64
	padding  atomic.Int64 // bytes sent before a body, most in one answer
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/jwks.json":
		e.fetches.Add(1)
		e.serveKeys(w, r)
	case "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server":
		if e.metadata == "" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, strings.ReplaceAll(e.metadata, "{jwks_url}", e.url))
	default:
		http.NotFound(w, r)
	}
}

func (e *endpoint) serveKeys(w http.ResponseWriter, r *http.Request) {
	a := e.answer.Load()
	contentType := a.ContentType
	if contentType == "" {
		contentType = "application/json"
	}
	w.Header().Set("Content-Type", contentType)
	switch a.Behaviour {
	case "":
	case "hang":
		<-r.Context().Done()
		return
	case "drip":
		dripBytes(r.Context(), w)
		return
	default:
		panic("the corpus has a new behaviour: " + a.Behaviour)
	}
	w.WriteHeader(a.Status)
	spaces := bytes.Repeat([]byte(" "), 32<<10)
	for sent := 0; sent < a.PadBytes; sent += len(spaces) {
		if _, err := w.Write(spaces[:min(a.PadBytes-sent, len(spaces))]); err != nil {
			return
		}
		e.padding.Store(max(e.padding.Load(), int64(sent+len(spaces))))
	}
	body := []byte(a.Body)
	if a.JWKS != nil {
		body = a.JWKS
	}
	_, _ = w.Write(body)
}

// dripBytes sends the headers at once and then a byte a second, for ever.
func dripBytes(ctx context.Context, w http.ResponseWriter) {
	flusher := http.NewResponseController(w)
	for {
		if err := flusher.Flush(); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		if _, err := io.WriteString(w, " "); err != nil {
			return
		}
	}
}
