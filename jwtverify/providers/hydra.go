package providers

import (
	"slices"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// Hydra takes the access tokens of Ory Hydra where its strategy for them is jwt; by
// default they are opaque. Refresh tokens always are.
//
// The tokens are RS256, or of the key that the operator chose, with a kid and the typ
// JWT. aud is empty unless the client asks for an audience that is registered with
// it: such a token is refused, so register one. Scopes are in scp as an array, or in
// scope as a string, as strategies.jwt.scope_claim says. There are no roles; claims
// that the consent app adds are in ext, or at the top if they are named in
// allowed_top_level_claims: set Roles to where they are.
//
// client_id and jti are required. Hydra's ID tokens, whose aud is the client's id and
// whose typ is the same, have no client_id and have rat, and are refused for either.
// Tokens for a JWT as a grant (RFC 7523) were seen with an empty kid, in version
// 1.11; those are refused as of an unknown key.
func Hydra(issuer string, audience ...string) jwtverify.Config {
	return jwtverify.Config{
		Issuer:    issuer,
		Audience:  slices.Clone(audience),
		Required:  []string{"sub", "client_id", "iat", "jti"},
		Forbidden: []string{"rat"},
	}
}
