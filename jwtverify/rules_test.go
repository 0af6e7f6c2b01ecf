package jwtverify_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
)

func TestRules(t *testing.T) {
	token := &jwtverify.Token{Scopes: []string{"a", "b"}, Roles: []string{"admin"}}
	yes := jwtverify.RuleFunc("yes", func(context.Context, *jwtverify.Token) bool { return true })
	no := jwtverify.RuleFunc("no", func(context.Context, *jwtverify.Token) bool { return false })
	for name, c := range map[string]struct {
		rule jwtverify.Rule
		want bool
	}{
		"one scope":             {jwtverify.Scopes("a"), true},
		"all scopes":            {jwtverify.Scopes("b", "a"), true},
		"one scope of two":      {jwtverify.Scopes("a", "c"), false},
		"a scope is no prefix":  {jwtverify.Scopes("ab"), false},
		"a scope has its case":  {jwtverify.Scopes("A"), false},
		"any scope":             {jwtverify.AnyScope("c", "b"), true},
		"no scope of any":       {jwtverify.AnyScope("c", "d"), false},
		"a role":                {jwtverify.Roles("admin"), true},
		"a role too many":       {jwtverify.Roles("admin", "root"), false},
		"any role":              {jwtverify.AnyRole("root", "admin"), true},
		"a scope is no role":    {jwtverify.AnyRole("a"), false},
		"a function":            {yes, true},
		"all":                   {jwtverify.All(yes, jwtverify.Scopes("a")), true},
		"all but one":           {jwtverify.All(yes, no), false},
		"any":                   {jwtverify.Any(no, yes), true},
		"not any":               {jwtverify.Any(no, no), false},
		"the zero rule":         {jwtverify.Rule{}, false},
		"no scopes":             {jwtverify.Scopes(), false},
		"no scopes of any":      {jwtverify.AnyScope(), false},
		"no roles":              {jwtverify.Roles(), false},
		"no roles of any":       {jwtverify.AnyRole(), false},
		"all of nothing":        {jwtverify.All(), false},
		"any of nothing":        {jwtverify.Any(), false},
		"all, one of them zero": {jwtverify.All(yes, jwtverify.Rule{}), false},
		"any, one of them zero": {jwtverify.Any(jwtverify.Rule{}, yes), true},
		"a nil function":        {jwtverify.RuleFunc("nil", nil), false},
		"nested":                {jwtverify.Any(jwtverify.All(no, yes), jwtverify.All(yes, jwtverify.Any(no, yes))), true},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, c.rule.Allows(t.Context(), token))
			require.False(t, c.rule.Allows(t.Context(), nil), "no token, no")
			require.NotEmpty(t, c.rule.String())
		})
	}
}

func TestARuleThatCanNeverHoldPanicsAtRegistration(t *testing.T) {
	for _, scope := range []string{"", "a b", "a\"", `a\`, "a\n", "é", "a\x7f"} {
		require.Panics(t, func() { jwtverify.Scopes("ok", scope) }, "%q", scope)
		require.Panics(t, func() { jwtverify.AnyScope(scope) }, "%q", scope)
	}
	require.Panics(t, func() { jwtverify.Roles("") })
	require.Panics(t, func() { jwtverify.AnyRole("ok", "") })
}

func TestARuleNamesItsScopesForTheChallenge(t *testing.T) {
	rule := jwtverify.All(jwtverify.Scopes("a", "b"), jwtverify.Any(jwtverify.AnyScope("b", "c"), jwtverify.Roles("admin")))
	require.Equal(t, []string{"a", "b", "c"}, rule.Scopes())
	rule.Scopes()[0] = "changed"
	require.Equal(t, []string{"a", "b", "c"}, rule.Scopes())
	require.Empty(t, jwtverify.Roles("admin").Scopes())
	require.Equal(t, `all of (all of the scopes ["a" "b"]; any of (any of the scopes ["b" "c"]; all of the roles ["admin"]))`, rule.String())
}

func TestARuleIsNotChangedByWhoMadeIt(t *testing.T) {
	names := []string{"a"}
	scopes, roles := jwtverify.Scopes(names...), jwtverify.Roles(names...)
	rules := []jwtverify.Rule{scopes}
	all := jwtverify.All(rules...)
	names[0], rules[0] = "b", jwtverify.Rule{}
	token := &jwtverify.Token{Scopes: []string{"a"}, Roles: []string{"a"}}
	for _, r := range []jwtverify.Rule{scopes, roles, all} {
		require.True(t, r.Allows(t.Context(), token))
	}
}
