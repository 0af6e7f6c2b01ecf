package providers

import (
	"slices"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// Zitadel takes ZITADEL's access tokens of the type JWT, which an application or a
// service user has to be set to; by default they are opaque. audience is the id of
// your API's project, for which clients ask with the scope
// urn:zitadel:iam:org:project:id:ID:aud.
//
// The tokens are RS256, or of the web key that the operator chose, with a kid and the
// typ JWT. aud lists the project and the client ids of all its applications, and an ID
// token's does too: ID tokens are told by amr and auth_time, which access tokens do
// not have, and by jti, which ID tokens do not. There is no scope in the JWT, so roles
// are all there is to authorise by. Refresh tokens are no JWTs.
//
// Roles are the names of the roles in each project that is an audience: the members of
// urn:zitadel:iam:org:project:ID:roles. The claim urn:zitadel:iam:org:project:roles is
// not read: it has the roles in the project of the client, and an admin of that one is
// none of yours. Which organisation granted a role is in the claim and not in Roles;
// where that matters add a Check.
//
// ZITADEL introspects these JWTs too, and says that one is inactive once it was revoked
// or its user has logged out. For introspect.HybridConfig.IntrospectJWTs create an
// application of the type API in the same project, and use its client id and secret or
// key, with the Issuer, Audience and Roles of this Config: the answer has them in the
// same places. A client of another project is told of every token that it is inactive.
func Zitadel(issuer string, audience ...string) jwtverify.Config {
	c := jwtverify.Config{
		Issuer:    issuer,
		Audience:  slices.Clone(audience),
		Required:  []string{"sub", "iat", "jti"},
		Forbidden: []string{"amr", "auth_time"},
	}
	for _, project := range audience {
		if project != "" { // which New reports
			c.Roles = append(c.Roles, []string{"urn:zitadel:iam:org:project:" + project + ":roles"})
		}
	}
	return c
}
