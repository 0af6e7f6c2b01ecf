package introspect

import (
	"context"
	"log/slog"
	"mime"
	"net/url"
	"time"

	"github.com/bearerguard/bearerguard/internal/cache"
	"github.com/bearerguard/bearerguard/internal/fetch"
)

const (
	again = time.Second // when a token may be asked about again that alone had trouble
	quiet = time.Minute // between complaints of one kind
)

// The kinds of complaints.
const (
	ofConfig = iota
	ofNoAnswer
	ofRepetition
	complaints
)

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
	if token == noToken { // the endpoint has said nothing yet
		return v
	}
	over, ended := i.settle(pass, nil)
	if !over { // or it might stand before what was said since
		i.keep(sum, v, now)
	}
	if ended {
		i.log(slog.LevelInfo, "introspect: the introspection endpoint answers again")
	}
	return v
}

// settle counts an exchange, and reports whether it was over before, since it hung and was
// given up, and whether it ended an outage.
func (i *Introspector) settle(pass *ticket, fault *trouble) (over, ended bool) {
	if fault == nil {
		ended = i.breaker.succeed(pass)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	over = pass.counted
	if pass.counted = true; !over {
		i.status.Exchanges++
	}
	switch {
	case fault == nil:
		i.status.LastError = ""
	case !over:
		i.status.Failures++
		i.status.LastError, i.status.LastErrorAt = fault.detail, time.Now()
		if fault.moved {
			i.lost = !i.fixed
		}
	}
	return over, ended
}

// troubled makes a verdict of trouble. What may be one token's doing is remembered for
// that token; all else is everybody's.
func (i *Introspector) troubled(sum *cache.Sum, pass *ticket, fault *trouble, now time.Time) verdict {
	if over, _ := i.settle(pass, fault); over {
		return later(fault.detail, again)
	}
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
		i.complain(ofConfig, now, "introspect: the introspection endpoint refuses to be asked; look at Config.ClientID, what authenticates it, and Endpoint", "error", fault.detail)
	case fault.alone:
		i.complain(ofNoAnswer, now, "introspect: the introspection endpoint gave no answer about a token", "error", fault.detail)
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
	at, fault := i.find(ctx)
	if fault != nil || token == noToken {
		return verdict{}, fault
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
		if v.token != nil && repeats(text, token) {
			v.until = time.Time{} // or the token would be kept with it
			i.complain(ofRepetition, now, "introspect: the introspection endpoint repeats the token in its answers, which are not kept for that: it is asked each time")
		}
	}
	return v, fault
}

// complain says loudly what is wrong, once in a while.
func (i *Introspector) complain(kind int, now time.Time, text string, args ...any) {
	i.mu.Lock()
	last := i.complained[kind]
	due := last.IsZero() || now.Sub(last) >= quiet
	if due {
		i.complained[kind] = now
	}
	i.mu.Unlock()
	if due {
		i.log(slog.LevelError, text, args...)
	}
}
