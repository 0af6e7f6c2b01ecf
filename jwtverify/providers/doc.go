// Package providers has a preset for each of the common issuers: what that
// issuer really sends, as a [jwtverify.Config].
//
//	v, err := jwtverify.New(providers.Auth0("tenant.eu.auth0.com", "https://api.example.com"))
//
// Each preset says which kind of token it takes, and refuses every other kind
// that the same issuer signs with the same keys. Where an issuer's default is
// unsafe, the preset closes it, or has New return a fault that says what to
// write instead. The Config is the caller's to change before New gets it.
//
// What a preset says of an issuer was read in that issuer's documentation or
// source, or seen from a real server; testdata/ has its tokens, with where each
// claim was found. What was found nowhere is called unverified. No preset relies
// on the cache headers of a key set: see jwks.Config.Refresh for the bounds
// within which they are obeyed.
package providers

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// fault is the Config of a preset that was asked for what cannot be made safe.
func fault(preset, format string, args ...any) jwtverify.Config {
	return jwtverify.Config{Fault: fmt.Errorf("providers: "+preset+": "+format, args...)}
}

// bareHost tells a host name, in lower case as an iss has it, from a URL and
// from nothing.
func bareHost(name string) bool {
	u, err := url.Parse("https://" + name + "/")
	return err == nil && name != "" && u.Host == name && u.Hostname() == name && name == strings.ToLower(name)
}

// matches reports whether a pattern is all of s.
func matches(pattern, s string) bool {
	return regexp.MustCompile(`\A(?:` + pattern + `)\z`).MatchString(s)
}

// hasClient refuses a token that does not say for which client it was issued,
// under any of the names for that.
func hasClient(_ context.Context, t *jwtverify.Token) error {
	if t.ClientID == "" {
		return fmt.Errorf("it names no client, as an access token does: %w", jwtverify.ErrType)
	}
	return nil
}
