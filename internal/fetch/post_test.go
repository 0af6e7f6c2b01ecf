package fetch_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/internal/fetch"
)

var form = url.Values{"token": {"a b+c/d="}, "token_type_hint": {"access_token"}}

func TestAFormIsPostedWithItsCredentials(t *testing.T) {
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, ok := r.BasicAuth()
		if err := r.ParseForm(); err != nil || !ok || r.Method != http.MethodPost || r.URL.RawQuery != "" ||
			user != "id" || password != "secret" || r.Header.Get("Accept") != "application/json" || r.Header["Idempotency-Key"] != nil {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = io.WriteString(w, r.PostForm.Encode())
	})
	res, err := client(t, fetch.Options{}).Post(t.Context(), fetch.Form{
		URL: at, Values: form, User: "id", Password: "secret", Accept: "application/json",
	})
	require.NoError(t, err)
	require.Equal(t, form.Encode(), string(res.Body))
	require.Equal(t, fetch.Loopback, res.Reach)
}

// RFC 9110 §15.4.8: 307 and 308 would send the body, token and secret and all, to
// wherever the answer says.
func TestACredentialFollowsNoRedirect(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		var strayed atomic.Int32
		elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { strayed.Add(1) })
		for _, to := range []string{elsewhere, "/again"} {
			at := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/" {
					strayed.Add(1)
				}
				w.Header().Set("Location", to)
				w.WriteHeader(status)
			})
			_, err := client(t, fetch.Options{}).Post(t.Context(), fetch.Form{URL: at + "/", Values: form, User: "id", Password: "secret"})
			var answered *fetch.StatusError
			require.ErrorAs(t, err, &answered)
			require.Equal(t, status, answered.Status)
			require.NotContains(t, err.Error(), "secret")
			require.Zero(t, strayed.Load())
		}
	}
}

func TestAPostIsBoundAsAGetIs(t *testing.T) {
	c := client(t, fetch.Options{})
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(r.URL.Query().Get("size"))
		if size == 0 {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		}
		_, _ = w.Write(make([]byte, size))
	})
	res, err := c.Post(t.Context(), fetch.Form{URL: at + "?size=" + strconv.Itoa(fetch.MaxBody)})
	require.NoError(t, err)
	require.Len(t, res.Body, fetch.MaxBody)
	_, err = c.Post(t.Context(), fetch.Form{URL: at + "?size=" + strconv.Itoa(fetch.MaxBody+1)})
	require.ErrorContains(t, err, "larger than 256 KiB")
	_, err = c.Post(t.Context(), fetch.Form{URL: at})
	require.Equal(t, 7*time.Second, fetch.RetryAfter(err))

	for url, fault := range map[string]string{
		"http://issuer.example/":         "plain http",
		"https://user:pw@issuer.example": "holds credentials",
		"ftp://issuer.example/":          "scheme is not https",
	} {
		_, err := c.Post(t.Context(), fetch.Form{URL: url})
		require.ErrorContains(t, err, fault)
	}
	_, err = c.Post(t.Context(), fetch.Form{URL: at, Within: fetch.Public})
	require.ErrorContains(t, err, "it leads from a public address to a loopback one")
}

func TestAPostEndsAfterFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := piped(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		began := time.Now()
		_, err := c.Post(t.Context(), fetch.Form{URL: "http://127.0.0.1/"})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, fetch.Timeout, time.Since(began))
	})
}

// A server may close a kept connection at the very moment at which it is used
// again, which is no fault of the exchange.
func TestAKeptConnectionThatWasClosedCostsNoExchange(t *testing.T) {
	var connections atomic.Int32
	var server *http.Server
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }),
		ConnState: func(c net.Conn, s http.ConnState) {
			if s == http.StateNew {
				connections.Add(1)
			}
		},
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	c := client(t, fetch.Options{KeepAlive: true})
	post := func() {
		_, err := c.Post(t.Context(), fetch.Form{URL: "http://" + listener.Addr().String()})
		require.NoError(t, err)
	}
	post()
	post()
	require.EqualValues(t, 1, connections.Load())
	server.SetKeepAlivesEnabled(false) // closes those that are idle
	post()
	post()
}

// As many connections are kept as there are exchanges at once: to make one anew for each
// would cost a handshake and a port.
func TestExchangesAtTheSameTimeKeepTheirConnections(t *testing.T) {
	const most = 64
	var connections atomic.Int32
	var together [2]sync.WaitGroup
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		round, _ := strconv.Atoi(r.URL.Query().Get("round"))
		together[round].Done()
		together[round].Wait()
		_, _ = io.WriteString(w, "{}")
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	c := client(t, fetch.Options{KeepAlive: true})
	for round := range together {
		together[round].Add(most)
		var exchanges sync.WaitGroup
		for range most {
			exchanges.Go(func() {
				_, err := c.Post(t.Context(), fetch.Form{URL: s.URL + "?round=" + strconv.Itoa(round)})
				require.NoError(t, err)
			})
		}
		exchanges.Wait()
		require.EqualValues(t, most, connections.Load())
	}
}
