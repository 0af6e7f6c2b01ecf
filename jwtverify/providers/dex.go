package providers

import (
	"slices"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// Dex takes Dex's ID tokens, as an API does whose clients send those. clients are
// the ids of Dex's clients, since that is what aud has: one as a string, or with the
// scope audience:server:client_id several, and azp then.
//
// Dex's access tokens are shaped like its ID tokens, at_hash included, and no claim
// tells one from the other: they are taken too. Nothing is won by that, since they
// are for the same client and say the same; but a client that hands its access token
// to somebody hands over what signs its user in here.
//
// The tokens are RS256, or of the key that the operator chose, with a kid and without
// typ. Refresh tokens are no JWTs. There are no scopes. Roles are the groups of the
// user, which are there if the client asked for the scope groups, in the words of the
// connector that the user came by: where two connectors have a group of one name, it
// is one role, and only federated_claims, for the scope federated:id, says which
// connector it was.
func Dex(issuer string, clients ...string) jwtverify.Config {
	return jwtverify.Config{
		Issuer:    issuer,
		Audience:  slices.Clone(clients),
		Types:     plainJWT(),
		Required:  []string{"sub", "iat"},
		Forbidden: notOfIDTokens(),
		Roles:     [][]string{{"groups"}},
	}
}
