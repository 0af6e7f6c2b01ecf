package httpauth_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/middleware/bearer"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

func TestARefusalIsProblemDetailsUnlessTheClientAsksForText(t *testing.T) {
	_, v := setup(t)
	handler := newAuth(t, httpauth.Config{Verifier: v}).Handler(whoami)
	const problem, text = "application/problem+json", "text/plain; charset=utf-8"
	for accept, want := range map[string]string{
		"":                                   problem,
		"*/*":                                problem,
		"text/plain":                         text,
		"Text/Plain; charset=utf-8":          text,
		"text/*":                             text,
		"application/json":                   problem,
		"application/json, text/plain":       problem,
		"application/json, text/plain;q=1":   problem,
		"text/plain, application/json;q=0.9": text,
		"text/plain;q=0.1, application/problem+json;q=0.2":                    problem,
		"text/plain, */*;q=0.5":                                               text,
		"application/problem+json;q=0.1, */*;q=0.5":                           text,
		"text/plain;q=0, */*":                                                 problem,
		"*/*;q=0.1, text/html":                                                problem,
		"text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8":  problem,
		"application/*;q=0.2, text/plain;q=0.3, application/problem+json;q=1": problem,
		"text/plain;q=NaN":                                                    problem,
		"text/plain;q=2":                                                      problem,
		"text/plain;q=-1":                                                     problem,
		"text/plain;q":                                                        problem,
		"\"\\\x01;;;=,,,,":                                                    problem,
		strings.Repeat("a/b,", 300) + "text/plain":                            problem, // read to a length that no honest list has
	} {
		got := request(t, handler, func(r *http.Request) {
			if accept != "" {
				r.Header.Set("Accept", strings.ReplaceAll(accept, "\x01", "\x80"))
			}
		})
		require.Equal(t, 401, got.status)
		require.Equal(t, want, got.header.Get("Content-Type"), accept)
		if want == text {
			require.Equal(t, "Unauthorized\n", got.body)
			continue
		}
		var body struct {
			Title  string
			Status int
			Detail string
		}
		d := json.NewDecoder(strings.NewReader(got.body))
		d.DisallowUnknownFields()
		require.NoError(t, d.Decode(&body))
		require.Equal(t, "Unauthorized", body.Title)
		require.Equal(t, 401, body.Status)
		require.Equal(t, bearer.Decide(bearer.ErrNoCredentials).Detail, body.Detail)
	}
}

func TestAcceptMayStandInSeveralLines(t *testing.T) {
	_, v := setup(t)
	got := request(t, newAuth(t, httpauth.Config{Verifier: v}).Handler(whoami), all(header("Accept", "text/html"), header("Accept", "text/plain")))
	require.Equal(t, "Unauthorized\n", got.body)
}

func TestEveryRefusalsBodyIsJSONOfItsOwnStatus(t *testing.T) {
	_, v := setup(t)
	auth := newAuth(t, httpauth.Config{Verifier: v})
	for _, err := range []error{
		bearer.ErrNoCredentials, bearer.ErrMalformedRequest, bearer.ErrForbidden, bearer.ErrStreamExpired,
		jwtverify.ErrExpired, jwtverify.ErrUnavailable, errors.New("x\"y\n"),
	} {
		got := request(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { auth.Refuse(w, r, err) }), nil)
		var body map[string]any
		require.NoError(t, json.Unmarshal([]byte(got.body), &body))
		require.Equal(t, float64(got.status), body["status"])
		require.Equal(t, http.StatusText(got.status), body["title"])
		require.NotContains(t, got.body, "x\\\"y")
		require.Equal(t, "no-store", got.header.Get("Cache-Control"))
		require.Equal(t, got.status == 503, got.header.Get("Retry-After") == "1")
		require.Equal(t, got.status != 503, got.header.Get("WWW-Authenticate") != "")
	}
}

