//go:build e2e

package redisrevoke_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// proxy is a way to a server that can be cut or slow.
type proxy struct {
	listener net.Listener
	cut      atomic.Bool  // nothing gets through, and nobody is told
	delay    atomic.Int64 // of each answer, in nanoseconds
	mu       sync.Mutex
	conns    []net.Conn
}

func newProxy(t testing.TB, to string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: listener}
	t.Cleanup(func() {
		_ = listener.Close()
		p.drop()
	})
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, near, far)
			p.mu.Unlock()
			go p.carry(far, near, false)
			go p.carry(near, far, true)
		}
	}()
	return p
}

func (p *proxy) carry(to, from net.Conn, answers bool) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !p.cut.Load() {
			if answers {
				time.Sleep(time.Duration(p.delay.Load()))
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if err == io.EOF && p.cut.Load() {
				time.Sleep(100 * time.Millisecond)
			}
			return
		}
	}
}

// drop closes all connections.
func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.conns = nil
}

// open is how many connections were made and not dropped, both ends counted.
func (p *proxy) open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}
