package introspect

import (
	"context"
	"errors"
	"log/slog"
	"mime"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bearerguard/bearerguard/internal/cache"
	"github.com/bearerguard/bearerguard/internal/discover"
	"github.com/bearerguard/bearerguard/internal/fetch"
	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
)

const (
	maxToken     = 16 << 10        // bytes of a token
	maxExchanges = 64              // at once
	maxWaiting   = 1024            // callers
	maxTurn      = 2 * time.Second // how long an exchange waits for others to end
	maxTry       = time.Second     // how long the caller waits by whose token the endpoint is tried out
	maxFind      = 2 * time.Second // how long the endpoint is looked for
	again        = time.Second     // when a token may be asked about again that alone had trouble
	quiet        = time.Minute     // between complaints of one kind

	// maxExchange is when one that does not heed its deadline is given up.
	maxExchange = fetch.Timeout + 500*time.Millisecond
)

// Introspector asks one issuer about access tokens. It is safe for concurrent use. Close
// it when it is no longer needed.
type Introspector struct {
	issuer, clientID                 string
	audience                         []string
	audienceOptional, issuerRequired bool
	refuseConstrained                bool
	scopes, roles                    [][]string
	leeway, ttl, negative            time.Duration
	checks                           []func(context.Context, *jwtverify.Token) error
	accept                           string // the media type of answers
	logger                           *slog.Logger

	client, finder *fetch.Client
	authenticate   authenticator
	keys           jwtverify.KeySource // of signed answers
	owned          *jwks.Cache         // keys, if Close closes them

	active  *verdicts // nil: none are kept
	refused *verdicts

	ctx     context.Context // ends with Close; every exchange runs under it
	cancel  context.CancelFunc
	breaker breaker
	turns   chan struct{} // one for each exchange under way
	finding chan struct{} // held while the endpoint is looked for
	waiting atomic.Int32  // callers

	mu         sync.Mutex // guards what follows; never held during an exchange
	closed     bool
	flights    map[cache.Sum]*flight // those that a caller may join
	work       sync.WaitGroup
	place      place
	fixed      bool // by the Config
	lost       bool // the endpoint may have moved
	status     Status
	complained [2]time.Time // about the Config, and about answers that are none
}

// place is where the endpoint is.
type place struct {
	url    string
	within fetch.Reach
}

// Verify decides about one token, opaque or not, without any scheme before it. It takes
// the token only if the issuer says, or said no longer than Config.TTL ago, that it is
// active, and if the answer and the Config's Checks allow it. The error is or wraps a
// [*jwtverify.Error] otherwise, and the Token nil. It waits for at most one exchange,
// seven seconds at most and not past the context; an exchange that has begun goes on when
// its caller leaves, for the others who wait and for the next.
func (i *Introspector) Verify(ctx context.Context, token string) (*jwtverify.Token, error) {
	if i == nil || i.ctx == nil {
		return nil, unavailable("the Introspector was not made by New", 0)
	}
	verified, err := i.verify(ctx, token)
	if err != nil {
		if i.logger.Enabled(ctx, slog.LevelDebug) {
			i.logger.LogAttrs(ctx, slog.LevelDebug, "introspect: token refused",
				slog.String("issuer", i.issuer), slog.String("reason", string(err.Reason)), slog.String("detail", err.Detail))
		}
		if ended := ctx.Err(); ended != nil && err.Reason == jwtverify.ErrUnavailable {
			return nil, &outlived{err, ended}
		}
		return nil, err
	}
	return verified, nil
}

// outlived is an Error of a caller whose context has ended, which errors.Is finds too.
type outlived struct {
	refusal *jwtverify.Error
	cause   error
}

func (o *outlived) Error() string { return o.refusal.Error() }

func (o *outlived) Unwrap() []error { return []error{o.refusal, o.cause} }

