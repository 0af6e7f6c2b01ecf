//go:build e2e

package redisrevoke_test

import (
	"context"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/revoke/redisrevoke"
)

// permit runs the ACL commands of the package's documentation, and returns what the
// two users write before the host.
func permit(t testing.TB, servers ...*server) (publisher, follower string) {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	commands := regexp.MustCompile(`(?m)^//\tACL SETUSER .*$`).FindAllString(string(doc), -1)
	require.Len(t, commands, 2)
	for _, s := range servers {
		for _, command := range commands {
			s.must(t, strings.Fields(strings.TrimPrefix(command, "//"))...)
		}
	}
	return "redis://publisher:password@", "redis://follower:password@"
}

func TestUsersThatMayTouchTheirNamespaceAloneAreEnough(t *testing.T) {
	s := startRedis(t)
	asPublisher, asFollower := permit(t, s)
	mine := redisrevoke.PublisherConfig{Redis: redisrevoke.Redis{URL: asPublisher + s.address}}
	require.NoError(t, newPublisher(t, mine).Revoke(t.Context(), entry("id")))
	mine.WaitReplicas = 1
	mine.Redis.Timeout = 500 * time.Millisecond
	require.ErrorIs(t, newPublisher(t, mine).Revoke(t.Context(), entry("id")), redisrevoke.ErrReplicas, "there is none")

	f := startFollower(t, redisrevoke.FollowerConfig{Redis: redisrevoke.Redis{URL: asFollower + s.address}})
	ready(t, f)
	require.Equal(t, jwtverify.ErrRevoked, verdict(f, "id"))

	for name, redis := range map[string]redisrevoke.Redis{
		"a follower that revokes": {URL: asFollower + s.address},
		"another namespace":       {URL: asPublisher + s.address, Namespace: "other"},
		"a longer namespace":      {URL: asPublisher + s.address, Namespace: "bearerguard2"},
		"a wrong password":        {URL: "redis://publisher:wrong@" + s.address},
	} {
		t.Run(name, func(t *testing.T) {
			err := newPublisher(t, redisrevoke.PublisherConfig{Redis: redis}).Revoke(t.Context(), entry("other"))
			require.Error(t, err)
			require.NotErrorIs(t, err, context.DeadlineExceeded, "it is not tried again")
			f := startFollower(t, redisrevoke.FollowerConfig{Redis: redis})
			if name != "a follower that revokes" {
				eventually(t, "the follower says why", func() bool { return f.Status().LastError != "" })
				require.Equal(t, jwtverify.ErrUnavailable, verdict(f, "id"))
			}
		})
	}
	ready(t, f)
	answers(t, f, "other", "")
}

// startCluster starts three masters, of which the second has our slot, and a replica
// of that one.
func startCluster(t *testing.T) (nodes []*server, names []string, slot int64) {
	t.Helper()
	for range 4 {
		s := startRedis(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "1500",
			"--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0")
		name, err := reply(t, s, "CLUSTER", "MYID")
		require.NoError(t, err)
		nodes, names = append(nodes, s), append(names, name)
		if len(nodes) > 1 {
			host, port, _ := net.SplitHostPort(nodes[0].address)
			s.must(t, "CLUSTER", "MEET", host, port, nodes[0].bus)
		}
	}
	key := nodes[0].must(t, "CLUSTER", "KEYSLOT", "{bearerguard}:head")
	slot, err := key.AsInt64()
	require.NoError(t, err)
	require.LessOrEqual(t, slot, int64(5000), "the ranges below are chosen for this slot")
	for i, slots := range [][2]string{{"5001", "10000"}, {"0", "5000"}, {"10001", "16383"}} {
		nodes[i].must(t, "CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1])
	}
	eventually(t, "the replica knows its master", func() bool {
		_, err := nodes[3].do(t.Context(), "CLUSTER", "REPLICATE", names[1])
		return err == nil
	})
	eventually(t, "all nodes agree", func() bool {
		for _, s := range nodes {
			info, err := reply(t, s, "CLUSTER", "INFO")
			if err != nil || !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:4") {
				return false
			}
			list, err := reply(t, s, "CLUSTER", "NODES")
			if err != nil || strings.Count(list, " master ")+strings.Count(list, "myself,master ") != 3 {
				return false
			}
		}
		state, err := reply(t, nodes[3], "INFO", "replication")
		return err == nil && strings.Contains(state, "master_link_status:up")
	})
	return nodes, names, slot
}

