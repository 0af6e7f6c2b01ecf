package providers_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/providers"
)

const deploy = "https://deploy.example.com"

func TestGitHubActionsIsNotOpenToAllRepositories(t *testing.T) {
	for _, repositories := range [][]string{
		nil, {""}, {"octo-org"}, {"octo-org/"}, {"/octo-repo"}, {"*"}, {"*/*"}, {"*/octo-repo"}, {"octo-*/x"}, {"octo-org/octo-*"},
		{"octo-org/octo-repo/x"}, {"octo-org/*/x"}, {"https://github.com/octo-org/octo-repo"}, {"octo-org/octo repo"}, {" octo-org/octo-repo"},
		{"repo:octo-org/octo-repo"}, {"octo-org/octo-repo", ""}, {"octo-org/octo-repo", "*/*"}, {"octo-örg/x"},
	} {
		_, err := jwtverify.New(providers.GitHubActions(deploy, repositories...))
		require.ErrorContains(t, err, "owner/*", "%q", repositories)
	}
	_, err := jwtverify.New(providers.GitHubActions("", "octo-org/octo-repo"))
	require.ErrorContains(t, err, "Audience")
}

// Whether one kind of name is given or both, each means the same.
func TestGitHubActionsTakesTheRepositoriesThatAreNamedAndNoOthers(t *testing.T) {
	repository := func(owner, name string) map[string]any {
		return changed(load(t, "GitHubActions").Accept[0].Claims, map[string]any{"repository": owner + "/" + name, "repository_owner": owner})
	}
	for _, c := range []struct {
		allowed  []string
		in, outs []map[string]any
	}{
		{
			[]string{"a/one", "b/two"},
			[]map[string]any{repository("a", "one"), repository("b", "two")},
			[]map[string]any{repository("a", "two"), repository("b", "one"), repository("A", "one"), repository("c", "one")},
		},
		{
			[]string{"a/*", "b/*"},
			[]map[string]any{repository("a", "one"), repository("b", "anything")},
			[]map[string]any{repository("A", "one"), repository("a-evil", "one"), repository("c", "a"), repository("*", "*")},
		},
		{
			[]string{"a/one", "b/*"},
			[]map[string]any{repository("a", "one"), repository("b", "one"), repository("b", "anything")},
			[]map[string]any{repository("a", "two"), repository("a", "*"), repository("c", "one"), repository("b-evil", "one")},
		},
		{
			[]string{"a/one", "a/*"},
			[]map[string]any{repository("a", "one"), repository("a", "two")},
			[]map[string]any{repository("b", "one")},
		},
	} {
		v := preset{config: func() jwtverify.Config { return providers.GitHubActions(deploy, c.allowed...) }}.verifier(t)
		for _, claims := range c.in {
			_, err := v.Verify(t.Context(), sign(t, map[string]any{"alg": "RS256", "typ": "JWT", "kid": "$kid"}, claims))
			require.NoError(t, err, "%s by %s", claims["repository"], c.allowed)
		}
		for _, claims := range c.outs {
			_, err := v.Verify(t.Context(), sign(t, map[string]any{"alg": "RS256", "typ": "JWT", "kid": "$kid"}, claims))
			require.ErrorIs(t, err, jwtverify.ErrClaims, "%s by %s", claims["repository"], c.allowed)
		}
	}
}

func TestGitHubActionsCanBeHeldToMore(t *testing.T) {
	for _, repositories := range [][]string{{"octo-org/octo-repo"}, {"octo-org/*"}, {"octo-org/*", "hooli/one"}} {
		v := preset{config: func() jwtverify.Config {
			c := providers.GitHubActions(deploy, repositories...)
			c.Values["environment"] = []string{"prod"}
			return c
		}}.verifier(t)
		good := load(t, "GitHubActions").Accept[0]
		_, err := v.Verify(t.Context(), good.token(t))
		require.NoError(t, err)
		_, err = v.Verify(t.Context(), sign(t, good.Header, changed(good.Claims, map[string]any{"environment": "dev"})))
		require.ErrorIs(t, err, jwtverify.ErrClaims)
	}
}
