package redisrevoke

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// session is one connection to the node that has the keys, from its opening to its
// first fault. Nothing is tried again in it: who uses it opens another, and so finds
// out anew who has the keys.
type session struct {
	*target
	ctx    context.Context
	cancel context.CancelFunc
	client rueidis.Client
	conn   rueidis.DedicatedClient
	secret string // the password
}

// openSession connects. The client is rueidis rather than go-redis: it has a sixth of
// the code, keeps commands that belong together on one connection in a cluster too, and
// writes to no logger of its own. That it connects in its constructor, and panics at
// some replies, is why there is one for each session, and a guard.
//
// The end of the first context ends the session at any time, that of the second as long
// as it is being opened.
func openSession(ctx, opening context.Context, t *target) (*session, error) {
	s := &session{target: t}
	s.ctx, s.cancel = context.WithCancel(ctx)
	opening, cancel := context.WithTimeout(opening, 2*t.Timeout)
	defer cancel()
	opened := context.AfterFunc(opening, s.cancel)
	username, password := t.username, t.password
	if t.Credentials != nil {
		var err error
		if username, password, err = t.Credentials(opening); err == nil && password == "" {
			err = errors.New("they have no password") // one would be let in as nobody in particular
		}
		if err != nil {
			opened()
			s.close()
			return nil, &failure{"Config.Redis.Credentials failed", err, password}
		}
	}
	s.secret = password
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: t.addresses,
		Username:    username,
		Password:    password,
		TLSConfig:   t.TLS,
		DialCtxFn: func(_ context.Context, address string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
			conn, err := t.dial(s.ctx, address)
			if err != nil {
				return nil, err
			}
			context.AfterFunc(s.ctx, func() { _ = conn.Close() })
			return conn, nil
		},
		// A negative KeepAlive stops the client's own PINGs: each exchange has a
		// timeout, and a follower has several exchanges a second.
		Dialer:              net.Dialer{Timeout: t.Timeout, KeepAlive: -1},
		ConnWriteTimeout:    t.Timeout,
		ReadBufferEachConn:  16 << 10,
		WriteBufferEachConn: 16 << 10,
		RingScaleEachConn:   4, // a queue that commands one at a time do not need
		ClientSetInfo:       rueidis.DisableClientSetInfo,
		ShuffleInit:         true,
		DisableRetry:        true,
		DisableCache:        true,
	})
	inTime := opened()
	s.client = client
	switch {
	case !inTime:
		err = errors.Join(opening.Err(), err)
	case err == nil:
		s.conn, _ = client.Dedicate()
		return s, nil
	}
	s.close()
	return nil, s.failure("no connection to Redis", err)
}

func (s *session) close() {
	s.cancel() // closes the connections
	if s.conn != nil {
		s.conn.Close()
	}
	if s.client != nil {
		s.client.Close()
	}
}

// do makes one exchange. The error is that of the exchange; each result has its own.
func (s *session) do(longer time.Duration, commands ...rueidis.Completed) ([]rueidis.RedisResult, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.Timeout+longer)
	defer cancel()
	results := s.conn.DoMulti(ctx, commands...)
	for _, r := range results {
		if err := r.NonRedisError(); err != nil {
			return nil, s.failure("an exchange with Redis failed", err)
		}
		if err := r.Error(); err != nil && !rueidis.IsRedisNil(err) {
			return nil, s.failure("Redis refused", err)
		}
	}
	return results, nil
}

// failure is an error whose text may hold Redis's words, which it escapes and cuts. To
// a command that it does not know Redis answers with its arguments, and AUTH has some.
type failure struct {
	what   string
	cause  error
	secret string
}

func (s *session) failure(what string, cause error) error { return &failure{what, cause, s.secret} }

func (e *failure) Error() string {
	text := e.cause.Error()
	if e.secret != "" {
		text = strings.ReplaceAll(text, e.secret, "…")
	}
	text, _, _ = strings.Cut(text, ", with args")
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	quoted := strconv.QuoteToGraphic(strings.ToValidUTF8(text, "?"))
	return "redisrevoke: " + e.what + ": " + quoted[1:len(quoted)-1]
}

// Unwrap returns the cause, if that is not Redis's own words: whoever prints a whole
// chain of errors would print what Error leaves out.
func (e *failure) Unwrap() error {
	if reply := new(rueidis.RedisError); e.As(&reply) {
		return nil
	}
	return e.cause
}

// As finds a reply of Redis's all the same.
func (e *failure) As(target any) bool {
	reply, ok := target.(**rueidis.RedisError)
	return ok && errors.As(e.cause, reply)
}

// backoff is how long to wait after so many failures in a row: 50 ms, doubled up to
// 5 s, and of that between a half and all, so that many do not come at once.
func backoff(failures int) time.Duration {
	longest := min(50*time.Millisecond<<min(failures, 10), 5*time.Second)
	return longest/2 + rand.N(longest/2)
}

// sleep waits, unless the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

var errClosed = errors.New("redisrevoke: closed")
