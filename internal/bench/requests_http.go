package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

const (
	httpServer     = "net/http"
	answerOfAll    = "ok\n"
	requestPattern = "GET /orders HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: bench\r\nAccept: */*\r\nAuthorization: Bearer %s\r\n\r\n"
)

var orders = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answerOfAll) })

type hashed struct{}

// hash is the handler behind the least that a guard does which knows tokens by their
// SHA-256: it hashes what it finds, and puts something into the context.
var hash = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	sum := sha256.Sum256([]byte(token))
	orders(w, r.WithContext(context.WithValue(r.Context(), hashed{}, &sum)))
})

// openHTTP opens a server of net/http for the bare handler, one for each contestant,
// and one for the handler that hashes.
func openHTTP(ctx context.Context, iss *issuer, alg string) (bare *stand, guarded []*stand, err error) {
	for _, c := range contestants {
		handler, err := c.handler(ctx, iss, alg)
		if err != nil {
			return nil, nil, err
		}
		guarded = append(guarded, serve(ctx, c.name, handler))
	}
	hashing := serve(ctx, hashName, hash)
	hashing.lenient = true
	guarded = append(guarded, hashing)
	return serve(ctx, bareName, orders), guarded, nil
}

// openChi does so for a chi router, with and without our guard.
func openChi(ctx context.Context, iss *issuer, alg string) (bare *stand, guarded []*stand, err error) {
	for _, c := range contestants {
		if c.peer {
			continue
		}
		auth, err := c.auth(ctx, iss, alg)
		if err != nil {
			return nil, nil, err
		}
		r := chi.NewRouter()
		r.Use(auth.Handler)
		r.Get("/orders", orders)
		guarded = append(guarded, serve(ctx, c.name, r))
	}
	r := chi.NewRouter()
	r.Get("/orders", orders)
	return serve(ctx, bareName, r), guarded, nil
}

// handler is the handler behind the contestant's guard: with us the real one.
func (c *contestant) handler(ctx context.Context, iss *issuer, alg string) (http.Handler, error) {
	if c.peer {
		verify, err := c.open(ctx, iss, alg)
		return hand(verify), err
	}
	auth, err := c.auth(ctx, iss, alg)
	if err != nil {
		return nil, err
	}
	return auth.Handler(orders), nil
}

func (c *contestant) auth(ctx context.Context, iss *issuer, alg string) (*httpauth.Auth, error) {
	v, err := newVerifier(ctx, iss, alg, cacheBytes(c.kind))
	if err != nil {
		return nil, err
	}
	return httpauth.New(httpauth.Config{Verifier: v})
}

// hand is what a peer's user writes around a handler.
func hand(verify verifyFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || verify(token) != nil {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		orders(w, r)
	})
}

func serve(ctx context.Context, name string, h http.Handler) *stand {
	server := httptest.NewServer(h)
	context.AfterFunc(ctx, server.Close)
	return &stand{
		name: name,
		ask:  func(token string) error { return askHTTP(server, token) },
		load: func(tokens []string, slot time.Duration) (float64, error) { return loadHTTP(server, tokens, slot) },
	}
}

func askHTTP(server *httptest.Server, token string) error {
	r, err := http.NewRequest(http.MethodGet, server.URL+"/orders", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := server.Client().Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}

// loadHTTP writes requests that are ready made, and reads no more of an answer than
// where it ends.
func loadHTTP(server *httptest.Server, tokens []string, slot time.Duration) (float64, error) {
	requests := make([][]byte, len(tokens))
	for i, token := range tokens {
		requests[i] = fmt.Appendf(nil, requestPattern, token)
	}
	var count atomic.Int64
	var work sync.WaitGroup
	errs := make([]error, connections)
	start := time.Now()
	for n := range connections {
		work.Go(func() {
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				errs[n] = err
				return
			}
			defer conn.Close()
			if err := conn.SetDeadline(start.Add(slot + 10*time.Second)); err != nil {
				errs[n] = err
				return
			}
			in := bufio.NewReader(conn)
			for i := n; i == n || time.Since(start) < slot; i++ {
				if _, err := conn.Write(requests[i%len(requests)]); err != nil {
					errs[n] = err
					return
				}
				if err := skipAnswer(in); err != nil {
					errs[n] = err
					return
				}
				count.Add(1)
			}
		})
	}
	work.Wait()
	return float64(count.Load()) / time.Since(start).Seconds(), errors.Join(errs...)
}

// skipAnswer reads one answer, which must be the one of a request that was let in.
func skipAnswer(in *bufio.Reader) error {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("answered %q", line)
	}
	for len(line) > len("\r\n") {
		if line, err = in.ReadSlice('\n'); err != nil {
			return err
		}
	}
	var body [len(answerOfAll)]byte
	if _, err := io.ReadFull(in, body[:]); err != nil {
		return err
	}
	if string(body[:]) != answerOfAll {
		return fmt.Errorf("answered with %q", body)
	}
	return nil
}
