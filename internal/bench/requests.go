package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

// served is one line of the table of whole requests.
type served struct {
	Name      string  `json:"name"`
	Ratio     float64 `json:"ratio"` // of requests a second to those of the bare handler
	PerSecond float64 `json:"per_second"`
}

const (
	bareName       = "bare handler"
	requestTokens  = 100 // that come in turns
	connections    = 8
	againServed    = 0.95 // of the bare handler's requests: the least of -check
	answerOfAll    = "ok\n"
	requestPattern = "GET /orders HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: bench\r\nAccept: */*\r\nAuthorization: Bearer %s\r\n\r\n"
)

// stand is one server and what was seen of it.
type stand struct {
	name      string
	server    *httptest.Server
	perSecond []float64
	ratios    []float64
}

var orders = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answerOfAll) })

// guarded is what a peer's user writes around a handler.
func guarded(verify verifyFunc) http.Handler {
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

// stands opens a server for the bare handler and one for each contestant, and
// has each of these prove itself.
func stands(ctx context.Context, iss *issuer, alg string) (bare *stand, others []*stand, err error) {
	open := func(name string, h http.Handler) *stand {
		s := &stand{name: name, server: httptest.NewServer(h)}
		context.AfterFunc(ctx, s.server.Close)
		return s
	}
	good, err := iss.token(alg, nil)
	if err != nil {
		return nil, nil, err
	}
	forged, err := iss.forgeries(alg)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range contestants {
		handler, err := c.handler(ctx, iss, alg)
		if err != nil {
			return nil, nil, err
		}
		s := open(c.name, handler)
		if err := prove(s.ask, good, forged); err != nil {
			return nil, nil, fmt.Errorf("%s over HTTP: %w", c.name, err)
		}
		others = append(others, s)
	}
	return open(bareName, orders), others, nil
}

// handler is the handler behind the contestant's guard: with us the real one.
func (c *contestant) handler(ctx context.Context, iss *issuer, alg string) (http.Handler, error) {
	if c.peer {
		verify, err := c.open(ctx, iss, alg)
		return guarded(verify), err
	}
	v, err := newVerifier(ctx, iss, alg, cacheBytes(c.kind))
	if err != nil {
		return nil, err
	}
	auth, err := httpauth.New(httpauth.Config{Verifier: v})
	if err != nil {
		return nil, err
	}
	return auth.Handler(orders), nil
}

// ask makes one request, as everybody does.
func (s *stand) ask(token string) error {
	r, err := http.NewRequest(http.MethodGet, s.server.URL, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := s.server.Client().Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}

// wholeRequests measures requests a second, each contestant's between two slots
// of the bare handler. Clients and servers share the process and its processors,
// so the clients do as little as they can: they write bytes that are ready made,
// and read no more of an answer than where it ends.
func wholeRequests(ctx context.Context, iss *issuer, alg string, rounds int, slot time.Duration) ([]served, error) {
	bare, others, err := stands(ctx, iss, alg)
	if err != nil {
		return nil, err
	}
	var requests [][]byte
	for n := range requestTokens {
		token, err := iss.token(alg, map[string]any{"jti": strconv.Itoa(n)})
		if err != nil {
			return nil, err
		}
		requests = append(requests, fmt.Appendf(nil, requestPattern, token))
	}
	before, err := bare.load(requests, slot) // which warms up, and all start with what it left
	if err != nil {
		return nil, err
	}
	for _, s := range others {
		if _, err := s.load(requests, slot); err != nil {
			return nil, err
		}
	}
	for range rounds {
		rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
		for _, s := range others {
			mine, mineErr := s.load(requests, slot)
			after, bareErr := bare.load(requests, slot)
			if err := errors.Join(mineErr, bareErr); err != nil {
				return nil, err
			}
			s.perSecond, bare.perSecond = append(s.perSecond, mine), append(bare.perSecond, after)
			s.ratios = append(s.ratios, mine/((before+after)/2))
			before = after
		}
	}
	rows := []served{{bareName, 1, median(bare.perSecond)}}
	for _, c := range contestants {
		for _, s := range others {
			if s.name == c.name {
				rows = append(rows, served{s.name, median(s.ratios), median(s.perSecond)})
			}
		}
	}
	return rows, nil
}

// load sends requests for a while, on a few connections, and returns how many
// were answered in a second.
func (s *stand) load(requests [][]byte, slot time.Duration) (float64, error) {
	var count atomic.Int64
	var work sync.WaitGroup
	errs := make([]error, connections)
	start := time.Now()
	for n := range connections {
		work.Go(func() {
			conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
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
					errs[n] = fmt.Errorf("%s: %w", s.name, err)
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

func printServed(w io.Writer, rows []served) error {
	var out strings.Builder
	fmt.Fprintf(&out, "\nWhole requests through net/http on loopback, %d connections, %d tokens in turns; clients and server on the same processors.\n\n", connections, requestTokens)
	fmt.Fprintf(&out, "%-32s %9s %10s\n", "", "x bare", "requests/s")
	for _, r := range rows {
		fmt.Fprintf(&out, "%-32s %9.3f %10.0f\n", r.Name, r.Ratio, r.PerSecond)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// gateServed holds tokens that come again to their share of the bare handler's
// requests.
func gateServed(rows []served, slack float64) error {
	for _, r := range rows {
		if limit := 1 - (1-againServed)*slack; r.Name == againName && !(r.Ratio >= limit) {
			return fmt.Errorf("%s: %.3f of the bare handler's requests, the limit is %.3f", r.Name, r.Ratio, limit)
		}
	}
	return nil
}
