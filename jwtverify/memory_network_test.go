package jwtverify_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// memoryNetwork joins real HTTP servers and one real HTTP client by pipes. The
// fake clock of testing/synctest moves on only while every goroutine waits for
// something of its own bubble; a socket is outside of it, a pipe is inside.
type memoryNetwork struct {
	client  *http.Client
	hosts   map[string]*memoryListener
	foreign atomic.Int64 // connections to hosts that nobody serves
}

func newMemoryNetwork(t *testing.T) *memoryNetwork {
	n := &memoryNetwork{hosts: map[string]*memoryListener{}}
	transport := &http.Transport{
		// What an https URL gets is the pipe itself: TLS is not under test here.
		DialTLSContext: n.dial,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			n.foreign.Add(1)
			return nil, errors.New("plain http is served by nobody")
		},
	}
	n.client = &http.Client{Transport: transport}
	t.Cleanup(transport.CloseIdleConnections)
	return n
}

func (n *memoryNetwork) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	l, ok := n.hosts[host]
	if !ok || port != "443" {
		n.foreign.Add(1)
		return nil, errors.New("no such host")
	}
	return l.dial(ctx)
}

// serve lets handler answer for host until the test ends. It must be called
// before the first request.
func (n *memoryNetwork) serve(t *testing.T, host string, handler http.Handler) {
	l := &memoryListener{incoming: make(chan net.Conn), closed: make(chan struct{})}
	n.hosts[host] = l
	server := &http.Server{Handler: handler}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-ended, http.ErrServerClosed)
	})
}

type memoryListener struct {
	incoming chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func (l *memoryListener) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.incoming <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.incoming:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memoryListener) Addr() net.Addr { return memoryAddr{} }

type memoryAddr struct{}

func (memoryAddr) Network() string { return "memory" }
func (memoryAddr) String() string  { return "memory" }
