//go:build e2e

package redisrevoke_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/revoke"
	"github.com/bearerguard/bearerguard/jwtverify/revoke/redisrevoke"
)

// world is a Redis behind a proxy, a publisher that goes around the proxy, and a
// follower of each policy behind it.
type world struct {
	*server
	proxy     *proxy
	publisher *redisrevoke.Publisher
	followers map[redisrevoke.Policy]*redisrevoke.Follower
}

func newWorld(t *testing.T, room int) *world {
	t.Helper()
	w := &world{server: startRedis(t), followers: map[redisrevoke.Policy]*redisrevoke.Follower{}}
	w.proxy = newProxy(t, w.address)
	w.publisher = newPublisher(t, redisrevoke.PublisherConfig{Redis: w.redis()})
	for _, policy := range []redisrevoke.Policy{redisrevoke.FailClosed, redisrevoke.GoOn} {
		list, err := revoke.New(revoke.Config{MaxEntries: room})
		require.NoError(t, err)
		w.followers[policy] = startFollower(t, redisrevoke.FollowerConfig{
			Redis:      redisrevoke.Redis{URL: "redis://" + w.proxy.listener.Addr().String(), Timeout: 500 * time.Millisecond},
			WhenBehind: policy, MaxLag: time.Second, List: list,
		})
	}
	return w
}

func (w *world) revoke(t testing.TB, names ...string) {
	t.Helper()
	entries := make([]revoke.Entry, len(names))
	for i, name := range names {
		entries[i] = entry(name)
	}
	var err error
	eventually(t, "Redis takes it", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		err = w.publisher.Revoke(ctx, entries...)
		return err == nil
	})
}

// answers waits until a follower says this of a token.
func answers(t testing.TB, f *redisrevoke.Follower, id string, want jwtverify.Reason) {
	t.Helper()
	eventually(t, id+" is answered with "+string(want)+"; "+f.Status().LastError, func() bool { return verdict(f, id) == want })
}

