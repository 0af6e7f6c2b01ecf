package jwtverify

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Rule says what a token must have beyond being valid, for a route or a method.
// One Rule means the same in every adapter. Rules deny when in doubt: the zero
// Rule allows nothing, nor does one that was made of nothing.
type Rule struct {
	allows      func(context.Context, *Token) bool
	description string
	scopes      []string
}

// Scopes asks for all the scopes named. It panics, at registration as
// http.ServeMux.Handle does, if one is no scope-token (RFC 6749 §3.3), such as
// "a b".
func Scopes(all ...string) Rule {
	return scopeRule("all of the scopes", all, hasAll)
}

// AnyScope asks for at least one of the scopes named. It panics as [Scopes] does.
func AnyScope(scopes ...string) Rule {
	return scopeRule("any of the scopes", scopes, hasAny)
}

// Roles asks for all the roles named. It panics if one is empty.
func Roles(all ...string) Rule {
	return roleRule("all of the roles", all, hasAll)
}

// AnyRole asks for at least one of the roles named. It panics if one is empty.
func AnyRole(roles ...string) Rule {
	return roleRule("any of the roles", roles, hasAny)
}

// All asks for every rule to allow the token. Of no rules it allows nothing.
func All(rules ...Rule) Rule {
	rules = slices.Clone(rules)
	return Rule{
		description: join("all of", rules),
		scopes:      scopesOf(rules),
		allows: func(ctx context.Context, t *Token) bool {
			for _, r := range rules {
				if !r.Allows(ctx, t) {
					return false
				}
			}
			return len(rules) > 0
		},
	}
}

// Any asks for at least one rule to allow the token.
func Any(rules ...Rule) Rule {
	rules = slices.Clone(rules)
	return Rule{
		description: join("any of", rules),
		scopes:      scopesOf(rules),
		allows: func(ctx context.Context, t *Token) bool {
			for _, r := range rules {
				if r.Allows(ctx, t) {
					return true
				}
			}
			return false
		},
	}
}

// RuleFunc is a rule of the caller's own. The description is for people who read
// logs. A nil function allows nothing. It is called concurrently.
func RuleFunc(description string, allows func(context.Context, *Token) bool) Rule {
	return Rule{description: description, allows: allows}
}

// Allows reports whether a token satisfies the rule. No token, no.
func (r Rule) Allows(ctx context.Context, t *Token) bool {
	return r.allows != nil && t != nil && r.allows(ctx, t)
}

// Scopes lists every scope that the rule speaks of, for the scope parameter of a
// challenge (RFC 6750 §3).
func (r Rule) Scopes() []string { return slices.Clone(r.scopes) }

// String describes the rule.
func (r Rule) String() string {
	if r.allows == nil {
		return "nothing is allowed"
	}
	return r.description
}

func hasAny(have, want []string) bool {
	return slices.ContainsFunc(want, func(w string) bool { return slices.Contains(have, w) })
}

func scopeRule(what string, scopes []string, match func(have, want []string) bool) Rule {
	scopes = slices.Clone(scopes)
	for _, s := range scopes {
		if !scopeToken(s) {
			panic(fmt.Sprintf("jwtverify: %q is no scope-token (RFC 6749 §3.3): write each scope as a string of its own", s))
		}
	}
	return Rule{
		description: fmt.Sprintf("%s %q", what, scopes),
		scopes:      scopes,
		allows:      func(_ context.Context, t *Token) bool { return match(t.Scopes, scopes) },
	}
}

func roleRule(what string, roles []string, match func(have, want []string) bool) Rule {
	roles = slices.Clone(roles)
	if slices.Contains(roles, "") {
		panic("jwtverify: an empty role is nobody's: name one")
	}
	return Rule{
		description: fmt.Sprintf("%s %q", what, roles),
		allows:      func(_ context.Context, t *Token) bool { return match(t.Roles, roles) },
	}
}

// scopeToken is RFC 6749 §3.3: %x21 / %x23-5B / %x5D-7E, at least one.
func scopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

func scopesOf(rules []Rule) []string {
	var all []string
	for _, r := range rules {
		for _, s := range r.scopes {
			if !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	return all
}

func join(what string, rules []Rule) string {
	texts := make([]string, len(rules))
	for i, r := range rules {
		texts[i] = r.String()
	}
	return what + " (" + strings.Join(texts, "; ") + ")"
}