// What an ErrorHandler does by mistake must not let anybody in, nor take a client
// the challenge away.
func TestAnErrorHandlerWritesTheBodyAndDecidesNothing(t *testing.T) {
	issuer, v := setup(t)
	expired := with(issuer.Token(jwttest.Claims{"exp": 1}))
	plain := request(t, newAuth(t, httpauth.Config{Verifier: v}).Handler(whoami), expired)
	for name, handle := range map[string]func(http.ResponseWriter, *http.Request, error){
		"nothing":            func(http.ResponseWriter, *http.Request, error) {},
		"a body":             func(w http.ResponseWriter, _ *http.Request, _ error) { _, _ = io.WriteString(w, "no") },
		"another status":     func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(200) },
		"two statuses":       func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(500); w.WriteHeader(200) },
		"an error":           func(w http.ResponseWriter, _ *http.Request, _ error) { http.Error(w, "no", 500) },
		"a redirect":         func(w http.ResponseWriter, r *http.Request, _ error) { http.Redirect(w, r, "/login", http.StatusFound) },
		"headers of its own": func(w http.ResponseWriter, _ *http.Request, _ error) { w.Header().Set("X-Own", "1") },
		"our headers": func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.Header().Set("Cache-Control", "public")
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(200)
		},
		"our headers in another spelling": func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.Header()["www-authenticate"] = []string{"Basic"}
			w.Header()["cache-control"] = []string{"public"}
			w.Header()["RETRY-AFTER"] = []string{"1"}
			w.Header()["x-content-type-options"] = []string{"sniff"}
		},
		"an early hint":    func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(103) },
		"no body":          func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(204) },
		"another protocol": func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(101) },
		"what the server can do": func(w http.ResponseWriter, _ *http.Request, _ error) {
			_, _, _ = http.NewResponseController(w).Hijack()
			_ = http.NewResponseController(w).Flush()
		},
		"no headers": func(w http.ResponseWriter, _ *http.Request, _ error) {
			clear(w.Header())
		},
	} {
		t.Run(name, func(t *testing.T) {
			var told error
			auth := newAuth(t, httpauth.Config{Verifier: v, ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
				told = err
				handle(w, r, err)
			}})
			got := request(t, auth.Handler(whoami), expired)
			require.Equal(t, jwtverify.ErrExpired, jwtverify.ReasonOf(told))
			require.Equal(t, 401, got.status)
			for _, decided := range []string{"WWW-Authenticate", "Cache-Control", "Retry-After", "X-Content-Type-Options"} {
				require.Equal(t, plain.header.Values(decided), got.header.Values(decided))
			}
			require.Equal(t, name == "headers of its own", got.header.Get("X-Own") == "1")
			if name == "a body" {
				require.Equal(t, "no", got.body)
			}
		})
	}
}

func TestAnOutageHasNoChallengeWhateverAnErrorHandlerSays(t *testing.T) {
	_, v := setup(t)
	auth := newAuth(t, httpauth.Config{Verifier: v, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
		w.Header().Set("WWW-Authenticate", "Basic")
	}})
	got := request(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { auth.Refuse(w, r, jwtverify.ErrUnavailable) }), nil)
	require.Equal(t, 503, got.status)
	require.Empty(t, got.header.Values("WWW-Authenticate"))
}

// net/http writes a line into its log for each status beyond the first, which a
// stranger could make it do for each request.
func TestARefusalHasOneStatus(t *testing.T) {
	_, v := setup(t)
	auth := newAuth(t, httpauth.Config{Verifier: v, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
		w.WriteHeader(500)
		_, _ = io.WriteString(w, "no")
		w.WriteHeader(200)
	}})
	w := &statuses{ResponseWriter: httptest.NewRecorder()}
	auth.Handler(whoami).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Equal(t, []int{401}, w.all)
}

type statuses struct {
	http.ResponseWriter
	all []int
}

func (s *statuses) WriteHeader(status int) {
	s.all = append(s.all, status)
	s.ResponseWriter.WriteHeader(status)
}

func TestAPreflightPassesOnlyWhereThatIsAskedFor(t *testing.T) {
	issuer, v := setup(t)
	open := newAuth(t, httpauth.Config{Verifier: v, PassPreflight: true})
	options := func(r *http.Request) { r.Method = http.MethodOptions }
	preflight := all(options, header("Origin", "https://app.example.com"), header("Access-Control-Request-Method", "PUT"))
	scoped := open.Require(jwtverify.Scopes("read"))(whoami)
	for name, c := range map[string]struct {
		handler http.Handler
		change  func(*http.Request)
		status  int
	}{
		"by default":                {newAuth(t, httpauth.Config{Verifier: v}).Handler(whoami), preflight, 401},
		"asked for":                 {open.Handler(whoami), preflight, 200},
		"with a rule":               {scoped, preflight, 200},
		"another method":            {open.Handler(whoami), all(preflight, func(r *http.Request) { r.Method = http.MethodGet }), 401},
		"without an origin":         {open.Handler(whoami), all(options, header("Access-Control-Request-Method", "PUT")), 401},
		"without a method":          {open.Handler(whoami), all(options, header("Origin", "https://app.example.com")), 401},
		"with a bad token":          {open.Handler(whoami), all(preflight, with(issuer.Token(jwttest.Claims{"exp": 1}))), 401},
		"with a malformed token":    {open.Handler(whoami), all(preflight, header("Authorization", "Bearer")), 400},
		"an outer token is no help": {outer(&jwtverify.Token{Subject: "mallory"}, open.Handler(whoami)), preflight, 200},
	} {
		t.Run(name, func(t *testing.T) {
			got := request(t, c.handler, c.change)
			require.Equal(t, c.status, got.status)
			if got.status == 200 {
				require.Equal(t, "nobody", got.body)
			}
		})
	}
}
