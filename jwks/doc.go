// Package jwks holds the keys with which an issuer signs its tokens.
//
// A user decides one thing: where the keys come from. [New] fetches them, from
// an issuer by discovery or from a jwks_uri, and keeps them fresh in the
// background; [Parse] and [NewSet] hold keys that never change.
//
// # What a Cache promises
//
//   - Asking for a known key takes no lock, does no I/O and never waits: it is
//     one atomic load and one look-up in a set that nobody changes any more.
//   - Only two callers wait, 2 s at most and not past their own context: one who
//     comes before there is any set, and one with an unknown kid, for which at
//     most two fetches at once and then one for each Cooldown are made, shared
//     by all who wait, however many tokens a stranger makes up.
//   - A good answer replaces the whole set in one step, so a key that its issuer
//     withdrew is dead from that moment. A bad answer replaces nothing.
//   - An outage is not a bad token: with no set to ask, or an old one where a
//     fresh one would be needed to refuse, the error is [ErrUnavailable] and
//     never [ErrKeyNotFound].
//   - A key is admitted by rules of its own; one bad entry never costs the rest
//     of the set.
//
// # Starting cold
//
// There are three plain ways:
//
//   - Do not wait. New returns at once, and the first callers of Key wait for the
//     first fetch, 2 s at most. While the issuer is down they get ErrUnavailable.
//   - Wait with [Cache.Ready] before serving, or in the readiness probe.
//   - Start from what an earlier process had: write [Cache.Snapshot] to a file
//     now and then, and hand it to Config.Snapshot. Tokens verify at once, also
//     while the issuer is down, as long as the snapshot is younger than MaxStale.
//
// # Emergencies
//
// [Cache.Refresh] fetches now, for a key that the issuer withdrew a moment ago.
// [Cache.Deny] refuses a stolen key that the issuer still publishes, until
// [Cache.Allow].
package jwks

import "errors"

var (
	// ErrKeyNotFound says that a set fresh enough to rely on has no such key.
	ErrKeyNotFound = errors.New("jwks: no such key")

	// ErrUnavailable says that there is no trustworthy set to ask: none was ever
	// fetched, the last one is too old, or the Cache is closed. The token may
	// well be good. An error that is ErrUnavailable may have a method
	// RetryAfter() time.Duration, the time until asking again makes sense.
	ErrUnavailable = errors.New("jwks: no trustworthy key set")
)