func (i *Introspector) verify(ctx context.Context, token string) (*jwtverify.Token, *jwtverify.Error) {
	if i.ctx.Err() != nil {
		return nil, unavailable(closed, 0)
	}
	if len(token) > maxToken {
		return nil, malformed(token)
	}
	sum := sumOf(token)
	v, known := i.recall(&sum, time.Now())
	if !known {
		if err := malformed(token); err != nil {
			return nil, err
		}
		var err *jwtverify.Error
		if v, err = i.ask(ctx, sum, token); err != nil {
			return nil, err
		}
	}
	if v.err != nil {
		err := *v.err
		return nil, &err
	}
	t := copied(v.token)
	for _, check := range i.checks {
		if err := check(ctx, t); err != nil {
			return nil, checkError(err)
		}
	}
	return t, nil
}

const closed = "the Introspector is closed"

// ask asks the issuer, together with all others who have the same token.
func (i *Introspector) ask(ctx context.Context, sum cache.Sum, token string) (verdict, *jwtverify.Error) {
	if err := ctx.Err(); err != nil {
		return verdict{}, unavailable("the caller's context has ended", 0)
	}
	// A signed answer is no access token (RFC 9701 §8.1), whatever the issuer says to
	// one that comes as such.
	if isSignedAnswer(token) {
		return verdict{}, &jwtverify.Error{Reason: jwtverify.ErrType, Detail: "it is an introspection response"}
	}
	wait, try := i.breaker.look(time.Now())
	if wait > 0 {
		return verdict{}, unavailable(down, wait)
	}
	defer i.waiting.Add(-1)
	if i.waiting.Add(1) > maxWaiting {
		return verdict{}, unavailable("too many wait for the introspection endpoint", again)
	}
	f := i.join(sum, token)
	if f == nil {
		return verdict{}, unavailable(closed, 0)
	}
	defer i.leave(f)
	most := maxTurn + fetch.Timeout
	if try {
		most = maxTry
	}
	patience := time.NewTimer(most)
	defer patience.Stop()
	select {
	case <-f.landed:
		return f.verdict, nil
	case <-patience.C:
		return verdict{}, unavailable(down, again)
	case <-ctx.Done():
		return verdict{}, unavailable("the caller stopped waiting for the introspection endpoint", 0)
	case <-i.ctx.Done():
		return verdict{}, unavailable(closed, 0)
	}
}

const down = "the introspection endpoint cannot be asked at the moment"

// flight is what all wait for who ask about one token at the same time.
type flight struct {
	sum      cache.Sum
	deserted chan struct{} // closed when the last caller leaves before the exchange began
	landed   chan struct{} // closed when there is a verdict
	verdict  verdict

	waiting int  // callers; guarded by the Introspector's mu, as is what follows
	begun   bool // its exchange, which then goes on, whoever leaves
}

// join takes a caller aboard; nil once the Introspector is closed. Since a flight that
// waits for its turn has callers there are no more of those than may wait.
func (i *Introspector) join(sum cache.Sum, token string) *flight {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return nil
	}
	f := i.flights[sum]
	if f == nil {
		f = &flight{sum: sum, deserted: make(chan struct{}), landed: make(chan struct{})}
		i.flights[sum] = f
		i.work.Go(func() { i.fly(f, token) })
	}
	f.waiting++
	return f
}

func (i *Introspector) leave(f *flight) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if f.waiting--; f.waiting == 0 && !f.begun {
		close(f.deserted)
		i.forget(f)
	}
}

func (i *Introspector) forget(f *flight) {
	if i.flights[f.sum] == f {
		delete(i.flights, f.sum)
	}
}

// fly waits for a flight's turn, and then for its exchange.
func (i *Introspector) fly(f *flight, token string) {
	f.verdict = i.turn(f, token)
	i.mu.Lock()
	i.forget(f)
	i.mu.Unlock()
	close(f.landed)
}

