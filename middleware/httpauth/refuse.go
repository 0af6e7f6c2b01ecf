package httpauth

import (
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/bearerguard/bearerguard/middleware/bearer"
)

// Refuse answers a request as [Auth.Handler] does, for a handler with a decision of
// its own. err is one of Verify's or of [Token]'s, or [bearer.ErrForbidden]; any
// other counts as an outage.
func (a *Auth) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	(&guard{Guard: a.guard, auth: a}).refuse(w, r, err)
}

// refuse answers a request that is not let in.
func (g *guard) refuse(w http.ResponseWriter, r *http.Request, err error) {
	d := bearer.Decide(err)
	answer := &refusal{ResponseWriter: w, decision: d, challenge: g.Challenge(d)}
	if g.auth.errorHandler != nil {
		g.auth.errorHandler(answer, r, err)
	} else {
		writeBody(answer, r, d)
	}
	answer.WriteHeader(0) // if nobody did
}

// refusal is the answer as an ErrorHandler may shape it: what was decided stands
// whatever it writes.
type refusal struct {
	http.ResponseWriter
	decision  bearer.Decision
	challenge string
	written   bool
}

func (w *refusal) WriteHeader(int) {
	if w.written {
		return
	}
	w.written = true
	h := w.Header()
	for name := range h { // a map knows other spellings than Del does
		switch http.CanonicalHeaderKey(name) {
		case "Cache-Control", "Www-Authenticate", "Retry-After", "X-Content-Type-Options":
			delete(h, name)
		}
	}
	h.Set("Cache-Control", "no-store")
	if w.challenge != "" {
		h.Set("WWW-Authenticate", w.challenge)
	}
	if w.decision.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(w.decision.RetryAfter.Seconds())), 10))
	}
	h.Set("X-Content-Type-Options", "nosniff")
	w.ResponseWriter.WriteHeader(w.decision.Status)
}

func (w *refusal) Write(body []byte) (int, error) {
	w.WriteHeader(0)
	return w.ResponseWriter.Write(body)
}

// writeBody writes problem details (RFC 9457), or plain text for a client that
// would rather have that. All of it is fixed text.
func writeBody(w http.ResponseWriter, r *http.Request, d bearer.Decision) {
	title := http.StatusText(d.Status)
	if prefersText(r.Header["Accept"]) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, title+"\n")
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	_, _ = fmt.Fprintf(w, `{"title":%q,"status":%d,"detail":%q}`+"\n", title, d.Status, d.Detail)
}

// prefersText reports whether a request's Accept (RFC 9110 §12.5.1) puts plain text
// above problem details. A stranger's list is read up to a length that no honest
// one has.
func prefersText(accept []string) bool {
	const most = 1 << 10
	list := strings.Join(accept, ",")
	text, problem := quality{}, quality{}
	for one := range strings.SplitSeq(list[:min(len(list), most)], ",") {
		kind, params, err := mime.ParseMediaType(one)
		if err != nil {
			continue
		}
		weight := 1.0
		if q, ok := params["q"]; ok {
			if weight, err = strconv.ParseFloat(q, 64); err != nil || !(weight >= 0 && weight <= 1) {
				continue
			}
		}
		text.consider(kind, weight, "text/plain", "text/*", "*/*")
		problem.consider(kind, weight, "application/problem+json", "application/json", "application/*", "*/*")
	}
	return text.weight > problem.weight
}

// quality is the weight of the most specific range that was seen for a media type.
type quality struct {
	weight float64
	rank   int // of that range, from 1; 0: none was seen
}

func (q *quality) consider(kind string, weight float64, ranges ...string) {
	for i, r := range ranges {
		if rank := i + 1; kind == r && (q.rank == 0 || rank < q.rank) {
			q.weight, q.rank = weight, rank
		}
	}
}
