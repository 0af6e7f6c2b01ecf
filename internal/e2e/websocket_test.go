package e2e_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

// A WebSocket is a hijacked connection: the server no longer knows of it, so its
// handler closes it when the context ends.
func TestAWebSocketEndsWithItsToken(t *testing.T) {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	expiry := time.Now().Add(time.Hour).Truncate(time.Second)
	first := sync.OnceValue(time.Now) // when the token is judged
	now := func() time.Time { return expiry.Add(time.Since(first()) - 500*time.Millisecond) }
	config := issuer.Config()
	config.Leeway, config.Now = -1, now
	v, err := jwtverify.New(config)
	require.NoError(t, err)
	defer v.Close()
	auth, err := httpauth.New(httpauth.Config{Verifier: v, EndWithToken: true, Now: now})
	require.NoError(t, err)

	cause := make(chan error, 1)
	server := httptest.NewServer(auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		stop := context.AfterFunc(r.Context(), func() {
			cause <- context.Cause(r.Context())
			_ = conn.Close(websocket.StatusPolicyViolation, "the token has expired")
		})
		defer stop()
		for {
			kind, message, err := conn.Read(context.WithoutCancel(r.Context()))
			if err != nil {
				return
			}
			if err := conn.Write(r.Context(), kind, message); err != nil {
				return
			}
		}
	})))
	defer server.Close()

	_, response, err := websocket.Dial(t.Context(), server.URL, nil)
	require.Error(t, err)
	require.Equal(t, http.StatusUnauthorized, response.StatusCode, "no token, no WebSocket")

	token := issuer.Token(jwttest.Claims{"exp": expiry.Unix()})
	conn, _, err := websocket.Dial(t.Context(), server.URL, &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	require.NoError(t, err)
	defer conn.CloseNow()
	require.NoError(t, conn.Write(t.Context(), websocket.MessageText, []byte("ping")))
	_, message, err := conn.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "ping", string(message))
	_, _, err = conn.Read(t.Context()) // as long as it is open
	require.Equal(t, websocket.StatusPolicyViolation, websocket.CloseStatus(err))
	require.ErrorIs(t, <-cause, jwtverify.ErrExpired)
}
