//go:build e2e

package main

import (
	"context"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWhoLogsOutInOneProcessIsRefusedByAnother runs the program as a reader would, with
// a redis-server of its own.
func TestWhoLogsOutInOneProcessIsRefusedByAnother(t *testing.T) {
	program := filepath.Join(t.TempDir(), "revocation")
	output, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "%s", output)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	output, err = exec.CommandContext(ctx, program, "-redis", "redis://"+startRedis(t)).CombinedOutput()
	require.NoError(t, err, "%s", output)
	require.Equal(t, 11, strings.Count(string(output), " ok\n"), "%s", output)
}

func startRedis(t *testing.T) (address string) {
	t.Helper()
	for range 20 {
		port := strconv.Itoa(12_000 + rand.N(20_000)) // not one of those that outgoing connections get
		redis := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", t.TempDir())
		require.NoError(t, redis.Start(), "the end-to-end tests need redis-server: install it, or run the others alone, without -tags e2e")
		ended := make(chan struct{})
		go func() {
			_ = redis.Wait()
			close(ended)
		}()
		t.Cleanup(func() {
			_ = redis.Process.Kill()
			<-ended
		})
		for running := true; running; {
			select {
			case <-ended: // somebody has the port
				running = false
			case <-time.After(10 * time.Millisecond):
				if conn, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
					_ = conn.Close()
					return "127.0.0.1:" + port
				}
			}
		}
	}
	t.Fatal("redis-server does not start")
	return ""
}
