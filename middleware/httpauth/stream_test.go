package httpauth_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

// almostOver is a Config under which a token of one hour has a little left. Time
// goes on from there by the machine's own clock.
func almostOver(t *testing.T) (httpauth.Config, string) {
	issuer := jwttest.NewIssuer(audience)
	t.Cleanup(issuer.Close)
	expiry := time.Now().Add(time.Hour).Truncate(time.Second)
	first := sync.OnceValue(time.Now) // when the first token is judged
	now := func() time.Time { return expiry.Add(time.Since(first()) - 300*time.Millisecond) }
	c := issuer.Config()
	c.Leeway, c.Now = -1, now
	v, err := jwtverify.New(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	return httpauth.Config{Verifier: v, EndWithToken: true, Now: now}, issuer.Token(jwttest.Claims{"exp": expiry.Unix()})
}

func TestServerSentEventsEndWithTheToken(t *testing.T) {
	c, token := almostOver(t)
	cause := make(chan error, 1)
	server := httptest.NewServer(newAuth(t, c).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for n := 0; ; n++ {
			fmt.Fprintf(w, "data: %d\n\n", n)
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
			select {
			case <-r.Context().Done():
				cause <- context.Cause(r.Context())
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})))
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	require.NoError(t, err)
	with(token)(r)
	res, err := server.Client().Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	events, err := io.ReadAll(res.Body) // as long as the stream is open
	require.NoError(t, err)
	require.Contains(t, string(events), "data: 0\n")
	require.ErrorIs(t, <-cause, jwtverify.ErrExpired)
}

// The pattern of the package's documentation, with a connection that the server
// no longer knows of.
func TestAHijackedConnectionIsClosedByItsHandlerWhenTheTokenEnds(t *testing.T) {
	c, token := almostOver(t)
	ended := make(chan error, 1)
	server := httptest.NewServer(newAuth(t, c).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			ended <- err
			return
		}
		stop := context.AfterFunc(r.Context(), func() { conn.Close() })
		defer stop()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
		_, err = io.Copy(conn, buffered)
		ended <- err
	})))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: Upgrade\r\nAuthorization: Bearer %s\r\n\r\n", token)
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, 101, res.StatusCode)
	_, err = io.WriteString(conn, "ping\n")
	require.NoError(t, err)
	echo, err := in.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ping\n", echo)
	_, err = in.ReadByte() // until the token ends
	require.Error(t, err)
	require.ErrorIs(t, <-ended, net.ErrClosed)
}

// A handler that is called with a context which has ended answers as if all were well.
func TestWhereTheEndIsAskedForATokenThatIsOverIsRefused(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		until  time.Time
		status int
	}{"later": {now.Add(time.Hour), 200}, "now": {now, 401}, "never said": {time.Time{}, 401}} {
		t.Run(name, func(t *testing.T) {
			v := verifierFunc(func(context.Context, string) (*jwtverify.Token, error) {
				return &jwtverify.Token{ValidUntil: c.until}, nil
			})
			auth := newAuth(t, httpauth.Config{Verifier: v, EndWithToken: true, Now: func() time.Time { return now }})
			got := request(t, auth.Handler(whoami), with("a.b.c"))
			require.Equal(t, c.status, got.status)
			require.Equal(t, c.status == 401, strings.Contains(got.header.Get("WWW-Authenticate"), `error="invalid_token"`))
		})
	}
}

// Nothing waits for a token's end on behalf of a request that is over.
func TestTheContextEndsWithTheRequestToo(t *testing.T) {
	issuer, v := setup(t)
	var ctx context.Context
	handler := newAuth(t, httpauth.Config{Verifier: v, EndWithToken: true}).Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { ctx = r.Context() }))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	with(issuer.Token(nil))(r)
	handler.ServeHTTP(httptest.NewRecorder(), r)
	require.ErrorIs(t, context.Cause(ctx), context.Canceled)
}

func TestByDefaultARequestOutlivesItsToken(t *testing.T) {
	issuer, v := setup(t)
	has := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, deadline := r.Context().Deadline()
		fmt.Fprint(w, deadline)
	})
	token := with(issuer.Token(nil))
	require.Equal(t, "false", request(t, newAuth(t, httpauth.Config{Verifier: v}).Handler(has), token).body)
	ending := newAuth(t, httpauth.Config{Verifier: v, EndWithToken: true, AllowAnonymous: true})
	require.Equal(t, "true", request(t, ending.Handler(has), token).body)
	require.Equal(t, "false", request(t, ending.Handler(has), nil).body, "no token, no end")
}
