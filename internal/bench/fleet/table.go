package main

import (
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

// printed is the tables in Markdown, which reads well in a terminal too.
func printed(r *results) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s replicas; requests a second at the issuer.\n", grouped(float64(r.replicas)))
	for i, h := range histories {
		rows := [][]string{{"", "steady", "worst 10 s meanwhile", "worst 1 s after", "worst 10 s after", "× steady", "half up to date", "all up to date"}}
		for j, c := range contestants {
			n := r.counts[i][j]
			steady := r.steady(j)
			meanwhile := "–"
			if h.moment > 0 {
				meanwhile = grouped(n.meanwhile().window)
			}
			after := n.afterwards()
			rows = append(rows, []string{c.name, grouped(steady), meanwhile, grouped(after.second), grouped(after.window),
				times(after.window, steady), lasted(n.within(0.5)), lasted(n.within(1))})
		}
		fmt.Fprintf(&b, "\n**%s**\n\n%s", h.name, table(rows))
	}
	rows := [][]string{{"an outage of", "worst 10 s meanwhile, × steady", "worst 10 s after, × steady"}}
	for i, length := range otherOutages {
		n := r.outages[i]
		rows = append(rows, []string{lasted(length), times(n.meanwhile().window, n.steady()), times(n.afterwards().window, n.steady())})
	}
	fmt.Fprintf(&b, "\n**Outages of other lengths, %s**\n\n%s", contestants[0].name, table(rows))
	return b.String()
}

func times(rate, steady float64) string {
	if steady == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", rate/steady)
}

func lasted(d time.Duration) string {
	switch {
	case d == never:
		return "never"
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%.1f min", d.Minutes())
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}

// grouped writes a number with its thousands apart.
func grouped(f float64) string {
	text := fmt.Sprintf("%.0f", f)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// table aligns rows; the first is the head.
func table(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for n, row := range rows {
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				b.WriteString("| " + cell + pad)
			} else {
				b.WriteString(" | " + pad + cell)
			}
		}
		b.WriteString(" |\n")
		if n == 0 {
			for i, width := range widths {
				if i == 0 {
					b.WriteString("| " + strings.Repeat("-", width))
				} else {
					b.WriteString(" | " + strings.Repeat("-", width-1) + ":")
				}
			}
			b.WriteString(" |\n")
		}
	}
	return b.String()
}

const (
	tablesBegin = "<!-- written by the command -->\n"
	tablesEnd   = "<!-- end -->\n"
)

// writeTables replaces what stands between the marks.
func writeTables(file, tables string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), tablesBegin)
	_, after, ended := strings.Cut(rest, tablesEnd)
	if !found || !ended {
		return fmt.Errorf("%s has no place for the tables, from %q to %q", file, tablesBegin, tablesEnd)
	}
	return os.WriteFile(file, []byte(before+tablesBegin+"\n"+tables+"\n"+tablesEnd+after), 0o644)
}