func (i *Introspector) turn(f *flight, token string) verdict {
	timer := time.NewTimer(maxTurn)
	defer timer.Stop()
	select {
	case i.turns <- struct{}{}:
	case <-timer.C:
		return later("too many exchanges with the introspection endpoint are under way", again)
	case <-f.deserted:
		return later("nobody waits any more", 0)
	case <-i.ctx.Done():
		return later(closed, 0)
	}
	i.mu.Lock()
	f.begun = f.waiting > 0
	i.mu.Unlock()
	if !f.begun {
		<-i.turns
		return later("nobody waits any more", 0)
	}
	v, known := i.recall(&f.sum, time.Now()) // since the caller looked
	if known {
		<-i.turns
		return v
	}
	pass, wait := i.breaker.enter(time.Now())
	if wait > 0 {
		<-i.turns
		return later(down, wait)
	}
	landed := guarded(func() verdict {
		defer func() { <-i.turns }() // one that hangs keeps its turn: there are never more of them
		defer i.breaker.release(pass)
		return i.exchange(&f.sum, pass, token)
	})
	timer.Reset(maxExchange)
	select {
	case v := <-landed:
		return v
	case <-timer.C: // what the Config brought does not heed the context
		hung := &trouble{detail: "the exchange: it went on past its deadline", alone: true}
		return <-guarded(func() verdict { return i.troubled(&f.sum, pass, hung, time.Now()) })
	}
}

// guarded calls what calls what the Config brought, which may panic or end its
// goroutine where nobody could recover.
func guarded(f func() verdict) <-chan verdict {
	landed := make(chan verdict, 1)
	go func() {
		v := later("the exchange with the introspection endpoint ended its goroutine", again)
		defer func() {
			if recover() != nil {
				v.err.Detail = "the exchange with the introspection endpoint panicked"
			}
			landed <- v
		}()
		v = f()
	}()
	return landed
}

// exchange asks the endpoint, and keeps what it says.
func (i *Introspector) exchange(sum *cache.Sum, pass *ticket, token string) verdict {
	v, fault := i.introspect(token)
	now := time.Now()
	if i.ctx.Err() != nil {
		return later(closed, 0)
	}
	if fault != nil {
		return i.troubled(sum, pass, fault, now)
	}
	if i.settle(pass, nil) {
		i.log(slog.LevelInfo, "introspect: the introspection endpoint answers again")
	}
	i.keep(sum, v, now)
	return v
}

