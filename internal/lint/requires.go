package main

import (
	"fmt"
	"slices"
	"strings"
)

// agreed are the modules that the root module may require directly. Each of
// them reaches everybody who uses the library.
var agreed = []string{
	"github.com/go-chi/chi/v5",
	"github.com/go-json-experiment/json",
	"github.com/lestrrat-go/jwx/v2",
	"github.com/stretchr/testify",
	"golang.org/x/sync",
}

// requirements checks the text of the root's go.mod.
func requirements(gomod string) []string {
	var findings []string
	directive := "" // of the parenthesised block that we are in
	for i, line := range strings.Split(gomod, "\n") {
		code, comment, _ := strings.Cut(line, "//")
		words := strings.Fields(code)
		verb := directive
		switch {
		case len(words) == 0:
			continue
		case words[0] == ")":
			directive = ""
			continue
		case len(words) == 2 && words[1] == "(":
			directive = words[0]
			continue
		case directive == "":
			verb, words = words[0], words[1:]
		}
		switch verb {
		case "module", "go":
		case "require":
			if strings.TrimSpace(comment) != "indirect" && !slices.Contains(agreed, words[0]) {
				findings = append(findings, fmt.Sprintf("go.mod:%d: the root module may not require %s", i+1, words[0]))
			}
		default:
			findings = append(findings, fmt.Sprintf("go.mod:%d: the root module may not have a %s directive", i+1, verb))
		}
	}
	return findings
}
