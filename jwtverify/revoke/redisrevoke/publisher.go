package redisrevoke

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/bearerguard/bearerguard/jwtverify/revoke"
)

// PublisherConfig is how a Publisher is made.
type PublisherConfig struct {
	// Redis is where the revocations are kept. Its user needs the publisher's
	// permissions, see the package's documentation.
	Redis Redis
	// WaitReplicas is how many replicas must have a revocation before Revoke
	// returns nil, so that a fail-over to one of them does not lose it. Zero: none, and
	// a fail-over may lose what was revoked in the moment before it.
	WaitReplicas int
}

// Publisher revokes tokens for all Followers. It is safe for concurrent use.
type Publisher struct {
	*target
	replicas int64
	ctx      context.Context
	cancel   context.CancelFunc
	turns    chan struct{} // as many as there may be sessions
	idle     chan *session
}

const (
	publisherSessions = 4
	perChange         = 32 // entries: readSize changes of the longest have room in a reply
	patience          = 10 * time.Second
)

// NewPublisher makes a Publisher. It connects when it is first used.
func NewPublisher(c PublisherConfig) (*Publisher, error) {
	t, err := c.Redis.resolve()
	if c.WaitReplicas < 0 || c.WaitReplicas > 100 {
		err = errors.Join(err, fmt.Errorf("redisrevoke: Config.WaitReplicas is %d: write how many replicas must have a revocation, or 0", c.WaitReplicas))
	}
	if err != nil {
		return nil, err
	}
	p := &Publisher{
		target: t, replicas: int64(c.WaitReplicas),
		turns: make(chan struct{}, publisherSessions), idle: make(chan *session, publisherSessions),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p, nil
}

// ErrReplicas is the error of a Revoke that Redis took, but of which fewer replicas
// than Config.WaitReplicas have told that they have it. Followers have it all the
// same; to revoke once more does no harm.
var ErrReplicas = errors.New("redisrevoke: fewer replicas than WaitReplicas have the revocation")

// Revoke adds Entries, and returns nil only after Redis took them all; a Follower has
// them a moment later. Whatever the error, some of them may have been taken, and to
// revoke an Entry again does no harm. If an Entry is not valid none is added. As long
// as Redis cannot be reached, or fails over, Revoke tries again: for 10 seconds without
// progress, or until the context ends.
func (p *Publisher) Revoke(ctx context.Context, entries ...revoke.Entry) error {
	if p == nil || p.target == nil {
		return errors.New("redisrevoke: the Publisher was not made by NewPublisher")
	}
	for _, e := range entries {
		if err := e.Validate(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	if err := p.turn(ctx); err != nil {
		return err
	}
	defer func() { <-p.turns }()
	var lacking error
	for len(entries) > 0 {
		n := min(len(entries), perChange)
		switch err := p.insist(ctx, entries[:n]); {
		case errors.Is(err, ErrReplicas):
			lacking = err
		case err != nil:
			return err
		}
		entries = entries[n:]
	}
	return lacking
}

// turn waits until there are few enough others.
func (p *Publisher) turn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case p.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return p.ended(ctx, errors.New("redisrevoke: all connections are in use"))
	}
}

// insist makes one change, for as long as there is a chance.
func (p *Publisher) insist(ctx context.Context, entries []revoke.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for failures := 0; ; failures++ {
		err := p.change(ctx, entries)
		if err == nil || !transient(err) {
			return err
		}
		p.drop() // the other sessions are likely to have ended with this one
		if sleep(ctx, backoff(failures)) != nil {
			return p.ended(ctx, err)
		}
	}
}

// ended is why a Revoke was given up.
func (p *Publisher) ended(ctx context.Context, last error) error {
	if p.ctx.Err() != nil {
		return errClosed
	}
	return fmt.Errorf("%w: %w", ctx.Err(), last)
}

// script makes a change in one step. A change is named by what the version of the
// whole was before and is from then on, so that a follower sees whether it has
// missed one; versions are random, so that two histories never have one in common
// after they parted. Entries that ended ten minutes ago are removed, of which five are
// the leeway that revoke.Entry grants; at most a thousand, to keep nobody waiting. The
// stream grows to about 100,000 changes. No key has a time to live: it would be among
// those that a volatile eviction policy may drop.
const script = `
local ended = redis.call('ZRANGE', KEYS[1], '-inf', redis.call('TIME')[1] - 600, 'BYSCORE', 'LIMIT', 0, 1000)
if #ended > 0 then redis.call('ZREM', KEYS[1], unpack(ended)) end
for i = 2, #ARGV, 2 do redis.call('ZADD', KEYS[1], 'GT', ARGV[i+1], ARGV[i]) end
local from = redis.call('HGET', KEYS[3], 'version') or ''
local id = redis.call('XADD', KEYS[2], 'MAXLEN', '~', 100000, '*', 'from', from, 'to', unpack(ARGV))
redis.call('HSET', KEYS[3], 'version', ARGV[1], 'id', id)
return id`

// change tries once.
func (p *Publisher) change(ctx context.Context, entries []revoke.Entry) (err error) {
	s, err := p.session(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && !errors.Is(err, ErrReplicas) || p.ctx.Err() != nil {
			s.close()
			return
		}
		p.idle <- s
	}()
	defer context.AfterFunc(ctx, s.cancel)()
	ends := make(map[string]int64, len(entries)) // each but once: of two, followers see the last
	for _, e := range entries {
		member, until := encode(e)
		ends[member] = max(ends[member], until)
	}
	args := make([]string, 1, 1+2*len(ends))
	args[0] = rand.Text()
	for member, until := range ends {
		args = append(args, member, strconv.FormatInt(until, 10))
	}
	builder := s.conn.B()
	commands := []rueidis.Completed{builder.Eval().Script(script).Numkeys(3).Key(s.entries, s.changes, s.head).Arg(args...).Build()}
	if p.replicas > 0 {
		commands = append(commands, builder.Wait().Numreplicas(p.replicas).Timeout(s.Timeout.Milliseconds()).Build())
	}
	results, err := s.do(s.Timeout, commands...)
	if err != nil || p.replicas == 0 {
		return err
	}
	if have, err := results[1].AsInt64(); err != nil {
		return err
	} else if have < p.replicas {
		return fmt.Errorf("%w: %d of %d within %v", ErrReplicas, have, p.replicas, s.Timeout)
	}
	return nil
}

func (p *Publisher) session(ctx context.Context) (*session, error) {
	select {
	case s := <-p.idle:
		if s.ctx.Err() == nil {
			return s, nil
		}
		s.close()
	default:
	}
	return openSession(p.ctx, ctx, p.target)
}

// transient tells whether another try may end otherwise: no reply, or one that says
// that a fail-over, a start or a move of keys is going on.
func transient(err error) bool {
	if errors.Is(err, ErrReplicas) {
		return false
	}
	var reply *rueidis.RedisError
	if !errors.As(err, &reply) {
		return true
	}
	word, _, _ := strings.Cut(reply.Error(), " ")
	switch word {
	case "LOADING", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN", "READONLY", "MASTERDOWN", "NOREPLICAS", "UNBLOCKED", "BUSY":
		return true
	}
	return false
}

// Close ends the connections; what Revoke has not finished fails. It may be called
// more than once.
func (p *Publisher) Close() error {
	if p == nil || p.target == nil {
		return nil
	}
	p.cancel()
	p.drop()
	return nil
}

// drop closes the sessions that nobody uses.
func (p *Publisher) drop() {
	for {
		select {
		case s := <-p.idle:
			s.close()
		default:
			return
		}
	}
}
