package providers

import (
	"net/url"
	"slices"
	"strings"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// Keycloak takes the access tokens of one realm of Keycloak, and no other kind
// of token. The issuer is https://keycloak.example.com/realms/name, with /auth
// before /realms in versions before 17 and where http-relative-path says so. The
// audience is the client id that stands for this API.
//
// Keycloak sends kid, the alg that the realm or the client sets (RS256 by
// default), and typ JWT, or at+jwt where a client is set to it; the kind of
// token is in the claim typ, which the preset wants to be Bearer. The client is
// in azp, scope is a string, jti and sid are there. Roles are those in
// realm_access.roles and those in resource_access, there under each audience: a
// role of the realm and a role of the client by the same name are then the same,
// so name them apart. Roles of other clients are left out.
//
// Unsafe by default: aud is account in nearly every token of the realm, and not
// this API. The preset refuses account as an audience: add an audience mapper
// for this API, which best sits in a client scope that only its clients have.
// Keycloak before 25 puts the client's nonce into access tokens, so that a nonce
// does not show an ID token; the claim typ does. Lightweight access tokens have
// no aud, sub and roles unless their mappers say so, and are refused. Tokens
// that are bound by DPoP have the claim typ DPoP and are refused, since they are
// no bearer tokens; those bound to a certificate are not, see
// Config.RefuseSenderConstrained. Refresh and offline tokens are signed with a
// secret of the realm's, which is in no key set (unverified), and their claim
// typ is not Bearer.
func Keycloak(issuer string, audience ...string) jwtverify.Config {
	u, err := url.Parse(issuer)
	if err != nil {
		return fault("Keycloak", "the issuer is no URL: write that of a realm, such as https://keycloak.example.com/realms/name")
	}
	if _, realm, ok := strings.Cut(u.Path, "/realms/"); !ok || realm == "" || strings.Contains(realm, "/") {
		return fault("Keycloak", "the issuer's path is %q: write the issuer of a realm, such as https://keycloak.example.com/realms/name, without a slash at its end", u.Path)
	}
	if slices.Contains(audience, "account") {
		return fault("Keycloak", "audience is account, which nearly every token of the realm has: write the client id of this API, and add an audience mapper for it")
	}
	roles := [][]string{{"realm_access", "roles"}}
	for _, client := range audience {
		if client != "" { // which New reports
			roles = append(roles, []string{"resource_access", client, "roles"})
		}
	}
	return jwtverify.Config{
		Issuer:   issuer,
		Audience: slices.Clone(audience),
		// The shape rules of the default would refuse a nonce; the rest of them is below.
		Types:     []string{"at+jwt", "JWT"},
		Required:  []string{"sub", "azp", "iat", "jti"},
		Values:    map[string][]string{"typ": {"Bearer"}},
		Forbidden: []string{"at_hash", "c_hash", "events", "htm", "htu", "ath", "token_introspection", "status_list", "token_use"},
		Scopes:    [][]string{{"scope"}},
		Roles:     roles,
	}
}
