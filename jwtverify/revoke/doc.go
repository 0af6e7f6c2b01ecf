// Package revoke says of valid tokens whether they were taken back.
//
// A JWT is good until its exp, whatever happened since it was issued. A [List]
// holds what happened, in this process's memory, and is asked about each token
// after all else has passed, those included that were verified before:
//
//	list, err := revoke.New(revoke.Config{})
//	...
//	config.Checks = append(config.Checks, list.Check)
//
// # What to revoke
//
// An entry names tokens of one issuer:
//
//   - one token was stolen or handed back: [Token], by its jti
//   - somebody logged out, or the refresh tokens of a session were stolen (RFC 9700
//     §4.14): [Session], by the sid that all tokens of the session have; where the
//     issuer sends no sid, [Subject], now
//   - a password was changed, an account closed, or all sessions are to end: [Subject],
//     with every token issued before now
//   - a client was compromised, or its secret: [Client], with every token issued
//     before its new secret
//   - a signing key was stolen: [Key], at once and without the issuer's help; see also
//     Deny of jwks.Cache, which refuses the key itself
//
// Entries are not evicted: a list that is full refuses new ones, since an entry that
// made room would let a revoked token in again.
package revoke
