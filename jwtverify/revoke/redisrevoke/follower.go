package redisrevoke

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/bearerguard/bearerguard/jwtverify/revoke"
)

// FollowerConfig is how a Follower is made.
type FollowerConfig struct {
	// Redis is where the revocations are kept. Its user needs the follower's
	// permissions, see the package's documentation.
	Redis Redis
	// WhenBehind is what happens to tokens when Lag is greater than MaxLag, and until
	// all entries were loaded once. Required.
	WhenBehind Policy
	// MaxLag is at least a second. Zero: 5 seconds.
	MaxLag time.Duration
	// List is where revocations are kept in this process; it may be asked, and added
	// to, beside the Follower. Nil: a list with revoke's defaults, which has room for
	// 1,000,000 entries. A list that is full makes the Follower behind.
	List *revoke.List
	// Logger is told of changes of state, and once a minute at most that tokens are
	// let in unchecked. Nil: slog.Default().
	Logger *slog.Logger
}

// Follower keeps a list of revoked tokens like the one in Redis. It is safe for
// concurrent use.
type Follower struct {
	*target
	list   *revoke.List
	policy Policy
	maxLag time.Duration
	logger *slog.Logger
	made   time.Time
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}

	confirmed   atomic.Pointer[time.Time] // a moment at which we had everything
	next        atomic.Pointer[chan struct{}]
	fault       atomic.Pointer[error]
	loads       atomic.Uint64
	changesSeen atomic.Uint64
	unchecked   atomic.Uint64
	evicts      atomic.Bool

	// What follows belongs to the goroutine of follow.
	version  string    // of what we have
	position string    // in the stream
	loaded   bool      // all that was there at some version
	lacking  error     // why we do not have all that we have seen
	again    time.Time // when to load again for that
}

const (
	heartbeat = 250 * time.Millisecond // how long Redis waits for a change before it answers that there is none: in fact up to 0.1 s longer
	pageSize  = 1000                   // of entries, while loading
	readSize  = 400                    // of changes
)

