package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// quick makes a run short; it says nothing about speed.
var quick = []string{"-rounds", "2", "-slot", "100us", "-algs", "RS256", "-only", "verify"}

func runQuick(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(append(quick[:len(quick):len(quick)], args...), &out, &errs)
	return code, out.String(), errs.String()
}

func TestTheTableHasALineForEachContestantAndTheFloor(t *testing.T) {
	code, stdout, stderr := runQuick()
	require.Zero(t, code, stderr)
	for _, c := range append(contestants[:len(contestants):len(contestants)], floor) {
		require.Regexp(t, `(?m)^\Q`+c.name+`\E +\d`, stdout)
	}
	for _, j := range allJunk {
		require.Regexp(t, `(?m)^\Q`+j.name+`\E +\d`, stdout)
	}
}

func TestJSONHasTheSameRows(t *testing.T) {
	code, stdout, stderr := runQuick("-json")
	require.Zero(t, code, stderr)
	var got results
	require.NoError(t, json.Unmarshal([]byte(stdout), &got))
	rows := got.Rows
	require.Len(t, rows, len(contestants)+len(allJunk)+1)
	for _, r := range rows {
		require.Equal(t, "RS256", r.Alg)
		require.Positive(t, r.FloorRatio, r.Name)
		require.Positive(t, r.PeerRatio, r.Name)
		require.Positive(t, r.AllocsPerOp, r.Name)
	}
	require.Equal(t, floor.name, rows[len(rows)-1].Name)
	require.Equal(t, 1.0, rows[len(rows)-1].FloorRatio)
	require.Empty(t, got.Growth)
}

func TestTheGateJudgesEveryRowOfOurs(t *testing.T) {
	good := func() []row {
		return []row{
			{Alg: "RS256", Name: oursName, Kind: first, FloorRatio: 1.09, PeerRatio: 0.8, AllocsPerOp: 14},
			{Alg: "ES256", Name: againName, Kind: again, FloorRatio: 0.02, PeerRatio: 1. / 85, AllocsPerOp: 4},
			{Alg: "EdDSA", Name: "expired", Kind: late, FloorRatio: 1. / 18, PeerRatio: 0.04, AllocsPerOp: 10},
			{Alg: "RS256", Name: "two segments", Kind: early, FloorRatio: 1. / 50, PeerRatio: 0.01, AllocsPerOp: 3},
			{Alg: "RS256", Name: keyfuncName, Kind: first, Peer: true, FloorRatio: 9, PeerRatio: 1, AllocsPerOp: 900},
			{Alg: "RS256", Name: floor.name, FloorRatio: 1, PeerRatio: 1, AllocsPerOp: 11, Peer: true},
		}
	}
	require.NoError(t, gate(good(), 1))
	for i, spoil := range []func(*row){
		func(r *row) { r.FloorRatio = 1.0901 },
		func(r *row) { r.PeerRatio = 1. / 84 },
		func(r *row) { r.FloorRatio = 1. / 17 },
		func(r *row) { r.FloorRatio = 1. / 49 },
	} {
		rows := good()
		spoil(&rows[i])
		require.ErrorContains(t, gate(rows, 1), rows[i].Alg+", "+rows[i].Name)
		require.NoError(t, gate(rows, 1.1), "within the slack")
		rows = good()
		rows[i].AllocsPerOp++
		require.ErrorContains(t, gate(rows, 1000), rows[i].Alg+", "+rows[i].Name)
	}
	require.ErrorContains(t, gate(good(), 1e-9), "1.0900 times the floor, the limit is 1.0000", "slack is for what a first check costs beyond the floor")
	require.Error(t, gate(good()[4:], 1), "nothing of ours")
	nan := good()
	nan[0].FloorRatio = math.NaN()
	require.Error(t, gate(nan, 1))
}

func TestOnlyThePartsAskedForAreMeasured(t *testing.T) {
	code, stdout, stderr := runQuick("-only", "cores")
	require.Zero(t, code, stderr)
	require.NotContains(t, stdout, oursName)
	require.Regexp(t, `(?m)^64 +\d`, stdout)
}

func TestEveryContestantServesRequests(t *testing.T) {
	code, stdout, stderr := runQuick("-json", "-only", "requests")
	require.Zero(t, code, stderr)
	var got results
	require.NoError(t, json.Unmarshal([]byte(stdout), &got))
	names := map[string][]string{}
	for _, r := range got.Requests {
		require.Positive(t, r.PerSecond, r.Name)
		require.Positive(t, r.Ratio, r.Name)
		names[r.Server] = append(names[r.Server], r.Name)
	}
	all := []string{bareName}
	for _, c := range contestants {
		all = append(all, c.name)
	}
	all = append(all, hashName)
	require.Equal(t, map[string][]string{
		httpServer: all,
		"chi":      {bareName, oursName, againName},
		grpcServer: {bareName, oursName, againName, grpcPeerName},
	}, names)
	var table bytes.Buffer
	require.NoError(t, printServed(&table, got.Requests))
	for server, of := range names {
		for _, name := range append(of, server) {
			require.Regexp(t, `(?m)^\Q`+name+`\E +`, table.String())
		}
	}
}