// settle counts an exchange, and reports whether it ended an outage.
func (i *Introspector) settle(pass *ticket, fault *trouble) (ended bool) {
	if fault == nil {
		ended = i.breaker.succeed(pass)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status.Exchanges++
	if fault == nil {
		i.status.LastError = ""
		return ended
	}
	i.status.Failures++
	i.status.LastError, i.status.LastErrorAt = fault.detail, time.Now()
	if fault.moved {
		i.lost = !i.fixed
	}
	return ended
}

// troubled makes a verdict of trouble. What may be one token's doing is remembered for
// that token; all else is everybody's.
func (i *Introspector) troubled(sum *cache.Sum, pass *ticket, fault *trouble, now time.Time) verdict {
	i.settle(pass, fault)
	var row int
	var wait time.Duration
	switch {
	case fault.refused: // it lives, but so may say what stands before a dead one
		i.breaker.release(pass)
	case fault.alone:
		row, wait = i.breaker.suspect(sum, pass, now, fault.retryAfter)
	default:
		row, wait = i.breaker.fail(pass, now, fault.retryAfter)
	}
	v := later(fault.detail, wait)
	if fault.alone {
		pause := max(again, min(fault.retryAfter, longestRest))
		v.err.RetryAfter = max(pause, wait)
		v.until, v.bytes = now.Add(pause), refusalSize+int64(len(fault.detail))
		i.keep(sum, v, now)
	}
	if row > 0 {
		// A kept connection may lead to where nobody answers any more.
		i.client.Close()
	}
	switch {
	case fault.config:
		i.complain(0, now, "introspect: the introspection endpoint refuses to be asked; look at Config.ClientID, what authenticates it, and Endpoint", fault)
	case fault.alone:
		i.complain(1, now, "introspect: the introspection endpoint gave no answer about a token", fault)
	}
	if row == 1 {
		i.log(slog.LevelWarn, "introspect: the introspection endpoint cannot be asked", "error", fault.detail)
	}
	return v
}

// introspect makes one exchange, five seconds long at most.
func (i *Introspector) introspect(token string) (verdict, *trouble) {
	ctx, cancel := context.WithTimeout(i.ctx, fetch.Timeout)
	defer cancel()
	at, err := i.find(ctx)
	if err != nil {
		return verdict{}, &trouble{detail: "no endpoint: " + printable(err.Error()), retryAfter: fetch.RetryAfter(err)}
	}
	form := fetch.Form{
		URL: at.url, Within: at.within, Accept: i.accept,
		Values: url.Values{"token": {token}, "token_type_hint": {"access_token"}},
	}
	if err := i.authenticate(&form); err != nil {
		return verdict{}, &trouble{detail: "Config.ClientKey: " + err.Error()}
	}
	asked := time.Now()
	res, err := i.client.Post(ctx, form)
	if err != nil {
		return verdict{}, exchangeFault(err)
	}
	now := time.Now()
	text := res.Body
	// The media type decides what the body is (RFC 9701 §4): the issuer's JWTs and its
	// JSON are not for each other's readers.
	if is, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err != nil || is != i.accept {
		return verdict{}, noAnswer("its media type is not " + i.accept)
	}
	if i.accept == signedAnswer {
		if text, err = i.open(ctx, text, now); err != nil {
			return verdict{}, noAnswer("the JWT: " + err.Error())
		}
	}
	v, fault := i.judge(text, now)
	if fault == nil {
		// The issuer may have found out long before the answer was here.
		v.until = v.until.Add(asked.Sub(now))
	}
	return v, fault
}

// find finds the endpoint. One that has moved is looked for anew; while that fails the
// old one is asked.
func (i *Introspector) find(ctx context.Context) (place, error) {
	i.mu.Lock()
	at, known := i.place, i.place.url != "" && !i.lost
	i.mu.Unlock()
	if known {
		return at, nil
	}
	select {
	case i.finding <- struct{}{}:
	case <-ctx.Done():
		return place{}, ctx.Err()
	}
	defer func() { <-i.finding }()
	i.mu.Lock()
	at, known = i.place, i.place.url != "" && !i.lost
	i.mu.Unlock()
	if known { // somebody else found it meanwhile
		return at, nil
	}
	// Where no metadata can be had there must be time left to ask the old endpoint.
	ctx, cancel := context.WithTimeout(ctx, maxFind)
	defer cancel()
	url, reach, err := discover.Find(ctx, i.finder, i.issuer, "introspection_endpoint")
	if err != nil && at.url == "" {
		return place{}, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err == nil {
		i.place = place{url, reach}
	}
	i.lost = false
	return i.place, nil
}

// complain says loudly what is wrong, once in a while.
func (i *Introspector) complain(kind int, now time.Time, text string, fault *trouble) {
	i.mu.Lock()
	last := i.complained[kind]
	due := last.IsZero() || now.Sub(last) >= quiet
	if due {
		i.complained[kind] = now
	}
	i.mu.Unlock()
	if due {
		i.log(slog.LevelError, text, "error", fault.detail)
	}
}

func (i *Introspector) log(level slog.Level, text string, args ...any) {
	i.logger.Log(context.Background(), level, text, append([]any{"issuer", i.issuer}, args...)...)
}

// Status is what an operator may want to know of an Introspector. It holds no secret.
type Status struct {
	Endpoint string // that was last asked, or is to be; "" until it was found

	Active  jwtverify.CacheStatus // answers that let a token in; zero where none are kept
	Refused jwtverify.CacheStatus // answers that did not

	Exchanges uint64 // with the endpoint that ended, since the start
	Failures  uint64 // of those, without an answer

	Down    bool      // calls are kept from an endpoint that failed for everyone
	NextTry time.Time // when the next calls try it again, if it is down

	LastError   string    // of the last exchange; "" if it brought an answer
	LastErrorAt time.Time // of the last exchange that failed, since the start

	Keys jwks.Status // of signed answers; zero where the key source has none to give
}

// Status describes the Introspector at this moment.
func (i *Introspector) Status() Status {
	if i == nil || i.ctx == nil {
		return Status{}
	}
	i.mu.Lock()
	status := i.status
	status.Endpoint = i.place.url
	i.mu.Unlock()
	i.breaker.mu.Lock()
	if status.Down = i.breaker.failures > 0; status.Down {
		status.NextTry = i.breaker.until
	}
	i.breaker.mu.Unlock()
	if i.active != nil {
		status.Active = jwtverify.CacheStatus(i.active.Status())
	}
	status.Refused = jwtverify.CacheStatus(i.refused.Status())
	if source, ok := i.keys.(interface{ Status() jwks.Status }); ok {
		status.Keys = source.Status()
	}
	return status
}

// Close ends exchanges under way and waits for them, and forgets what was kept. It waits
// no longer than six seconds for one that does not end, since a Transport, a ClientKey or
// a KeySource of the Config hangs. Keys that the Config brought stay open. From then on Verify fails with
// [jwtverify.ErrUnavailable]. It may be called more than once.
func (i *Introspector) Close() error {
	if i == nil || i.ctx == nil {
		return nil
	}
	i.mu.Lock()
	i.closed = true
	i.mu.Unlock()
	i.cancel()
	i.work.Wait()
	for _, kept := range []*verdicts{i.active, i.refused} {
		if kept != nil {
			kept.Drop(func(*verdict) bool { return true })
		}
	}
	i.client.Close()
	i.finder.Close()
	if i.owned == nil {
		return nil
	}
	return i.owned.Close()
}

func unavailable(detail string, retryAfter time.Duration) *jwtverify.Error {
	return &jwtverify.Error{Reason: jwtverify.ErrUnavailable, Detail: detail, RetryAfter: retryAfter}
}

// later is a verdict for all who wait for it, and for nobody else.
func later(detail string, retryAfter time.Duration) verdict {
	return verdict{err: unavailable(detail, retryAfter)}
}

// checkError judges what a Check said, as a Verifier does: a Reason is kept, an outage
// before any other; a context's end is nobody's fault; all else is a refusal.
func checkError(err error) *jwtverify.Error {
	reason := jwtverify.ReasonOf(err)
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	judged := &jwtverify.Error{Reason: reason, Detail: "a check: " + printable(err.Error())}
	switch {
	case errors.Is(err, jwtverify.ErrUnavailable), reason == "" && ended:
		judged.Reason = jwtverify.ErrUnavailable
		var own *jwtverify.Error
		if errors.As(err, &own) && own != nil {
			judged.RetryAfter = own.RetryAfter
		}
	case reason == "":
		judged.Reason = jwtverify.ErrRejected
	}
	return judged
}

// printable escapes and cuts text that may hold a stranger's words.
func printable(text string) string {
	const most = 300
	if len(text) > most {
		text = text[:most] + "…"
	}
	quoted := strconv.QuoteToGraphic(strings.ToValidUTF8(text, "?"))
	return quoted[1 : len(quoted)-1]
}

// malformed refuses what no issuer needs to be asked about.
func malformed(token string) *jwtverify.Error {
	switch {
	case len(token) > maxToken:
		return &jwtverify.Error{Reason: jwtverify.ErrMalformed, Detail: "larger than 16 KiB"}
	case !isB64Token(token):
		return &jwtverify.Error{Reason: jwtverify.ErrMalformed, Detail: "not a b64token (RFC 6750 §2.1)"}
	}
	return nil
}

// isB64Token is RFC 6750 §2.1: 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" )
// *"=".
func isB64Token(s string) bool {
	s = strings.TrimRight(s, "=")
	ok := s != ""
	for n := range len(s) {
		ok = ok && b64Alphabet[s[n]]
	}
	return ok
}

var b64Alphabet = func() (in [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/") {
		in[c] = true
	}
	return in
}()
