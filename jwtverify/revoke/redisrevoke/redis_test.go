//go:build e2e

package redisrevoke_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify/revoke/redisrevoke"
)

// server is a redis-server of its own on loopback, which ends with the test.
type server struct {
	address string
	bus     string // the port of its cluster, if it is of one
	dir     string
	args    []string
	process *exec.Cmd
	ended   chan struct{}
}

// startRedis starts a server with the given arguments. It keeps what it has taken in
// an append-only file, before it answers.
func startRedis(t testing.TB, args ...string) *server {
	t.Helper()
	s := &server{dir: t.TempDir()}
	s.args = append([]string{
		"--bind", "127.0.0.1", "--dir", s.dir, "--logfile", "log", "--save", "", "--daemonize", "no",
		"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--enable-debug-command", "yes",
	}, args...)
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			t.Logf("redis-server at %s said:\n%s", s.address, log[max(0, len(log)-4000):])
		}
	})
	s.start(t)
	return s
}

// start starts the server, at another port for as long as one is taken by others.
func (s *server) start(t testing.TB) {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	require.NoError(t, err, "the end-to-end tests need redis-server 7 on the PATH: install it, or run the other tests alone, without -tags e2e")
	for end := time.Now().Add(soon); time.Now().Before(end); {
		address := s.address
		if address == "" {
			address = nobody(t)
		}
		_, port, _ := net.SplitHostPort(address)
		listen := []string{"--port", port}
		if slices.Contains(s.args, "--tls-cert-file") {
			listen = []string{"--port", "0", "--tls-port", port}
		}
		if slices.Contains(s.args, "--cluster-enabled") {
			if s.address == "" {
				_, s.bus, _ = net.SplitHostPort(nobody(t))
			}
			listen = append(listen, "--cluster-port", s.bus)
		}
		s.process = exec.Command(binary, append(listen, s.args...)...)
		var output bytes.Buffer
		s.process.Stdout, s.process.Stderr = &output, &output
		require.NoError(t, s.process.Start())
		s.ended = make(chan struct{})
		go func(process *exec.Cmd, ended chan struct{}) {
			_ = process.Wait()
			close(ended)
		}(s.process, s.ended)
		for running := true; running && time.Now().Before(end); {
			select {
			case <-s.ended:
				running = false
				continue
			default:
			}
			conn, err := net.DialTimeout("tcp", address, time.Second)
			if err == nil {
				_ = conn.Close()
				s.address = address
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		s.kill()
		time.Sleep(50 * time.Millisecond)
	}
	log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	t.Fatalf("redis-server does not start:\n%s", log)
}

// kill ends the server as kill -9 does.
func (s *server) kill() {
	if s.process != nil && s.process.Process != nil {
		_ = s.process.Process.Kill()
		<-s.ended
	}
}

func (s *server) redis() redisrevoke.Redis {
	return redisrevoke.Redis{URL: "redis://" + s.address}
}

// do makes one command, on a connection of its own.
func (s *server) do(ctx context.Context, command ...string) (rueidis.RedisMessage, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.address}, ForceSingleClient: true, DisableCache: true,
		Dialer: net.Dialer{Timeout: 5 * time.Second},
	})
	if err != nil {
		return rueidis.RedisMessage{}, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return client.Do(ctx, client.B().Arbitrary(command...).Build()).ToMessage()
}

func (s *server) must(t testing.TB, command ...string) rueidis.RedisMessage {
	t.Helper()
	var reply rueidis.RedisMessage
	eventually(t, fmt.Sprint("Redis takes ", command), func() bool {
		var err error
		reply, err = s.do(t.Context(), command...)
		return err == nil || rueidis.IsRedisNil(err)
	})
	return reply
}

func newPublisher(t testing.TB, c redisrevoke.PublisherConfig) *redisrevoke.Publisher {
	t.Helper()
	p, err := redisrevoke.NewPublisher(c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// ready waits until a Follower has everything.
func ready(t testing.TB, f *redisrevoke.Follower) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	require.NoError(t, f.Ready(ctx))
}

// ids are names of tokens.
func ids(prefix string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = prefix + strconv.Itoa(i)
	}
	return all
}

func splitLines(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }
