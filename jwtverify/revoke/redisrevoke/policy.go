package redisrevoke

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/revoke"
)

// Policy is what a Follower says of tokens while it may have missed that they were
// revoked.
type Policy uint8

// The policies. There is no default: which one is right is not for a library to say.
const (
	// FailClosed: tokens that are not known to be revoked cannot be judged:
	// jwtverify.ErrUnavailable, which an adapter answers with 503. An outage of Redis
	// that is longer than MaxLag is one of the API's.
	FailClosed Policy = iota + 1
	// GoOn: they are let in, which is logged and counted. Whoever can keep Redis from
	// the API can use a token that was revoked meanwhile.
	GoOn
)

const retryAfter = time.Second // about what the next attempt to connect takes

// Check refuses a token that is known to be revoked, with jwtverify.ErrRevoked,
// whatever the state of Redis; what it says of others while the Follower is behind is
// the Policy's. It makes no round trip and takes no lock. It is for jwtverify's
// Config.Checks.
func (f *Follower) Check(ctx context.Context, t *jwtverify.Token) error {
	if f == nil || f.list == nil {
		return fmt.Errorf("%w: the Follower was not made by NewFollower", jwtverify.ErrUnavailable)
	}
	if err := f.list.Check(ctx, t); err != nil {
		return err
	}
	switch {
	case !f.behind():
	case f.policy == GoOn:
		f.unchecked.Add(1)
	default:
		return errBehind
	}
	return nil
}

var errBehind = &jwtverify.Error{
	Reason:     jwtverify.ErrUnavailable,
	Detail:     "the list of revoked tokens may lack some, since Redis cannot be followed",
	RetryAfter: retryAfter,
}

// behind tells whether there may be revocations that are not known here, and have not
// been for longer than MaxLag.
func (f *Follower) behind() bool {
	last := f.confirmed.Load()
	return last == nil || since(*last) > f.maxLag
}

// since is how long ago a moment was, also if the machine slept since, which the
// monotonic clock may not tell, or its clock was set back, which the other does not.
func since(moment time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(moment), now.Round(0).Sub(moment.Round(0)))
}

// Lag is how long ago the Follower last knew that it had everything: all that was
// revoked before is refused. In good times that is at most a third of a second and two
// round trips. Before it has loaded anything, and after Close, it is how long ago it
// was made.
func (f *Follower) Lag() time.Duration {
	if f == nil || f.list == nil {
		return 0
	}
	if last := f.confirmed.Load(); last != nil {
		return since(*last)
	}
	return since(f.made)
}

// Ready waits until the Follower has everything, and then returns nil at once for as
// long as Lag is within MaxLag, whatever the Policy. It is for start-up and for
// readiness probes. The error is jwtverify.ErrUnavailable, when the context ends
// before, or the Follower is closed.
func (f *Follower) Ready(ctx context.Context) error {
	if f == nil || f.list == nil {
		return fmt.Errorf("%w: the Follower was not made by NewFollower", jwtverify.ErrUnavailable)
	}
	for {
		next := *f.next.Load() // before the question, so that none is missed
		if f.ctx.Err() == nil && !f.behind() {
			return nil
		}
		select {
		case <-next:
		case <-f.ctx.Done():
			return fmt.Errorf("%w: %w", jwtverify.ErrUnavailable, errClosed)
		case <-ctx.Done():
			return fmt.Errorf("%w: %w: %s", jwtverify.ErrUnavailable, ctx.Err(), f.trouble())
		}
	}
}

// Status describes a Follower.
type Status struct {
	Behind    bool          // Lag is greater than MaxLag, or nothing was loaded yet
	Lag       time.Duration // see Follower.Lag
	Loads     uint64        // how often all entries were loaded: once, and after each gap
	Changes   uint64        // how many changes came since
	Unchecked uint64        // tokens that were let in while Behind, by GoOn
	LastError string        // the last fault, escaped; empty while there is none
	Evicts    bool          // Redis has a maxmemory-policy of allkeys, and may drop revocations; false where its user may not ask
	List      revoke.Status // what is known here
}

// Status describes the Follower at this moment.
func (f *Follower) Status() Status {
	if f == nil || f.list == nil {
		return Status{Behind: true}
	}
	return Status{
		Behind: f.behind(), Lag: f.Lag(), Loads: f.loads.Load(), Changes: f.changesSeen.Load(),
		Unchecked: f.unchecked.Load(), LastError: f.trouble(), Evicts: f.evicts.Load(), List: f.list.Status(),
	}
}

func (f *Follower) trouble() string {
	if err := f.fault.Load(); err != nil {
		return (*err).Error()
	}
	return ""
}

// report logs changes of state, and once a minute that tokens are let in unchecked. It
// is a goroutine of its own, so that a Logger that hangs stops nothing else.
func (f *Follower) report() {
	var behind, told, evicts bool
	var fault string
	var counted uint64
	var shouted, troubled time.Time
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for f.ctx.Err() == nil {
		s := f.Status()
		switch {
		case s.Behind && f.confirmed.Load() == nil && since(f.made) < f.maxLag: // it has just begun
		case s.Behind && (!behind || f.policy == GoOn && since(shouted) >= time.Minute):
			behind, told, shouted = true, true, time.Now()
			outcome := "tokens are answered with unavailable"
			if f.policy == GoOn {
				outcome = "tokens are let in that may be revoked"
			}
			f.logger.Error("redisrevoke: revocations cannot be followed: "+outcome,
				"lag", s.Lag, "namespace", f.Namespace, "let_in", s.Unchecked-counted, "error", s.LastError)
			counted = s.Unchecked
		case !s.Behind && (behind || !told):
			f.logger.Info("redisrevoke: revocations are followed", "namespace", f.Namespace,
				"entries", s.List.Entries, "let_in", s.Unchecked-counted)
			behind, told, counted = false, true, s.Unchecked
		}
		if s.Evicts && !evicts {
			f.logger.Error("redisrevoke: Redis may drop revocations without a word: give it a maxmemory-policy that is not one of allkeys", "namespace", f.Namespace)
		}
		evicts = s.Evicts
		if s.LastError != fault && s.LastError != "" && since(troubled) >= time.Minute {
			troubled = time.Now()
			f.logger.Warn("redisrevoke: trouble with Redis", "namespace", f.Namespace, "error", s.LastError)
		}
		fault = s.LastError
		select {
		case <-ticker.C:
		case <-f.ctx.Done():
		}
	}
}

// Close ends the following. From then on the Follower is behind. It may be called
// more than once.
func (f *Follower) Close() error {
	if f == nil || f.list == nil {
		return nil
	}
	f.cancel()
	<-f.done
	f.confirmed.Store(nil)
	return nil
}

var errFull = errors.New("redisrevoke: the list is full and lacks revocations: give FollowerConfig.List a greater MaxEntries")
