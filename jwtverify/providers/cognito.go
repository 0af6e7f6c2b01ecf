package providers

import (
	"slices"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// Cognito takes the access tokens of one Amazon Cognito user pool, and no other
// kind of token. The region is one such as eu-central-1, the user pool its id,
// such as eu-central-1_AbCdEfGhI, and the clients are the ids of the app clients
// whose tokens this API takes.
//
// Cognito sends kid and alg RS256, and no typ; token_use access; the client in
// client_id; scope as a string; the user's groups in cognito:groups, which go to
// Roles; and username, which has no place in a Token: see [jwtverify.Claims]. A
// client's own token has its client id as sub, and no username and no groups.
//
// Unsafe by default: an access token has no aud, so that one which a client got
// for one API is good at every API that knows the client. The preset compares
// client_id in place of it; guard routes with jwtverify.Scopes of this API's
// resource server, since aws.cognito.signin.user.admin says nothing of your API
// and every user who signs in through the SDK has it. An ID token has the client
// in aud and token_use id, and is refused for both. Where clients ask for this
// API by the resource parameter and so get an aud (unverified), set
// AudienceClaim to "" and Audience to it. Regions of China have another issuer
// domain (unverified): set Issuer.
func Cognito(region, userPool string, clients ...string) jwtverify.Config {
	if !matches(`[a-z]{2}(-[a-z]+)+-[0-9]+`, region) {
		return fault("Cognito", "region is %q: write one such as eu-central-1", region)
	}
	if !matches(region+`_[0-9A-Za-z]+`, userPool) {
		return fault("Cognito", "user pool is %q: write its id, which begins with its region, such as %s_AbCdEfGhI", userPool, region)
	}
	return jwtverify.Config{
		Issuer:        "https://cognito-idp." + region + ".amazonaws.com/" + userPool,
		Audience:      slices.Clone(clients),
		AudienceClaim: "client_id",
		Algorithms:    []string{"RS256"},
		Required:      []string{"sub", "iat", "jti"},
		Values:        map[string][]string{"token_use": {"access"}},
		Scopes:        [][]string{{"scope"}},
		Roles:         [][]string{{"cognito:groups"}},
	}
}
