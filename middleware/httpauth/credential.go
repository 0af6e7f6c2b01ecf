package httpauth

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/bearerguard/bearerguard/middleware/bearer"
)

// Token takes the bearer token out of a request's Authorization header, for a
// handler that calls Verify itself. The error is [bearer.ErrNoCredentials] or
// [bearer.ErrMalformedRequest] and for [bearer.Decide]; a request with a second
// credential is malformed (RFC 6750 §2).
func Token(r *http.Request) (string, error) { return new(sources).credential(r) }

// sources are the places of a request where a token may be.
type sources struct{ header, cookie string } // beside Authorization; "": none

// credential is the one credential of a request. What is in a place that is not
// named does not count, but for the query: a token there is one that its client
// meant (RFC 6750 §2.3).
func (s *sources) credential(r *http.Request) (string, error) {
	authorization := r.Header["Authorization"]
	token, err := bearer.Token(authorization)
	found := len(authorization)
	if s.header != "" {
		values := r.Header[s.header]
		if found += len(values); len(values) > 0 {
			token, err = bearer.Bare(values)
		}
	}
	if s.cookie != "" {
		var values []string
		// Not r.CookiesNamed, which leaves out a malformed cookie as if there were none.
		for _, line := range r.Header["Cookie"] {
			for pair := range strings.SplitSeq(line, ";") {
				name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
				if strings.TrimRight(name, " \t") == s.cookie {
					values = append(values, value)
				}
			}
		}
		if found += len(values); len(values) > 0 {
			token, err = bearer.Bare(values)
		}
	}
	if found > 1 || found > 0 && hasAccessToken(r.URL.RawQuery) {
		return "", bearer.ErrMalformedRequest
	}
	return token, err
}

// faults of the names.
func (s *sources) faults() (faults []error) {
	if s.header != "" {
		if !isName(s.header) {
			faults = append(faults, fmt.Errorf("Config.Header is %q: write the name of a header", s.header))
		}
		switch s.header = http.CanonicalHeaderKey(s.header); s.header {
		case "Authorization", "Cookie":
			faults = append(faults, fmt.Errorf("Config.Header is %q: leave it empty for Authorization, and set Cookie for a cookie", s.header))
		}
	}
	if s.cookie != "" && !isName(s.cookie) {
		faults = append(faults, fmt.Errorf("Config.Cookie is %q: write the name of a cookie", s.cookie))
	}
	return faults
}

// isName is a token of RFC 9110 §5.6.2, what headers and cookies are named with.
func isName(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
}

// maxForm is how much of a form is searched: more than a token takes.
const maxForm = 32 << 10

// formToken reports whether a request has a token in a form too (RFC 6750 §2.2). It
// waits for the beginning of the body, and leaves the body whole. It is asked for
// requests with a good token only, so that nobody else is read from.
func formToken(r *http.Request) bool {
	if r.Body == nil || r.Body == http.NoBody {
		return false
	}
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded") {
		return false
	}
	if r.PostForm != nil { // somebody has read the body already
		return r.PostForm.Has("access_token")
	}
	start := make([]byte, maxForm)
	n, err := 0, error(nil)
	for n < len(start) && err == nil { // not io.ReadFull, which says of every short body what a body that was cut off says of itself
		var more int
		more, err = r.Body.Read(start[n:])
		n += more
	}
	start = start[:n]
	rest := r.Body
	r.Body = &rejoined{io.MultiReader(bytes.NewReader(start), failing{err}, rest), rest}
	return hasAccessToken(string(start))
}

// rejoined is a body whose beginning was read already.
type rejoined struct {
	io.Reader
	io.Closer
}

// failing repeats an error of reading once it is its turn: net/http tells of a body
// that was cut off only once. Without one the next reader follows.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

// hasAccessToken reports whether a query or a form has a parameter access_token,
// where no token is taken from (RFC 9700 §4.3.2).
func hasAccessToken(query string) bool {
	if query == "" { // as nearly always
		return false
	}
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if unescaped, err := url.QueryUnescape(name); err == nil && unescaped == "access_token" {
			return true
		}
	}
	return false
}
