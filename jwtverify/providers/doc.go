// Package providers has a preset for each of the common issuers: what that issuer
// really sends, as a [jwtverify.Config].
//
//	v, err := jwtverify.New(providers.Auth0("tenant.eu.auth0.com", "https://api.example.com"))
//
// Each preset says which kind of token it takes, and refuses every other kind that
// the same issuer signs with the same keys. Where an issuer's default is unsafe, the
// preset closes it, or has New return a fault that says what to do instead. The
// Config is the caller's to change before New gets it. What a preset says of an
// issuer was read in that issuer's own documentation or seen from a real server,
// unless the preset calls it unverified; testdata/ has the tokens, and a source for
// each of their claims.
package providers

import (
	"fmt"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// fault is the Config of a preset that was asked for what cannot be made safe.
func fault(preset, format string, args ...any) jwtverify.Config {
	return jwtverify.Config{Fault: fmt.Errorf("providers: "+preset+": "+format, args...)}
}
