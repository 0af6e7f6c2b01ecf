package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The page promises a test for each kind of incident: it must be where it says.
func TestEveryTestThatTheREADMENamesIsThere(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, incidents, ok := strings.Cut(string(text), "## What went wrong elsewhere")
	require.True(t, ok)
	rows := 0
	for line := range strings.Lines(incidents) {
		cells := strings.Split(line, " | ")
		if len(cells) != 3 || strings.Contains(line, "Tests that protect it") {
			continue
		}
		rows++
		named := 0
		for part := range strings.SplitSeq(cells[2], " · ") {
			folder, tests, ok := strings.Cut(part, ": ")
			require.True(t, ok, part)
			source := testSource(t, filepath.Join("../../..", strings.Trim(folder, "` |")))
			for _, name := range regexp.MustCompile(`Test\w+`).FindAllString(tests, -1) {
				named++
				require.Contains(t, source, "\nfunc "+name+"(t *testing.T) {", folder)
			}
		}
		require.Positive(t, named, line)
	}
	require.Equal(t, 13, rows)
}

func testSource(t *testing.T, folder string) string {
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	require.NoError(t, err)
	require.NotEmpty(t, files, folder)
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		all.Write(text)
	}
	return all.String()
}
