// Package jwtverify decides whether an OAuth 2.0 access token in JWT form may be
// trusted by this resource server, and says precisely why not.
//
// A user decides two things, whose tokens to take and for which audience:
//
//	v, err := jwtverify.New(jwtverify.Config{
//		Issuer:   "https://issuer.example.com/",
//		Audience: []string{"https://api.example.com"},
//	})
//
// All else has a default that is safe; see [Config]. Package providers has the
// Configs of common issuers, and [Issuers] takes the tokens of many. Tokens are then checked
// locally with [Verifier.Verify], against keys that package jwks fetches and
// refreshes in the background. The adapters below middleware/ do it for each
// request and answer as the RFCs say.
//
// # What is checked, and in which order
//
// Cheap refusals come first, and none that needs a key comes before one that
// does not, so that junk costs little and never reaches the issuer:
//
//  1. size: 16 KiB for the token, 4 KiB for its first segment
//  2. the compact form of RFC 7515 §7.1: three segments
//  3. the header: canonical base64url, strict JSON; alg is allowed; no crit, b64,
//     enc or nested JWT; typ; and no kid that the issuer was asked for in vain a
//     moment ago, which is most of what comes in a flood of made-up ones
//  4. that there is a signature, and the claims: canonical base64url, read once and
//     strictly from the very bytes that the signature covers, as yet unverified
//  5. iss, aud, exp, nbf, iat, the kind of token, claims that must or must not be
//     there
//  6. the signature's base64url, and the key, by kid and alg
//  7. the signature
//  8. the Checks of the Config
//
// A token that was verified before is known by its SHA-256, after 2: what its
// bytes and the Config settle is settled, while time, the key and the Checks are
// asked again. See Config.CacheBytes.
//
// So a reason about claims does not say that the signature was good. No claim
// of an unverified token leaves this package: on any error the Token is nil.
//
// # Errors
//
// Every error of Verify is an [*Error] with one [Reason]. errors.Is(err,
// [ErrInvalidToken]) tells a bad token from an outage, which is
// [ErrUnavailable]: a client that is told to get a new token because the
// issuer's key endpoint is down will do so at the worst of times.
//
// While an API is being set up, log [Explain] of the error: it names what was
// expected and what came, and what to change where the mistake is a frequent one.
package jwtverify
