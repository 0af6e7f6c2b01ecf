package introspect

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/bearerguard/bearerguard/internal/b64token"
	"github.com/bearerguard/bearerguard/internal/bounded"
	"github.com/bearerguard/bearerguard/internal/cache"
	"github.com/bearerguard/bearerguard/internal/fetch"
	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
)

const maxToken = 16 << 10 // bytes

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

	mu         sync.Mutex // guards what follows; never held during an exchange
	closed     bool
	flights    map[cache.Sum]*flight // those that a caller may join
	waiting    int                   // tokens that callers wait for
	work       sync.WaitGroup
	place      place
	fixed      bool // by the Config
	lost       bool // the endpoint may have moved
	status     Status
	complained [complaints]time.Time
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

// Ready waits until tokens can be asked about: until the endpoint is found in the
// issuer's metadata, and with Config.Signed until the key source, if it has a Ready, is. It is for
// start-up and for readiness probes, and looks no more often than calls of Verify may. An
// Endpoint that the Config names is taken as it is: whether it answers, and takes the
// client, only a token shows. It returns at once while all of that is there, also while
// the endpoint is down. The error, when the context ends or the Introspector is closed, is
// [jwtverify.ErrUnavailable].
func (i *Introspector) Ready(ctx context.Context) error {
	if i == nil || i.ctx == nil {
		return unavailable("the Introspector was not made by New", 0)
	}
	for !i.found() {
		v, err := i.ask(ctx, sumOf(noToken), noToken)
		if err == nil {
			err = v.err // which others have too
		}
		if err == nil {
			break
		}
		pause := time.NewTimer(max(err.RetryAfter, time.Millisecond))
		select {
		case <-pause.C:
		case <-i.ctx.Done():
		case <-ctx.Done():
		}
		pause.Stop()
		switch {
		case i.ctx.Err() != nil:
			return unavailable(closed, 0)
		case ctx.Err() != nil:
			return &outlived{unavailable(cmp.Or(i.Status().LastError, err.Detail), err.RetryAfter), ctx.Err()}
		}
	}
	if i.ctx.Err() != nil {
		return unavailable(closed, 0)
	}
	source, ok := i.keys.(interface{ Ready(context.Context) error })
	if !ok {
		return nil
	}
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(i.ctx, stop)() // Close does not close keys that the Config brought
	err := source.Ready(waiting)
	if i.ctx.Err() != nil {
		return unavailable(closed, 0)
	}
	if err != nil {
		failed := unavailable("the key source: "+bounded.Text(err.Error()), 0)
		if ended := ctx.Err(); ended != nil {
			return &outlived{failed, ended}
		}
		return failed
	}
	return nil
}

// noToken is asked about by who wants no more than that the endpoint is found.
const noToken = ""

// Status is what an operator may want to know of an Introspector. It holds no secret.
type Status struct {
	Endpoint string // that was last asked, or is to be; "" until it was found

	Active  jwtverify.CacheStatus // answers that let a token in; zero where none are kept
	Refused jwtverify.CacheStatus // answers that did not

	Exchanges uint64 // that ended, since the start, with failed looks for the endpoint
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
// no longer than six seconds for one that does not end, since a Transport, a ClientKey, a
// KeySource or a Logger of the Config hangs. Keys that the Config brought stay open. From
// then on Verify and Ready fail with [jwtverify.ErrUnavailable]. It may be called more than
// once.
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

func (i *Introspector) log(level slog.Level, text string, args ...any) {
	i.logger.Log(context.Background(), level, text, append([]any{"issuer", i.issuer}, args...)...)
}

func unavailable(detail string, retryAfter time.Duration) *jwtverify.Error {
	return &jwtverify.Error{Reason: jwtverify.ErrUnavailable, Detail: detail, RetryAfter: retryAfter}
}

// checkError judges what a Check said, as a Verifier does: a Reason is kept, an outage
// before any other; a context's end is nobody's fault; all else is a refusal.
func checkError(err error) *jwtverify.Error {
	reason := jwtverify.ReasonOf(err)
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	judged := &jwtverify.Error{Reason: reason, Detail: "a check: " + bounded.Text(err.Error())}
	switch {
	case errors.Is(err, jwtverify.ErrUnavailable), reason == "" && ended:
		judged.Reason = jwtverify.ErrUnavailable
		var own *jwtverify.Error
		var later interface{ RetryAfter() time.Duration }
		switch {
		case errors.As(err, &own) && own != nil:
			judged.RetryAfter = own.RetryAfter
		case errors.As(err, &later):
			judged.RetryAfter = later.RetryAfter()
		}
	case reason == "":
		judged.Reason = jwtverify.ErrRejected
	}
	return judged
}

// malformed refuses what no issuer needs to be asked about.
func malformed(token string) *jwtverify.Error {
	switch {
	case len(token) > maxToken:
		return &jwtverify.Error{Reason: jwtverify.ErrMalformed, Detail: "larger than 16 KiB"}
	case !b64token.Is(token):
		return &jwtverify.Error{Reason: jwtverify.ErrMalformed, Detail: "not a b64token (RFC 6750 §2.1)"}
	}
	return nil
}
