package providers

import (
	"slices"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// RFC9068 takes the access tokens of an issuer that keeps to RFC 9068, and no
// other kind of token: typ is at+jwt, which no other kind has (§2.1), and sub,
// client_id, iat and jti are there (§2.2). Algorithms are those of
// [jwtverify.Config], since the issuer chooses; scopes are in scope. Roles have
// no place that every issuer uses: §2.2.3.1 names roles, groups and
// entitlements, to be set in Config.Roles.
func RFC9068(issuer string, audience ...string) jwtverify.Config {
	return jwtverify.Config{
		Issuer:   issuer,
		Audience: slices.Clone(audience),
		Types:    []string{"at+jwt"},
		Required: []string{"sub", "client_id", "iat", "jti"},
		Scopes:   [][]string{{"scope"}},
	}
}

// OIDCProvider takes the access tokens of npm's oidc-provider, and no other kind
// of token. It sends them as [RFC9068] has them: typ at+jwt, kid, the alg of the
// resource server's configuration (RS256 by default), one aud, scope as a
// string, and the client_id as sub where there is no user. There are no roles
// unless extraTokenClaims adds them. Its access tokens are opaque by default,
// and are refused as malformed: have getResourceServerInfo return
// accessTokenFormat jwt, and clients ask for this API by the resource parameter
// (RFC 8707). Its key set comes without cache headers.
func OIDCProvider(issuer string, audience ...string) jwtverify.Config {
	return RFC9068(issuer, audience...)
}
