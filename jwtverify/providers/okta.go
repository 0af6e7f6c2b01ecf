package providers

import (
	"net/url"
	"slices"
	"strings"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// Okta takes the access tokens of one of Okta's custom authorization servers,
// and no other kind of token. The issuer is https://org.okta.com/oauth2/default,
// or that of a server of your own with its id at the end, or the same below a
// custom domain. The audience is what is set for that server, api://default by
// default.
//
// Okta sends kid and alg RS256, and no typ; one aud; scopes in scp, an array;
// the client in cid and, where there is one, the user in uid, while sub is the
// user's login name. A client's own token has its cid as sub. There are no
// roles: groups come under the name that a claim of the server's is given, to be
// set in Config.Roles.
//
// Unsafe by default: ID and access tokens look alike in the header, so that only
// aud tells them apart. The preset asks for cid, which ID tokens lack. It
// refuses the org's own authorization server, whose issuer has no path: Okta
// keeps the format and the keys of its access tokens to itself, their aud is the
// org and not your API, and every API of the org would take the tokens of all
// others. They come with typ application/okta-internal-at+jwt, which is refused
// too.
func Okta(issuer string, audience ...string) jwtverify.Config {
	u, err := url.Parse(issuer)
	if err != nil {
		return fault("Okta", "the issuer is no URL: write that of a custom authorization server, such as https://org.okta.com/oauth2/default")
	}
	if id, ok := strings.CutPrefix(u.Path, "/oauth2/"); !ok || id == "" || strings.Contains(id, "/") {
		return fault("Okta", "the issuer's path is %q: write the issuer of a custom authorization server, such as https://org.okta.com/oauth2/default; the org's own issues no tokens for your API", u.Path)
	}
	return jwtverify.Config{
		Issuer:     issuer,
		Audience:   slices.Clone(audience),
		Algorithms: []string{"RS256"},
		Required:   []string{"sub", "cid", "iat", "jti"},
		Scopes:     [][]string{{"scp"}},
	}
}
