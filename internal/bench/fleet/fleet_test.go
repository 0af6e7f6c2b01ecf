package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheREADMEAndThePictureAreWhatThisCodeWrites(t *testing.T) {
	dir := t.TempDir()
	const update = "run `go -C internal/bench run ./fleet` and commit what it writes"
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "README.md"), readme, 0o600))

	var stdout, stderr bytes.Buffer
	require.Zero(t, run([]string{"-dir", dir}, &stdout, &stderr), stderr.String())
	for _, name := range []string{"README.md", "fleet.svg"} {
		committed, err := os.ReadFile(name)
		require.NoError(t, err)
		written, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(committed, written), "%s: %s", name, update)
	}
	require.Contains(t, string(readme), stdout.String(), update)
	require.Contains(t, string(readme), "](fleet.svg)")
}

func TestAREADMEWithoutAPlaceForTheTablesIsLeftAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "README.md")
	for _, text := range []string{"", tablesBegin, tablesEnd, tablesEnd + tablesBegin} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		require.Error(t, writeTables(file, "tables"))
		kept, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, text, string(kept))
	}
}

// TestAnotherBackoffIsAnotherPicture builds this command with another Backoff in
// internal/schedule, one that other libraries have: full jitter, from 1 s to 1 min.
func TestAnotherBackoffIsAnotherPicture(t *testing.T) {
	const schedule = "../../schedule/schedule.go"
	source, err := os.ReadFile(schedule)
	require.NoError(t, err)
	const declaration = "\nfunc Backoff("
	require.Equal(t, 1, strings.Count(string(source), declaration))
	changed := strings.Replace(string(source), declaration, "\nfunc replaced(", 1) + `
func Backoff(failures int, _ bool, _, _ time.Duration, random float64) time.Duration {
	return time.Duration(random * float64(min(time.Second<<min(failures, 6), time.Minute)))
}
`
	dir := t.TempDir()
	replacement := filepath.Join(dir, "schedule.go")
	require.NoError(t, os.WriteFile(replacement, []byte(changed), 0o600))
	original, err := filepath.Abs(schedule)
	require.NoError(t, err)
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{original: replacement}})
	require.NoError(t, err)
	overlayFile := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(overlayFile, overlay, 0o600))

	fleet := []string{"-replicas", "5000", "-dir", ""}
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(fleet, &stdout, &stderr), stderr.String())
	command := exec.CommandContext(t.Context(), "go", append([]string{"run", "-overlay", overlayFile, "."}, fleet...)...)
	command.Stderr = os.Stderr
	output, err := command.Output()
	require.NoError(t, err)

	require.Less(t, afterAnHour(t, stdout.String()), 2.0)
	require.Greater(t, afterAnHour(t, string(output)), 10.0)
}

// afterAnHour is our worst ten seconds after the outage of an hour, as a
// multiple of the steady rate.
func afterAnHour(t *testing.T, tables string) float64 {
	_, tables, found := strings.Cut(tables, outageOfAnHour.name)
	require.True(t, found)
	row := regexp.MustCompile(`(?m)^\| bearerguard (.*)\|$`).FindStringSubmatch(tables)
	require.Len(t, row, 2)
	times, err := strconv.ParseFloat(strings.TrimSpace(strings.Split(row[1], "|")[5]), 64)
	require.NoError(t, err)
	return times
}

func TestTheWorstTenSecondsMayBeginInAnySecond(t *testing.T) {
	h := &history{begin: -time.Minute, issuer: issuer{end: time.Minute}}
	c := newCount(h)
	for second, requests := range map[time.Duration]int{-40: 7, 0: 100, 3: 10, 12: 20, 13: 30, 59: 1} {
		c.add(second*time.Second, requests)
	}
	c.add(3*time.Second+999*time.Millisecond, 5)
	c.add(time.Minute, 1000) // after the end
	require.Equal(t, load{mean: 166.0 / 60, second: 100, window: 11.5}, c.load(0, time.Minute))
	require.Equal(t, load{mean: 66.0 / 59, second: 30, window: 5}, c.load(time.Second, time.Minute))
	require.Equal(t, load{mean: 7.0 / 60, second: 7, window: 0.7}, c.load(-time.Minute, 0))
}

func TestAReplicaIsUpToDateFromItsFirstFetchOfWhatIsCurrent(t *testing.T) {
	for name, c := range map[string]struct {
		history history
		fetched func(*count)
		want    time.Duration
	}{
		"rotation": {rotationAtOnce, func(c *count) {
			c.fetched(-time.Second, 0)
			c.fetched(5*time.Second, 1)
			c.fetched(9*time.Second, 1)
		}, 5 * time.Second},
		"rotation, known before": {rotationAhead, func(c *count) { c.fetched(-time.Minute, 1) }, 0},
		"rotation, old key":      {rotationAhead, func(c *count) { c.fetched(-2*time.Hour, 0) }, never},
		"outage": {outageOfAnHour, func(c *count) {
			c.fetched(-time.Second, 0)
			c.fetched(time.Hour+time.Second, 0)
		}, time.Second},
	} {
		n := newCount(&c.history)
		n.another()
		c.fetched(n)
		require.Equal(t, c.want, n.within(1), name)
	}
}

func TestCheckJudgesOurFleetAfterAnOutage(t *testing.T) {
	// A fleet that asks once a second before the outage, and in one second after
	// it as often as given.
	asked := func(peaks map[string]int) *results {
		r := &results{replicas: 1}
		for i := range histories {
			h := &histories[i]
			r.counts = append(r.counts, nil)
			for _, c := range contestants {
				n := newCount(h)
				for s := -time.Hour; h.begin < 0 && s < 0; s += time.Second {
					n.add(s, 1)
				}
				n.add(h.moment, peaks[h.name+c.name])
				r.counts[i] = append(r.counts[i], n)
			}
		}
		return r
	}
	ours, peer := contestants[0].name, contestants[2].name
	require.NoError(t, asked(nil).gate())
	require.NoError(t, asked(map[string]int{
		outageOfAnHour.name + ours: 20, outageOfAnHour.name + peer: 1000, rotationAtOnce.name + ours: 1000, startInOutage.name + ours: 1000,
	}).gate())
	for _, h := range []history{outageOfAnHour, outageWithDate} {
		for _, c := range contestants[:2] {
			require.ErrorContains(t, asked(map[string]int{h.name + c.name: 21}).gate(), h.name+": "+c.name+": 2.10 times")
		}
	}
}

func TestWrongFlagsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"stray"}, {"-replicas", "0"}, {"-replicas", "many"}, {"-unknown"}} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, 2, run(args, &stdout, &stderr), args)
		require.Empty(t, stdout.String())
		require.NotEmpty(t, stderr.String())
	}
}
