package providers

import (
	"context"
	"fmt"
	"slices"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// Entra takes the v2.0 access tokens that one tenant of Microsoft Entra ID, once
// Azure AD, issues for an API, and no other kind of token. The tenant is its
// GUID, in lower case; the audience is the API's application (client) id, which
// is all that v2.0 tokens have in aud. Which version an API gets is set in its
// own manifest (requestedAccessTokenVersion, once accessTokenAcceptedVersion),
// whatever endpoint the client asks, and is 1.0 by default: see [EntraV1].
//
// Entra sends typ JWT, kid and alg RS256; iss https://login.microsoftonline.com/
// with the tenant and /v2.0; tid, the tenant; ver 2.0; the client in azp; a
// user's scopes in scp, a string; app roles of users and of applications in
// roles, an array; and uti in place of jti. sub differs from one application to
// the next for the same user; oid does not.
//
// Unsafe by default: an ID token has the same header, iss, tid and ver, and
// where a single-page application and its API share one registration the same
// aud too. The preset asks for azp, which ID tokens lack. And any application of
// the tenant gets a token for any of its APIs by its own secret, without any
// scope or role, unless the API requires assignment: the preset refuses a token
// that has neither. It refuses common, organizations and consumers, with which
// everyone in the world may sign in, and domain names, since a token has the
// GUID. Tokens for Microsoft's own APIs, such as Graph, cannot be verified by
// anyone else.
func Entra(tenant string, audience ...string) jwtverify.Config {
	if err := entraTenant(tenant); err != nil {
		return fault("Entra", "%w", err)
	}
	return entra(tenant, audience)
}

// EntraV1 takes the v1.0 access tokens that one tenant of Microsoft Entra ID
// issues for an API, and no other kind of token. They are what an API gets whose
// manifest does not ask for 2.0. It differs from [Entra] in iss,
// https://sts.windows.net/ with the tenant and a slash; ver, 1.0; the client, in
// appid; and aud, which is the application id or its URI, as the client wrote
// it: name both. Keys come from the tenant's own key set at
// login.microsoftonline.com, since the issuer is no place for discovery. All
// else that [Entra] closes is closed here too; that ID tokens lack appid is what
// the reference of their claims shows.
func EntraV1(tenant string, audience ...string) jwtverify.Config {
	if err := entraTenant(tenant); err != nil {
		return fault("EntraV1", "%w", err)
	}
	c := entra(tenant, audience)
	c.Issuer = "https://sts.windows.net/" + tenant + "/"
	c.JWKS.URL = "https://login.microsoftonline.com/" + tenant + "/discovery/keys"
	c.Required = []string{"sub", "iat", "appid"}
	c.Values["ver"] = []string{"1.0"}
	return c
}

// entra is the Config of a tenant that entraTenant has allowed.
func entra(tenant string, audience []string) jwtverify.Config {
	return jwtverify.Config{
		Issuer:     "https://login.microsoftonline.com/" + tenant + "/v2.0",
		Audience:   slices.Clone(audience),
		Algorithms: []string{"RS256"},
		Required:   []string{"sub", "iat", "azp"},
		Values:     map[string][]string{"tid": {tenant}, "ver": {"2.0"}},
		Scopes:     [][]string{{"scp"}},
		Roles:      [][]string{{"roles"}},
		Checks:     []func(context.Context, *jwtverify.Token) error{hasPermission},
	}
}

// entraTenant tells one organization's tenant from everyone's.
func entraTenant(tenant string) error {
	const everyPersonalAccount = "9188040d-6c67-4c5b-b112-36a304b66dad" // the tenant behind consumers
	switch {
	case tenant == "common", tenant == "organizations", tenant == "consumers", tenant == everyPersonalAccount:
		return fmt.Errorf("tenant is %q, with which anyone in the world may sign in: write the GUID of your own tenant", tenant)
	case !matches(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`, tenant):
		return fmt.Errorf("tenant is %q: write its GUID, in lower case, as tokens have it in tid", tenant)
	}
	return nil
}

// hasPermission refuses what any application of the tenant gets for the asking.
func hasPermission(_ context.Context, t *jwtverify.Token) error {
	if len(t.Scopes)+len(t.Roles) == 0 {
		return fmt.Errorf("it has neither scp nor roles, so nobody granted it anything: %w", jwtverify.ErrClaims)
	}
	return nil
}
