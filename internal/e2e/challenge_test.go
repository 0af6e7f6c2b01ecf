package e2e_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/docker/distribution/registry/client/auth/challenge"
	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/middleware/bearer"
)

// Clients written by others read our challenges with parsers that know nothing of
// us. This one is of the clients of Docker's registry, who find out by way of
// challenges where to get a token.
func TestAnIndependentParserReadsEveryChallenge(t *testing.T) {
	var ascii strings.Builder
	for c := byte(' '); c <= '~'; c++ {
		ascii.WriteByte(c)
	}
	realms := []string{"", "api", `say "hi"`, `C:\orders`, `\`, `"`, `a, Basic realm="b"`, "orders=all", ascii.String()}
	scopes := [][]string{nil, {"read"}, {"read:orders", "write:orders"}, {"a\"b", "\\", " ", "https://api.example.com/orders?x=1&y=2"}}
	answers := []error{
		bearer.ErrNoCredentials, bearer.ErrMalformedRequest, bearer.ErrForbidden, bearer.ErrStreamExpired,
		jwtverify.ErrExpired, jwtverify.ErrUnavailable, errors.New("unknown"),
	}
	read := 0
	for _, realm := range realms {
		for _, scope := range scopes {
			for _, err := range answers {
				d := bearer.Decide(err)
				if !d.Challenge {
					continue
				}
				c := bearer.Challenge{Realm: realm, Code: d.Code, Scopes: scope}
				parsed := challenge.ResponseChallenges(&http.Response{
					StatusCode: http.StatusUnauthorized, // it reads those of no other
					Header:     http.Header{"Www-Authenticate": {c.String()}},
				})
				require.Len(t, parsed, 1, c)
				require.Equal(t, "bearer", parsed[0].Scheme)
				want := map[string]string{"realm": realm}
				if realm == "" {
					want["realm"] = bearer.DefaultRealm
				}
				if d.Code != "" {
					want["error"], want["error_description"] = d.Code, parsed[0].Parameters["error_description"]
					require.NotEmpty(t, want["error_description"])
				}
				if len(scope) > 0 {
					// What a scope may not hold is left out (RFC 6750 §3).
					want["scope"] = strings.Join(strings.Fields(strings.NewReplacer(`"`, "", `\`, "").Replace(strings.Join(scope, " "))), " ")
				}
				require.Equal(t, want, parsed[0].Parameters, c.String())
				read++
			}
		}
	}
	require.Equal(t, len(realms)*len(scopes)*5, read)
}
