package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// served is one line of the table of whole requests.
type served struct {
	Server    string  `json:"server"`
	Name      string  `json:"name"`
	Ratio     float64 `json:"ratio"` // of requests a second to those of the bare server
	PerSecond float64 `json:"per_second"`
}

const (
	bareName      = "bare"
	hashName      = "SHA-256 alone"
	requestTokens = 100  // that come in turns
	connections   = 8    // or callers of one, with gRPC
	againServed   = 0.95 // of the requests of the handler that hashes: the least of -check
	hashServed    = 0.85 // of the bare handler's, likewise, or what both have in common got slow
)

// stand is one server and what was seen of it.
type stand struct {
	name    string
	lenient bool                     // lets everybody in, and is there for comparison
	ask     func(token string) error // one request, as everybody makes one
	// load makes requests for a while, a few at a time, and returns how many
	// were answered in a second.
	load func(tokens []string, slot time.Duration) (float64, error)

	perSecond []float64
	ratios    []float64
}

// servers are the kinds of server that requests are made of. Each opens one without
// a guard and one for each contestant.
var servers = []struct {
	name string
	open func(ctx context.Context, iss *issuer, alg string) (bare *stand, guarded []*stand, err error)
}{
	{httpServer, openHTTP},
	{"chi", openChi},
	{grpcServer, openGRPC},
}

// wholeRequests measures requests a second, each contestant's between two slots
// of the bare server. Clients and servers share the process and its processors,
// so the clients do as little as they can.
func wholeRequests(ctx context.Context, iss *issuer, alg string, rounds int, slot time.Duration) ([]served, error) {
	good, err := iss.token(alg, nil)
	if err != nil {
		return nil, err
	}
	forged, err := iss.forgeries(alg)
	if err != nil {
		return nil, err
	}
	var tokens []string
	for n := range requestTokens {
		token, err := iss.token(alg, map[string]any{"jti": strconv.Itoa(n)})
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, token)
	}
	var rows []served
	for _, s := range servers {
		bare, guarded, err := s.open(ctx, iss, alg)
		if err != nil {
			return nil, err
		}
		for _, g := range guarded {
			if g.lenient {
				continue
			}
			if err := prove(g.ask, good, forged); err != nil {
				return nil, fmt.Errorf("%s, %s: %w", s.name, g.name, err)
			}
		}
		measured, err := raceServed(s.name, bare, guarded, tokens, rounds, slot)
		if err != nil {
			return nil, err
		}
		rows = append(rows, measured...)
	}
	return rows, nil
}

func raceServed(server string, bare *stand, guarded []*stand, tokens []string, rounds int, slot time.Duration) ([]served, error) {
	before, err := bare.load(tokens, slot) // which warms up, and all start with what it left
	if err != nil {
		return nil, err
	}
	for _, g := range guarded {
		if _, err := g.load(tokens, slot); err != nil {
			return nil, err
		}
	}
	order := append([]*stand(nil), guarded...)
	for range rounds {
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, g := range order {
			mine, mineErr := g.load(tokens, slot)
			after, bareErr := bare.load(tokens, slot)
			if err := errors.Join(mineErr, bareErr); err != nil {
				return nil, err
			}
			g.perSecond, bare.perSecond = append(g.perSecond, mine), append(bare.perSecond, after)
			g.ratios = append(g.ratios, mine/((before+after)/2))
			before = after
		}
	}
	rows := []served{{server, bareName, 1, median(bare.perSecond)}}
	for _, g := range guarded {
		rows = append(rows, served{server, g.name, median(g.ratios), median(g.perSecond)})
	}
	return rows, nil
}

func printServed(w io.Writer, rows []served) error {
	var out strings.Builder
	fmt.Fprintf(&out, "\nWhole requests on loopback, %d connections (gRPC: callers of one), %d tokens in turns; clients and server on the same processors.\n", connections, requestTokens)
	server := ""
	for _, r := range rows {
		if r.Server != server {
			server = r.Server
			fmt.Fprintf(&out, "\n%-32s %9s %10s\n", server, "x bare", "requests/s")
		}
		fmt.Fprintf(&out, "%-32s %9.3f %10.0f\n", r.Name, r.Ratio, r.PerSecond)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// gateServed holds tokens that come again to their share, with net/http, of the
// requests of a handler that does no more than hash them. The bare handler does not
// do as much as any guard has to, so how far behind it that one is is held loosely.
func gateServed(rows []served, slack float64) error {
	ratio := func(name string) float64 {
		i := slices.IndexFunc(rows, func(r served) bool { return r.Server == httpServer && r.Name == name })
		if i < 0 {
			return math.NaN()
		}
		return rows[i].Ratio
	}
	if len(rows) == 0 {
		return nil
	}
	for _, l := range []struct {
		name, of  string
		is, least float64
	}{{hashName, bareName, ratio(hashName), hashServed}, {againName, hashName, ratio(againName) / ratio(hashName), againServed}} {
		if limit := 1 - (1-l.least)*slack; !(l.is >= limit) {
			return fmt.Errorf("%s: %.3f of the requests of %s, the limit is %.3f", l.name, l.is, l.of, limit)
		}
	}
	return nil
}
