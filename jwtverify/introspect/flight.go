package introspect

import (
	"context"
	"time"

	"github.com/bearerguard/bearerguard/internal/cache"
	"github.com/bearerguard/bearerguard/internal/fetch"
	"github.com/bearerguard/bearerguard/jwtverify"
)

const (
	maxExchanges = 64              // at once
	maxWaiting   = 1024            // tokens that callers wait for
	maxTurn      = 2 * time.Second // how long an exchange waits for others to end
	maxTry       = time.Second     // how long the caller waits by whose token the endpoint is tried out

	// maxExchange is when one that does not heed its deadline is given up.
	maxExchange = fetch.Timeout + 500*time.Millisecond
	maxLast     = 500 * time.Millisecond // how long that may take, since it tells the log
)

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
	wait, try := i.breaker.look(&sum, time.Now())
	if wait > 0 {
		return verdict{}, unavailable(down, wait)
	}
	f, err := i.join(sum, token)
	if err != nil {
		return verdict{}, err
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

// join takes a caller aboard. Tokens are counted and not callers, or those of one token
// would keep all others out.
func (i *Introspector) join(sum cache.Sum, token string) (*flight, *jwtverify.Error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return nil, unavailable(closed, 0)
	}
	f := i.flights[sum]
	if f == nil || f.waiting == 0 {
		if i.waiting >= maxWaiting {
			return nil, unavailable("too many wait for the introspection endpoint", again)
		}
		i.waiting++
	}
	if f == nil {
		f = &flight{sum: sum, deserted: make(chan struct{}), landed: make(chan struct{})}
		i.flights[sum] = f
		i.work.Go(func() { i.fly(f, token) })
	}
	f.waiting++
	return f, nil
}

func (i *Introspector) leave(f *flight) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if f.waiting--; f.waiting > 0 {
		return
	}
	i.waiting--
	if !f.begun {
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
	case <-f.deserted: // as all are by Close
		return later("nobody waits any more", 0)
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
		hung := &trouble{detail: "the exchange: it went on past its deadline", alone: token != noToken}
		landed = guarded(func() verdict { return i.troubled(&f.sum, pass, hung, time.Now()) })
	}
	timer.Reset(maxLast)
	select {
	case v := <-landed:
		return v
	case <-timer.C:
		return later(down, again)
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

// later is a verdict for all who wait for it, and for nobody else.
func later(detail string, retryAfter time.Duration) verdict {
	return verdict{err: unavailable(detail, retryAfter)}
}