func TestAFailOverLosesNothingThatAReplicaHad(t *testing.T) {
	nodes, names, slot := startCluster(t)
	asPublisher, asFollower := permit(t, nodes...)

	// The seeds are those that do not have the keys.
	seeds := nodes[0].address + "," + nodes[2].address
	waiting := newPublisher(t, redisrevoke.PublisherConfig{Redis: redisrevoke.Redis{URL: asPublisher + seeds}, WaitReplicas: 1})
	f := startFollower(t, redisrevoke.FollowerConfig{Redis: redisrevoke.Redis{URL: asFollower + seeds}, MaxLag: time.Second})
	require.NoError(t, waiting.Revoke(t.Context(), entry("early")))
	answers(t, f, "early", jwtverify.ErrRevoked)

	// The slot goes to another node, and back.
	going := newPublisher(t, redisrevoke.PublisherConfig{Redis: redisrevoke.Redis{URL: asPublisher + seeds}})
	require.NoError(t, going.Revoke(t.Context(), entry("not moved")))
	for _, move := range [][2]int{{1, 0}, {0, 1}} {
		from, to := move[0], move[1]
		number := strconv.FormatInt(slot, 10)
		host, port, _ := net.SplitHostPort(nodes[to].address)
		nodes[to].must(t, "CLUSTER", "SETSLOT", number, "IMPORTING", names[from])
		nodes[from].must(t, "CLUSTER", "SETSLOT", number, "MIGRATING", names[to])
		nodes[from].must(t, "MIGRATE", host, port, "", "0", "5000", "KEYS", "{bearerguard}:entries", "{bearerguard}:changes", "{bearerguard}:head")
		nodes[to].must(t, "CLUSTER", "SETSLOT", number, "NODE", names[to])
		nodes[from].must(t, "CLUSTER", "SETSLOT", number, "NODE", names[to])
		id := "moved to " + names[to]
		require.NoError(t, going.Revoke(t.Context(), entry(id)), "whoever is connected to the other node looks for the new one")
		answers(t, f, id, jwtverify.ErrRevoked)
	}
	// The replica takes over as it is told to, and the old master again.
	for _, to := range []int{3, 1} {
		eventually(t, "it takes over", func() bool {
			_, _ = nodes[to].do(t.Context(), "CLUSTER", "FAILOVER")
			list, err := reply(t, nodes[to], "CLUSTER", "NODES")
			return err == nil && strings.Contains(list, "myself,master ")
		})
		id := "handed to " + names[to]
		require.NoError(t, going.Revoke(t.Context(), entry(id)))
		answers(t, f, id, jwtverify.ErrRevoked)
		ready(t, f)
	}
	eventually(t, "the replica has it all", func() bool { return waiting.Revoke(t.Context(), entry("early")) == nil })

	before := ids("before-", 50)
	for _, id := range before {
		require.NoError(t, waiting.Revoke(t.Context(), entry(id)))
	}
	ready(t, f)
	answers(t, f, "before-49", jwtverify.ErrRevoked)

	nodes[1].kill()
	after := newPublisher(t, redisrevoke.PublisherConfig{Redis: redisrevoke.Redis{URL: asPublisher + seeds}})
	revokeInAFailOver(t, after, "after")
	answers(t, f, "after", jwtverify.ErrRevoked)
	ready(t, f)
	answers(t, f, "unknown", "")

	late := startFollower(t, redisrevoke.FollowerConfig{Redis: redisrevoke.Redis{URL: asFollower + nodes[0].address}})
	ready(t, late)
	for _, f := range []*redisrevoke.Follower{f, late} {
		for _, id := range append(before, "early", "after", "moved to "+names[0]) {
			require.Equal(t, jwtverify.ErrRevoked, verdict(f, id), id)
		}
	}
}

// TestAFailOverToAReplicaThatLacksTheLastChangesIsNoticed holds that who knows what the
// new master has never had goes on refusing it, and follows the other history.
func TestAFailOverToAReplicaThatLacksTheLastChangesIsNoticed(t *testing.T) {
	nodes, _, _ := startCluster(t)
	asPublisher, asFollower := permit(t, nodes...)
	seeds := nodes[0].address + "," + nodes[2].address
	f := startFollower(t, redisrevoke.FollowerConfig{Redis: redisrevoke.Redis{URL: asFollower + seeds}, MaxLag: time.Second})
	waiting := newPublisher(t, redisrevoke.PublisherConfig{Redis: redisrevoke.Redis{URL: asPublisher + seeds}, WaitReplicas: 1})
	require.NoError(t, waiting.Revoke(t.Context(), entry("kept")))
	ready(t, f)

	// The replica comes as the default user, who now has another password.
	nodes[1].must(t, "CONFIG", "SET", "requirepass", "other")
	master, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{nodes[1].address}, ForceSingleClient: true, DisableCache: true, Password: "other",
	})
	require.NoError(t, err)
	defer master.Close()
	require.NoError(t, master.Do(t.Context(), master.B().Arbitrary("CLIENT", "KILL", "TYPE", "REPLICA").Build()).Error())

	going := newPublisher(t, redisrevoke.PublisherConfig{Redis: redisrevoke.Redis{URL: asPublisher + seeds}})
	require.NoError(t, going.Revoke(t.Context(), entry("lost")))
	require.NoError(t, going.Revoke(t.Context(), entry("lost too")))
	answers(t, f, "lost too", jwtverify.ErrRevoked)
	loads := f.Status().Loads
	nodes[1].kill()
	revokeInAFailOver(t, going, "after")
	answers(t, f, "after", jwtverify.ErrRevoked)
	ready(t, f)
	answers(t, f, "unknown", "")
	require.Greater(t, f.Status().Loads, loads, "it noticed that the history is another")
	for _, id := range []string{"kept", "lost", "lost too", "after"} {
		require.Equal(t, jwtverify.ErrRevoked, verdict(f, id), id)
	}
	late := startFollower(t, redisrevoke.FollowerConfig{Redis: redisrevoke.Redis{URL: asFollower + seeds}})
	ready(t, late)
	require.Equal(t, jwtverify.ErrRevoked, verdict(late, "kept"))
	require.Equal(t, jwtverify.ErrRevoked, verdict(late, "after"))
	require.Empty(t, verdict(late, "lost"), "Redis did not keep it: else this tests nothing")
}

// revokeInAFailOver holds that a Revoke is not given up before its time.
func revokeInAFailOver(t *testing.T, p *redisrevoke.Publisher, id string) {
	t.Helper()
	eventually(t, "the replica takes over", func() bool {
		err := p.Revoke(t.Context(), entry(id))
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		return err == nil
	})
}

func reply(t testing.TB, s *server, command ...string) (string, error) {
	m, err := s.do(t.Context(), command...)
	if err != nil {
		return "", err
	}
	return m.ToString()
}
