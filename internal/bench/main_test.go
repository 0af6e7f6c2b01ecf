package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// quick makes a run short; it says nothing about speed.
var quick = []string{"-rounds", "2", "-slot", "100us", "-algs", "RS256"}

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
}

func TestJSONHasTheSameRows(t *testing.T) {
	code, stdout, stderr := runQuick("-json")
	require.Zero(t, code, stderr)
	var rows []row
	require.NoError(t, json.Unmarshal([]byte(stdout), &rows))
	require.Len(t, rows, len(contestants)+1)
	for _, r := range rows {
		require.Equal(t, "RS256", r.Alg)
		require.Positive(t, r.FloorRatio, r.Name)
		require.Positive(t, r.PeerRatio, r.Name)
		require.Positive(t, r.AllocsPerOp, r.Name)
	}
	require.Equal(t, floor.name, rows[len(contestants)].Name)
	require.Equal(t, 1.0, rows[len(contestants)].FloorRatio)
}

func TestCheckFailsTheRunBeyondALimit(t *testing.T) {
	code, _, stderr := runQuick("-check", "-max-ratio", "Inf", "-max-allocs", "100000")
	require.Zero(t, code, stderr)
	code, _, stderr = runQuick("-check", "-max-ratio", "Inf", "-max-allocs", "0")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "allocations, the limit is 0")
	code, _, stderr = runQuick("-check", "-max-ratio", "0", "-max-allocs", "100000")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "times the floor, the limit is 0")
}

func TestTheGateJudgesOnlyOurRS256(t *testing.T) {
	good := row{Alg: "RS256", Name: oursName, FloorRatio: 1.25, AllocsPerOp: 45}
	slow := row{Alg: "RS256", Name: keyfuncName, FloorRatio: 9, AllocsPerOp: 900}
	elsewhere := row{Alg: "ES256", Name: oursName, FloorRatio: 9, AllocsPerOp: 900}
	require.NoError(t, gate([]row{slow, elsewhere, good}, 1.25, 45))
	require.Error(t, gate([]row{slow, elsewhere}, 1.25, 45), "nothing measured")
}

func TestWrongFlagsAreRefusedBeforeAnythingIsMeasured(t *testing.T) {
	for _, args := range [][]string{
		{"-algs", "HS256"},
		{"-algs", ""},
		{"-rounds", "0"},
		{"-slot", "0s"},
		{"-check", "-algs", "ES256"},
		{"stray"},
	} {
		code, stdout, stderr := runQuick(args...)
		require.Equal(t, 2, code, args)
		require.Empty(t, stdout, args)
		require.NotEmpty(t, stderr, args)
	}
}
