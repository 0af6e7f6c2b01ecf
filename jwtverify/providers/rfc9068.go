package providers

import "github.com/bearerguard/bearerguard/jwtverify"

// RFC9068 takes the access tokens of an issuer that keeps to RFC 9068.
func RFC9068(issuer string, audience ...string) jwtverify.Config {
	return jwtverify.Config{
		Issuer:   issuer,
		Audience: audience,
		Types:    []string{"at+jwt"},
		Required: []string{"sub", "client_id", "iat", "jti"},
	}
}
