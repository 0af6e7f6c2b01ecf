package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

// A connection that was upgraded is a tunnel: nothing in it is ever asked for a token.
func TestATunnelThroughTheGatewayEndsWithItsToken(t *testing.T) {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(conn, conn) // until the gateway closes it
	}))
	defer service.Close()
	config := issuer.Config()
	config.Leeway = -1 // none, so that the tunnel ends sooner
	v, err := jwtverify.New(config)
	require.NoError(t, err)
	defer v.Close()
	to, err := url.Parse(service.URL)
	require.NoError(t, err)
	handler, err := newGateway(v, to)
	require.NoError(t, err)
	gateway := httptest.NewServer(handler)
	defer gateway.Close()
	conn, err := net.Dial("tcp", gateway.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	token := issuer.Token(jwttest.Claims{"scope": "read:orders", "exp": time.Now().Unix() + 2})
	_, err = fmt.Fprintf(conn, "GET /orders HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\nAuthorization: Bearer %s\r\n\r\n", token)
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
	_, err = in.ReadByte() // until the token ends
	require.ErrorIs(t, err, io.EOF)
}

func TestNobodyIsRedirectedWithoutAToken(t *testing.T) {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	v, err := jwtverify.New(issuer.Config())
	require.NoError(t, err)
	defer v.Close()
	handler, err := newGateway(v, &url.URL{})
	require.NoError(t, err)
	for _, path := range []string{"/", "//orders", "/x/../orders", "/orders/", "/internal"} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://gateway.example.com"+path, nil))
		require.Equal(t, http.StatusUnauthorized, w.Code, path)
	}
}