// That a call fails is not enough: a server that is not there refuses everything too.
func TestEveryGuardOfGRPCSaysThatAForgeryIsUnauthenticated(t *testing.T) {
	iss, err := newIssuer()
	require.NoError(t, err)
	defer iss.Close()
	forged, err := iss.forgeries("RS256")
	require.NoError(t, err)
	bare, guarded, err := openGRPC(t.Context(), iss, "RS256")
	require.NoError(t, err)
	require.NoError(t, bare.ask("anything"))
	for _, g := range guarded {
		for check, token := range forged {
			require.Equal(t, codes.Unauthenticated, status.Code(g.ask(token)), "%s, %s", g.name, check)
		}
		_, err := g.load([]string{forged["exp"]}, time.Millisecond)
		require.ErrorContains(t, err, "Unauthenticated", g.name)
	}
}

func TestAnAnswerOtherThanTheHandlersEndsARun(t *testing.T) {
	s := serve(t.Context(), "refusing", hand(func(string) error { return errors.New("no") }))
	require.Error(t, s.ask("token"))
	_, err := s.load([]string{"token"}, time.Millisecond)
	require.ErrorContains(t, err, "401")
	other := serve(t.Context(), "other", http.NotFoundHandler())
	_, err = other.load([]string{"token"}, time.Millisecond)
	require.ErrorContains(t, err, "404")
}

func TestTheGateHoldsRepeatedTokensToTheHandlerThatHashes(t *testing.T) {
	require.NoError(t, gateServed(nil, 1), "none were measured")
	rows := []served{
		{httpServer, bareName, 1, 1000}, {httpServer, oursName, 0.5, 500}, {httpServer, againName, 0.855, 855}, {httpServer, hashName, 0.9, 900},
		{"chi", againName, 0.1, 100},
	}
	require.NoError(t, gateServed(rows, 1))
	require.Error(t, gateServed(rows[:3], 1), "there is nothing to hold them to")
	rows[2].Ratio, rows[3].Ratio = 0.84, 0.84
	require.ErrorContains(t, gateServed(rows, 1), hashName+": 0.840")
	require.NoError(t, gateServed(rows, 1.5))
	rows[2].Ratio, rows[3].Ratio = 0.85, 0.9
	require.ErrorContains(t, gateServed(rows, 1), againName)
	require.NoError(t, gateServed(rows, 1.5))
	rows[2].Ratio = math.NaN()
	require.Error(t, gateServed(rows, 1))
}

func TestGrowthIsComparedWithTheSmallest(t *testing.T) {
	small := dimension{"calls", []int{1, 4}, func(_ context.Context, size, _ int) (verifyFunc, error) {
		return func(string) error { time.Sleep(time.Duration(size) * time.Microsecond); return nil }, nil
	}}
	synctest.Test(t, func(t *testing.T) {
		rows, err := small.grow(t.Context(), 3, time.Millisecond)
		require.NoError(t, err)
		require.Len(t, rows, 2)
		require.Equal(t, grown{"calls", 1, 1, 1, 1000, 1000}, rows[0])
		require.Equal(t, grown{"calls", 4, 4, 4, 4000, 4000}, rows[1])
	})
}

func TestEveryDimensionVerifiesItsTokens(t *testing.T) {
	for _, d := range dimensions {
		for _, cacheBytes := range []int{-1, 0} {
			verify, err := d.open(t.Context(), d.sizes[1], cacheBytes)
			require.NoError(t, err)
			for range 2 * d.sizes[1] {
				require.NoError(t, verify(""), d.name)
			}
		}
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	for _, size := range dimensions[2].sizes {
		token, err := tokenOfSize(issuerName, "0", key, size)
		require.NoError(t, err)
		require.InDelta(t, size, len(token), 8)
	}
}

func TestWrongFlagsAreRefusedBeforeAnythingIsMeasured(t *testing.T) {
	for _, args := range [][]string{
		{"-algs", "HS256"},
		{"-algs", ""},
		{"-rounds", "0"},
		{"-slot", "0s"},
		{"-only", "all"},
		{"-slack", "0"},
		{"-check", "-only", "growth"},
		{"stray"},
	} {
		code, stdout, stderr := runQuick(args...)
		require.Equal(t, 2, code, args)
		require.Empty(t, stdout, args)
		require.NotEmpty(t, stderr, args)
	}
}