// TestEachFaultHasTheOutcomeThatThePolicySays is the table of the package's
// documentation: for each fault, what followers say while it lasts of a token that was
// revoked before it, and of one of which they know nothing; and after it that nothing
// that Redis kept is lost.
func TestEachFaultHasTheOutcomeThatThePolicySays(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	const (
		current = "as ever"
		behind  = "503 / let in"
	)
	for _, row := range []struct {
		fault   string
		outcome string
		room    int
		begin   func(t *testing.T, w *world)
		end     func(t *testing.T, w *world)
		kept    bool // what was revoked before the fault is still in Redis after it
	}{
		{"Redis is killed", behind, 0,
			func(t *testing.T, w *world) { w.kill() },
			func(t *testing.T, w *world) { w.start(t) }, true},
		{"Redis restarts, with its append-only file", current, 0,
			func(t *testing.T, w *world) { w.kill(); w.start(t) }, nil, true},
		{"Redis hangs", behind, 0,
			func(t *testing.T, w *world) { w.proxy.cut.Store(true) },
			func(t *testing.T, w *world) { w.proxy.cut.Store(false) }, true},
		{"connections break", current, 0,
			func(t *testing.T, w *world) { w.proxy.drop() }, nil, true},
		{"Redis answers, slower than Timeout", behind, 0,
			func(t *testing.T, w *world) { w.proxy.delay.Store(int64(2 * time.Second)) },
			func(t *testing.T, w *world) { w.proxy.delay.Store(0) }, true},
		{"Redis answers, slower than usual", current, 0,
			func(t *testing.T, w *world) { w.proxy.delay.Store(int64(60 * time.Millisecond)) },
			func(t *testing.T, w *world) { w.proxy.delay.Store(0) }, true},
		{"the stream of changes was trimmed", current, 0,
			func(t *testing.T, w *world) {
				w.proxy.cut.Store(true)
				w.revoke(t, ids("trimmed-", 20)...)
				w.revoke(t, "trimmed")
				w.must(t, "XTRIM", "{bearerguard}:changes", "MAXLEN", "0")
				w.proxy.cut.Store(false)
				for _, f := range w.followers {
					answers(t, f, "trimmed", jwtverify.ErrRevoked)
					answers(t, f, "trimmed-7", jwtverify.ErrRevoked)
					ready(t, f)
				}
				loads := w.followers[redisrevoke.GoOn].Status().Loads
				time.Sleep(time.Second)
				require.Equal(t, loads, w.followers[redisrevoke.GoOn].Status().Loads, "who has everything does not load again and again")
			}, nil, true},
		{"FLUSHALL", current, 0,
			func(t *testing.T, w *world) {
				loads := w.followers[redisrevoke.GoOn].Status().Loads
				w.must(t, "FLUSHALL")
				eventually(t, "the follower notices", func() bool { return w.followers[redisrevoke.GoOn].Status().Loads > loads })
			}, nil, false},
		{"FLUSHALL, and the ids begin again", current, 0,
			func(t *testing.T, w *world) {
				w.must(t, "XADD", "{bearerguard}:changes", "99999999999999-7", "from", "", "to", "x") // by a clock far ahead
				w.revoke(t, "by that clock")
				for _, f := range w.followers {
					answers(t, f, "by that clock", jwtverify.ErrRevoked)
				}
				w.must(t, "FLUSHALL")
				w.revoke(t, "of the new stream")
				w.revoke(t, "of the new stream too")
				for _, f := range w.followers {
					answers(t, f, "of the new stream", jwtverify.ErrRevoked)
					answers(t, f, "of the new stream too", jwtverify.ErrRevoked)
				}
			}, nil, false},
		{"Redis is put back to an older state", current, 0,
			func(t *testing.T, w *world) {
				w.must(t, "COPY", "{bearerguard}:head", "old")
				w.revoke(t, "forgotten")
				for _, f := range w.followers {
					answers(t, f, "forgotten", jwtverify.ErrRevoked)
				}
				w.must(t, "COPY", "old", "{bearerguard}:head", "REPLACE")
				w.revoke(t, "other history")
				for _, f := range w.followers {
					answers(t, f, "other history", jwtverify.ErrRevoked)
					answers(t, f, "forgotten", jwtverify.ErrRevoked)
				}
			}, nil, true},
		{"an entry cannot be read", behind, 0,
			func(t *testing.T, w *world) {
				w.must(t, "ZADD", "{bearerguard}:entries", "9999999999", "2 of a later version")
				w.must(t, "HSET", "{bearerguard}:head", "version", "other") // all is loaded again
			},
			nil, true},
		{"an entry is larger than any of ours", behind, 0,
			func(t *testing.T, w *world) {
				w.must(t, "ZADD", "{bearerguard}:entries", "9999999999", strings.Repeat("x", 100_000))
				w.must(t, "HSET", "{bearerguard}:head", "version", "other")
			},
			func(t *testing.T, w *world) {
				w.must(t, "ZREM", "{bearerguard}:entries", strings.Repeat("x", 100_000))
			}, true},
		{"a change is larger than any of ours", current, 0,
			func(t *testing.T, w *world) {
				version := w.must(t, "HGET", "{bearerguard}:head", "version")
				from, err := version.ToString()
				require.NoError(t, err)
				fields := []string{"from", from, "to", "other"}
				for _, id := range ids("x", 70_000) {
					fields = append(fields, id, "9999999999")
				}
				w.must(t, append([]string{"XADD", "{bearerguard}:changes", "*"}, fields...)...)
				w.revoke(t, "behind it")
				for _, f := range w.followers {
					answers(t, f, "behind it", jwtverify.ErrRevoked)
				}
			}, nil, true},
		{"a key holds something else", behind, 0,
			func(t *testing.T, w *world) {
				w.must(t, "RENAME", "{bearerguard}:head", "aside")
				w.must(t, "SET", "{bearerguard}:head", "junk")
			},
			func(t *testing.T, w *world) { w.must(t, "RENAME", "aside", "{bearerguard}:head") }, true},
		{"Redis loads its append-only file", behind, 0,
			func(t *testing.T, w *world) {
				w.must(t, "DEBUG", "POPULATE", "30000")
				w.must(t, "BGREWRITEAOF")
				eventually(t, "the file is written anew", func() bool {
					info, err := reply(t, w.server, "INFO", "persistence")
					return err == nil && strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0")
				})
				w.kill()
				w.args = append(w.args, "--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
				w.start(t)
				eventually(t, "the publisher says why", func() bool { // not if its time ends while it connects
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					err := w.publisher.Revoke(ctx, entry("meanwhile"))
					require.ErrorIs(t, err, context.DeadlineExceeded, "it is tried again")
					return strings.Contains(err.Error(), "LOADING")
				})
				for _, f := range w.followers {
					eventually(t, "the follower says why", func() bool { return strings.Contains(f.Status().LastError, "LOADING") })
				}
			},
			func(t *testing.T, w *world) { w.must(t, "CONFIG", "SET", "key-load-delay", "0") }, true},
		{"the list is full", behind, 3,
			func(t *testing.T, w *world) { w.revoke(t, ids("many-", 8)...) }, nil, true},
		{"a replica answers", behind, 0,
			func(t *testing.T, w *world) {
				w.must(t, "REPLICAOF", "127.0.0.1", strings.Split(nobody(t), ":")[1])
			},
			func(t *testing.T, w *world) { w.must(t, "REPLICAOF", "NO", "ONE") }, true},
		{"the user may not read", behind, 0,
			func(t *testing.T, w *world) { w.must(t, "ACL", "SETUSER", "default", "-hmget") },
			func(t *testing.T, w *world) { w.must(t, "ACL", "SETUSER", "default", "+hmget") }, true},
	} {
		t.Run(row.fault, func(t *testing.T) {
			require.Contains(t, strings.Join(strings.Fields(string(doc)), " "), "// "+row.fault+" "+row.outcome,
				"doc.go has this row")
			w := newWorld(t, row.room)
			w.revoke(t, "before")
			for _, f := range w.followers {
				ready(t, f)
				answers(t, f, "before", jwtverify.ErrRevoked)
				answers(t, f, "unknown", "")
			}

			row.begin(t, w)
			closed, open := w.followers[redisrevoke.FailClosed], w.followers[redisrevoke.GoOn]
			if row.outcome == behind {
				answers(t, closed, "unknown", jwtverify.ErrUnavailable)
				eventually(t, "what is let in is counted", func() bool {
					return verdict(open, "unknown") == "" && open.Status().Unchecked > 0
				})
			} else {
				for _, f := range w.followers {
					ready(t, f)
					answers(t, f, "unknown", "")
				}
			}
			for _, f := range w.followers {
				require.Equal(t, jwtverify.ErrRevoked, verdict(f, "before"), "what is known stays known")
			}

			if row.end != nil {
				row.end(t, w)
			} else if row.outcome == behind {
				return // it lasts
			}
			w.revoke(t, "after")
			for _, f := range w.followers {
				answers(t, f, "after", jwtverify.ErrRevoked)
				ready(t, f)
				answers(t, f, "unknown", "")
				require.Equal(t, jwtverify.ErrRevoked, verdict(f, "before"))
				eventually(t, "nothing is wrong any more", func() bool { return f.Status().LastError == "" })
			}
			late := startFollower(t, redisrevoke.FollowerConfig{Redis: w.redis()})
			ready(t, late)
			require.Equal(t, jwtverify.ErrRevoked, verdict(late, "after"))
			require.Equal(t, row.kept, verdict(late, "before") == jwtverify.ErrRevoked)
		})
	}
}
