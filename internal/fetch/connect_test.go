package fetch_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/internal/fetch"
)

// raw serves connections as they come.
func raw(t *testing.T, each func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				each(c)
			}()
		}
	}()
	return listener.Addr().String()
}

// Whether a server may have seen the request, which may be what it fails at, is known to
// the connection alone: an EOF in the handshake reads like one behind it.
func TestAnExchangeWithoutAConnectionIsToldFromOneThatFailed(t *testing.T) {
	abort := func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }
	secure := func(h2 bool, answer http.HandlerFunc) *httptest.Server {
		s := httptest.NewUnstartedServer(answer)
		s.EnableHTTP2 = h2
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	trusted := func(s *httptest.Server) fetch.Options {
		return fetch.Options{TLS: s.Client().Transport.(*http.Transport).TLSClientConfig, KeepAlive: true}
	}
	http1, http2 := secure(false, abort), secure(true, abort)
	unsupported := secure(false, abort)
	unsupported.TLS.MaxVersion = tls.VersionTLS12
	strict := trusted(unsupported)
	strict.TLS = strict.TLS.Clone()
	strict.TLS.MinVersion = tls.VersionTLS13
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, gone.Close())

	for name, c := range map[string]struct {
		options   fetch.Options
		url       string
		connected bool
	}{
		"nobody listens":                   {url: "http://" + gone.Addr().String()},
		"a handshake that ends":            {url: "https://" + raw(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) })},
		"a handshake that never ends":      {url: "https://" + raw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })},
		"no TLS":                           {url: "https://" + raw(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") })},
		"a certificate that nobody trusts": {url: http1.URL},
		"no version in common":             {options: strict, url: unsupported.URL},
		"a connection that ends":           {url: "http://" + raw(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }), connected: true},
		"a connection that says nothing":   {url: "http://" + raw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), connected: true},
		"no HTTP":                          {url: "http://" + raw(t, func(c net.Conn) { _, _ = io.WriteString(c, "nonsense\r\n\r\n") }), connected: true},
		"one that ends with TLS":           {options: trusted(http1), url: http1.URL, connected: true},
		"a stream of HTTP/2 that is reset": {options: trusted(http2), url: http2.URL, connected: true},
		"a handshake of theirs that ends":  {options: fetch.Options{HTTP: &http.Client{}}, url: "https://" + raw(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) })},
		"one of theirs behind a handshake": {options: fetch.Options{HTTP: http1.Client()}, url: http1.URL, connected: true},
		"a handshake of theirs that holds": {options: fetch.Options{HTTP: &http.Client{Transport: silent{}}}, url: "https://issuer.example", connected: true},
		"whatever theirs says, who knows":  {options: fetch.Options{HTTP: &http.Client{}}, url: "http://" + gone.Addr().String(), connected: true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := client(t, c.options).Post(ctx, fetch.Form{URL: c.url, Values: form})
			require.Error(t, err)
			var none *fetch.ConnectError
			require.Equal(t, !c.connected, errors.As(err, &none), "%v", err)
			if none != nil {
				require.Equal(t, errors.Unwrap(none).Error(), none.Error(), "it says no less than its cause")
			}
		})
	}
}

// silent is a transport that reports its handshakes and not its connections.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	httptrace.ContextClientTrace(r.Context()).TLSHandshakeDone(tls.ConnectionState{}, nil)
	return nil, io.EOF
}
