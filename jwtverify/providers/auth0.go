package providers

import (
	"context"
	"slices"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// Auth0 takes the access tokens that an Auth0 tenant issues for an API, and no
// other kind of token. The domain is the tenant's or a custom one, such as
// tenant.eu.auth0.com; iss is https://domain/, with the slash. The audience is
// the API's identifier.
//
// Both of its access token profiles are taken: Auth0's own, the default, with
// typ JWT and the client in azp, and that of RFC 9068, with typ at+jwt,
// client_id and jti. aud is the API, or an array of it and the tenant's
// /userinfo. scope is a string; permissions is an array, which is there once
// RBAC is on for the API, and goes to Roles. Keys have a kid; alg is RS256, or
// PS256 where the API is set to it (unverified), and never HS256, with which
// every holder of the API's secret could sign.
//
// Unsafe by default: an ID token has typ JWT too, so that only its aud, a client
// id, tells it apart. The preset asks for a client besides, which ID tokens name
// in aud alone; an API whose identifier is a client id stays safe by that. And
// until RBAC is on, any user may be given any scope of the API for the asking,
// which no token shows: turn RBAC on, and guard with jwtverify.Roles. Without an
// audience parameter Auth0 issues an opaque or encrypted access token, which is
// malformed.
func Auth0(domain string, audience ...string) jwtverify.Config {
	if !bareHost(domain) {
		return fault("Auth0", "domain is %q: write the tenant's host name alone, in lower case, such as tenant.eu.auth0.com", domain)
	}
	return jwtverify.Config{
		Issuer:     "https://" + domain + "/",
		Audience:   slices.Clone(audience),
		Algorithms: []string{"RS256", "PS256"},
		Required:   []string{"sub", "iat"},
		Scopes:     [][]string{{"scope"}},
		Roles:      [][]string{{"permissions"}},
		Checks:     []func(context.Context, *jwtverify.Token) error{hasClient},
	}
}
