package main

import (
	"slices"
	"strconv"
)

const (
	rootModule = "github.com/bearerguard/bearerguard"
	jwx        = "github.com/lestrrat-go/jwx"
)

// jwxPackages are the parts of jwx that internal/jose may use. The others
// fetch, cache or decide on trust, which is our own work.
var jwxPackages = []string{jwx + "/v2/jwa", jwx + "/v2/jwk", jwx + "/v2/jws"}

// imports holds the rules on who may import what, tests included.
func imports(s *source) []string {
	var findings []string
	for _, spec := range s.ast.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the compiler says it better
		}
		switch {
		case !within(imported, jwx) || within(s.dir, "internal/bench"):
		case !within(s.dir, "internal/jose"):
			findings = append(findings, s.finding(spec.Pos(), "%s may be imported by internal/jose alone", jwx))
		case !slices.Contains(jwxPackages, imported):
			findings = append(findings, s.finding(spec.Pos(), "internal/jose may use jwa, jwk and jws of jwx/v2 alone"))
		}
		// The replace directive hides it here, but at a user's the nested
		// module may meet another version of the root than it was built with.
		if s.module != "." && !within(s.module, "internal") && within(imported, rootModule+"/internal") {
			findings = append(findings, s.finding(spec.Pos(), "module %s may not import the root's internal packages", s.module))
		}
	}
	return findings
}