// NewFollower starts a Follower and does not wait for Redis: see Ready.
func NewFollower(c FollowerConfig) (*Follower, error) {
	t, err := c.Redis.resolve()
	faults := []error{err}
	if c.WhenBehind != FailClosed && c.WhenBehind != GoOn {
		faults = append(faults, errors.New("redisrevoke: Config.WhenBehind is required: write FailClosed to answer 503 while Redis cannot be followed, or GoOn to let tokens in that may be revoked"))
	}
	if c.MaxLag == 0 {
		c.MaxLag = 5 * time.Second
	}
	if c.MaxLag < time.Second {
		faults = append(faults, fmt.Errorf("redisrevoke: Config.MaxLag is %v: write at least time.Second, since Redis is asked three times a second, or 0 for 5s", c.MaxLag))
	}
	if c.List == nil {
		c.List, err = revoke.New(revoke.Config{})
	} else {
		err = c.List.Revoke() // nothing: does it work?
	}
	if err := errors.Join(append(faults, err)...); err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	f := &Follower{
		target: t, list: c.List, policy: c.WhenBehind, maxLag: c.MaxLag, logger: c.Logger,
		made: time.Now(), done: make(chan struct{}), position: "0-0",
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	first := make(chan struct{})
	f.next.Store(&first)
	go f.follow()
	go f.report()
	return f, nil
}

// follow goes from session to session.
func (f *Follower) follow() {
	defer close(f.done)
	for failures := 0; f.ctx.Err() == nil; failures++ {
		before, began := f.confirmed.Load(), time.Now()
		err := f.session()
		if f.ctx.Err() != nil {
			return
		}
		f.fault.Store(&err)
		if f.confirmed.Load() != before && time.Since(began) > time.Second { // not one that ends each time it begins
			failures = 0
		}
		_ = sleep(f.ctx, backoff(failures))
	}
}

// session follows until the first fault of a connection. What we have, and up to
// which version, outlives it.
func (f *Follower) session() error {
	s, err := openSession(f.ctx, f.ctx, f.target)
	if err != nil {
		return err
	}
	defer s.close()
	if err := f.askWhetherItEvicts(s); err != nil {
		return err
	}
	var goal *head // what we must have applied to have all that there was when it was seen
	for {
		if !f.loaded || f.lacking != nil && time.Now().After(f.again) {
			if err := f.load(s); err != nil {
				return err
			}
			goal = nil
		}
		wait := time.Duration(0)
		if goal == nil {
			last, err := s.look()
			if err != nil {
				return err
			}
			if last.version == f.version {
				f.confirm(last.seen)
				wait = heartbeat
			} else {
				goal = &last // one that moved on with each look would never be reached
			}
		}
		changes, err := s.changesAfter(f.position, wait)
		if err != nil {
			if errors.Is(err, errReply) { // who loads begins behind the change that cannot be read
				f.loaded = false
			}
			return err
		}
		missed := len(changes) == 0 && goal != nil // which should have been among them
		for _, change := range changes {
			if missed = change.FieldValues["from"] != f.version; missed {
				break
			}
			if f.apply(change); goal != nil && f.version == goal.version {
				f.confirm(goal.seen)
				goal = nil
			}
		}
		if missed {
			// The stream was trimmed, Redis was flushed, or it forgot changes
			// that it had told us. What we know stays; what we lack is loaded,
			// and not by all followers at once.
			f.loaded = false
			if err := sleep(f.ctx, 50*time.Millisecond+rand.N(200*time.Millisecond)); err != nil {
				return err
			}
		}
	}
}

// askWhetherItEvicts asks whether Redis may drop keys that have no time to live. Where
// the user may not ask, it does not say so.
func (f *Follower) askWhetherItEvicts(s *session) error {
	if _, err := s.look(); err != nil { // in a cluster, this makes it the node that has the keys
		return err
	}
	results, err := s.do(0, s.conn.B().Info().Section("memory").Build())
	var reply *rueidis.RedisError
	if errors.As(err, &reply) {
		f.evicts.Store(false)
		return nil
	}
	if err != nil {
		return err
	}
	text, _ := results[0].ToString()
	f.evicts.Store(strings.Contains(text, "maxmemory_policy:allkeys-"))
	return nil
}

// confirm remembers a moment at which we had everything.
func (f *Follower) confirm(moment time.Time) {
	if f.lacking != nil {
		return
	}
	f.confirmed.Store(&moment)
	f.fault.Store(nil)
	next := make(chan struct{})
	close(*f.next.Swap(&next))
}

// apply adds what a change says.
func (f *Follower) apply(change rueidis.XRangeEntry) {
	for member, score := range change.FieldValues {
		if member != "from" && member != "to" {
			f.add(member, score)
		}
	}
	f.version, f.position = change.FieldValues["to"], change.ID
	f.changesSeen.Add(1)
}

// add adds an entry as it stands in Redis. One that cannot be added makes us behind
// until all could be loaded.
func (f *Follower) add(member, score string) {
	entry, err := decode(member, score)
	if err == nil {
		err = f.list.Revoke(entry)
	}
	if err == nil {
		return
	}
	if errors.Is(err, revoke.ErrFull) {
		err = errFull
	} else {
		err = fmt.Errorf("redisrevoke: %w: was it written by a newer one?", err)
	}
	if f.lacking == nil {
		f.lacking, f.again = err, time.Now().Add(15*time.Second+rand.N(15*time.Second))
	}
	f.fault.Store(&err)
}

// load adds all entries. Those that are added meanwhile are in the changes after the
// head that was looked at before.
func (f *Follower) load(s *session) error {
	head, err := s.look()
	if err != nil {
		return err
	}
	f.loaded, f.lacking = false, nil
	for cursor := uint64(0); ; {
		page, err := s.page(cursor)
		if err != nil {
			return err
		}
		for i := 0; i+1 < len(page.Elements); i += 2 {
			f.add(page.Elements[i], page.Elements[i+1])
		}
		if cursor = page.Cursor; cursor == 0 {
			break
		}
	}
	f.version, f.position, f.loaded = head.version, head.id, true
	f.loads.Add(1)
	f.confirm(head.seen)
	return nil
}

// head is the last change: the version that it made, and its place in the stream.
type head struct {
	version, id string
	seen        time.Time // not later than it was the last one
}

var streamID = regexp.MustCompile(`^[0-9]{1,20}-[0-9]{1,20}$`)

// look asks for the head, and whether it is the master that answers: a replica may
// have lost its master without knowing.
func (s *session) look() (head, error) {
	seen := time.Now()
	results, err := s.do(0,
		s.conn.B().Hmget().Key(s.target.head).Field("version", "id").Build(),
		s.conn.B().Arbitrary("HELLO").Build())
	if err != nil {
		return head{}, err
	}
	hello, err := results[1].AsMap()
	if err != nil {
		return head{}, s.failure("the answer to HELLO", err)
	}
	role := hello["role"]
	if text, err := role.ToString(); err != nil || text != "master" {
		return head{}, fmt.Errorf("redisrevoke: Config.Redis.URL leads to a %.20q: it must lead to the master", text)
	}
	fields, err := results[0].ToArray()
	if err != nil || len(fields) != 2 {
		return head{}, fmt.Errorf("redisrevoke: %s holds something else", s.target.head)
	}
	if fields[0].IsNil() && fields[1].IsNil() { // nothing was revoked yet, or Redis was flushed
		return head{id: "0-0", seen: seen}, nil
	}
	version, err1 := fields[0].ToString()
	id, err2 := fields[1].ToString()
	if err1 != nil || err2 != nil || !streamID.MatchString(id) {
		return head{}, fmt.Errorf("redisrevoke: %s holds something else", s.target.head)
	}
	return head{version, id, seen}, nil
}

// changesAfter asks for changes, and waits a while for the first.
func (s *session) changesAfter(position string, wait time.Duration) ([]rueidis.XRangeEntry, error) {
	var command rueidis.Completed
	if read := s.conn.B().Xread().Count(readSize); wait > 0 {
		command = read.Block(wait.Milliseconds()).Streams().Key(s.changes).Id(position).Build()
	} else {
		command = read.Streams().Key(s.changes).Id(position).Build()
	}
	results, err := s.do(wait, command)
	if err != nil {
		return nil, err
	}
	streams, err := results[0].AsXRead()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	if err != nil {
		return nil, s.failure("the answer to XREAD", err)
	}
	return streams[s.changes], nil
}

// page asks for some of the entries.
func (s *session) page(cursor uint64) (rueidis.ScanEntry, error) {
	results, err := s.do(0, s.conn.B().Zscan().Key(s.entries).Cursor(cursor).Count(pageSize).Build())
	if err != nil {
		return rueidis.ScanEntry{}, err
	}
	page, err := results[0].AsScanEntry()
	if err != nil {
		return page, s.failure("the answer to ZSCAN", err)
	}
	return page, nil
}
