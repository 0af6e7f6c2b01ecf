package providers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// GitHubActions takes the ID tokens that github.com gives to the jobs of a workflow
// that may write id-token. Every workflow in the world can have one with any aud, so
// repositories names those that may come: "owner/repo", or "owner/*" for all of an
// owner's. To name none is a fault.
//
// They are compared with repository and repository_owner, each as a whole and in the
// spelling that the token has: GitHub takes "Owner" and "owner" for the same, and
// this does not, so write the names as GitHub shows them. Names can be given up and
// taken by somebody else, which numbers cannot; and every workflow of a repository,
// on every branch, can have a token. To be stricter add to Values:
//
//	c := providers.GitHubActions("https://deploy.example.com", "octo-org/octo-repo")
//	c.Values["repository_owner_id"] = []string{"65"}
//	c.Values["environment"] = []string{"prod"}
//
// The tokens are RS256 with a kid and the typ JWT and live for some minutes. sub is
// made as the owner wants it; aud is https://github.com/ and the owner's name unless
// the job asks for another: let it ask for one of yours, so that a token for you is
// of use nowhere else. There are no scopes and no roles, and GitHub gives no other
// kind of token with these keys, as far as is documented. For GitHub Enterprise,
// whose issuer is its own, set Issuer.
func GitHubActions(audience string, repositories ...string) jwtverify.Config {
	if len(repositories) == 0 {
		return fault("GitHubActions", "every workflow in the world can ask for a token for %q: write the repositories that may come, as owner/repo or owner/*", audience)
	}
	var one, all, owners []string
	for _, repository := range repositories {
		owner, name, _ := strings.Cut(repository, "/")
		switch {
		case !gitHubName(owner) || name != "*" && !gitHubName(name):
			return fault("GitHubActions", "%q is no repository: write owner/repo, or owner/* for all of an owner's", repository)
		case name == "*":
			all = append(all, owner)
		default:
			one = append(one, repository)
		}
		owners = append(owners, owner)
	}
	c := jwtverify.Config{
		Issuer:     "https://token.actions.githubusercontent.com",
		Audience:   []string{audience},
		Algorithms: []string{"RS256"},
		Types:      []string{"JWT"},
		Required:   []string{"sub", "iat", "jti", "repository", "repository_owner"},
		Values:     map[string][]string{"repository_owner": owners},
		Forbidden:  notOfIDTokens(),
	}
	switch {
	case len(all) == 0:
		c.Values["repository"] = one
	case len(one) > 0: // one or the other, which Values cannot say
		c.Checks = []func(context.Context, *jwtverify.Token) error{func(_ context.Context, t *jwtverify.Token) error {
			claims, err := jwtverify.Claims[struct {
				Repository string `json:"repository"`
				Owner      string `json:"repository_owner"`
			}](t)
			if err == nil && (slices.Contains(one, claims.Repository) || slices.Contains(all, claims.Owner)) {
				return nil
			}
			return fmt.Errorf("%w: it is of none of the repositories", jwtverify.ErrClaims)
		}}
	}
	return c
}

// gitHubName reports whether an owner or a repository may be called so.
func gitHubName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.", r))
	})
}
