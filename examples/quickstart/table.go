package main

import (
	"fmt"
	"io"
	"strings"
)

const (
	tableRow  = "%2v  %-5s  %-35s  %-6v  %-11s  %s\n"
	toldWidth = 50 // and 120 for the whole line, at most
)

func printHeader(out io.Writer) {
	fmt.Fprintf(out, tableRow, "", "", "THE CLIENT SENDS", "STATUS", "REASON", "CHALLENGE")
}

func printRow(out io.Writer, number int, r row, got answer) {
	if got == r.want {
		printAnswer(out, number, "ok", r.sends, got)
		return
	}
	printAnswer(out, number, "WRONG", r.sends, got)
	printAnswer(out, "", "", "  it ought to be", r.want)
}

func printAnswer(out io.Writer, number any, mark, sends string, a answer) {
	lines := wrap(a.told)
	fmt.Fprintf(out, tableRow, number, mark, sends, a.status, a.reason, lines[0])
	for _, line := range lines[1:] {
		fmt.Fprintf(out, tableRow, "", "", "", "", "", "  "+line)
	}
}

// wrap breaks a challenge between its parameters.
func wrap(told string) []string {
	lines := []string{""}
	for _, part := range strings.SplitAfter(told, ",") {
		last := len(lines) - 1
		if len(lines[last])+len(part) > toldWidth {
			lines = append(lines, strings.TrimSpace(part))
		} else {
			lines[last] += part
		}
	}
	return lines
}

func printLegend(out io.Writer) {
	fmt.Fprint(out, `
REASON     what Verify said, for the API's own logs and metrics; the client does not learn it
CHALLENGE  the WWW-Authenticate header, here without its error_description, which is a fixed text

`)
}
