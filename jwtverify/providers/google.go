package providers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
)

// Google takes Google's ID tokens, of people and of service accounts. Its access
// tokens are no JWTs and for Google's own APIs. clients are OAuth client ids, which
// end in .apps.googleusercontent.com, or for calls between services the URL that
// the caller asked for as aud.
//
// The tokens are RS256, have a kid and, as far as was seen, the typ JWT; iss is
// https://accounts.google.com. Old ones with the iss accounts.google.com are
// refused. There are no scopes and no roles.
//
// aud says who the token is for and nothing of who may come: every Google account
// in the world can sign in to a client, and every service account can have a token
// with an aud of its own choosing, a client id too. So authorise by sub, or by email
// where email_verified is true; or hold the people of one organisation to it:
//
//	c := providers.Google("1234987819200.apps.googleusercontent.com")
//	c.Values = map[string][]string{"hd": {"example.com"}}
//
// The preset keeps service accounts from being taken for people: where aud is a
// client id, azp must be one too, which a service account's is not. It refuses
// tokens without azp; that there are none is unverified. Google signs security
// events (Cross-Account Protection) for the same aud with the same keys; they are
// refused.
func Google(clients ...string) jwtverify.Config {
	return jwtverify.Config{
		Issuer:     "https://accounts.google.com",
		Audience:   slices.Clone(clients),
		Algorithms: []string{"RS256"},
		Types:      plainJWT(),
		Required:   []string{"sub", "iat", "azp"},
		Forbidden:  notOfIDTokens(),
		Checks:     []func(context.Context, *jwtverify.Token) error{askedForByAClient},
	}
}

// IAP takes the assertions that Google's Identity-Aware Proxy adds to the requests
// that it lets through, about people and service accounts. They are ID tokens of
// its own, with keys of its own, and come in the header X-Goog-Iap-Jwt-Assertion:
// name it in httpauth.Config.Header. audience is /projects/NUMBER/apps/ID for App
// Engine, /projects/NUMBER/global/backendServices/ID behind a load balancer,
// /projects/NUMBER/locations/REGION/services/NAME for Cloud Run; anything else is a
// fault, since an OAuth client id is what is often written here.
//
// The tokens are ES256, have a kid and the typ JWT, and live for 10 minutes, which
// the preset holds them to. sub has a prefix that says whose identity it is, such as
// accounts.google.com:. There are no scopes and no roles; hd and
// google.access_levels are there to be checked.
func IAP(audience ...string) jwtverify.Config {
	for _, a := range audience {
		if a != "" && !strings.HasPrefix(a, "/projects/") {
			return fault("IAP", "the audience is %q: write /projects/NUMBER/global/backendServices/ID, /projects/NUMBER/apps/ID or /projects/NUMBER/locations/REGION/services/NAME", a)
		}
	}
	return jwtverify.Config{
		Issuer:      "https://cloud.google.com/iap",
		Audience:    slices.Clone(audience),
		JWKS:        jwks.Config{URL: "https://www.gstatic.com/iap/verify/public_key-jwk"},
		Algorithms:  []string{"ES256"},
		Types:       plainJWT(),
		Required:    []string{"sub", "iat"},
		Forbidden:   notOfIDTokens(),
		MaxLifetime: 10*time.Minute + 2*30*time.Second, // and the skew that Google allows
	}
}

// askedForByAClient refuses a token for an OAuth client that no OAuth client asked
// for.
func askedForByAClient(_ context.Context, t *jwtverify.Token) error {
	client := func(id string) bool { return strings.HasSuffix(id, ".apps.googleusercontent.com") }
	if slices.ContainsFunc(t.Audience, client) && !client(t.ClientID) {
		return fmt.Errorf("%w: azp is no OAuth client's, though aud is: it is a service account's", jwtverify.ErrClaims)
	}
	return nil
}

// plainJWT is the typ of ID tokens, which have none of their own. To name it also
// turns off the rule that tells an ID token by its claims.
func plainJWT() []string { return []string{"JWT", ""} }

// notOfIDTokens are the claims that show another kind of token than an ID token.
func notOfIDTokens() []string {
	return []string{"events", "htm", "htu", "ath", "token_introspection", "status_list", "typ", "token_use"}
}
