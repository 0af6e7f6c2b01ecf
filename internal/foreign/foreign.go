// Package foreign knows by which claims a token shows that it is no access token. It is
// one list for tokens and for answers about them, since what only one of the two refused
// would be a way around it.
package foreign

import "github.com/bearerguard/bearerguard/internal/strictjson"

// Claim reports whether a claim is one that only tokens of another kind have: an ID
// token, a logout or security event token, a DPoP proof, an introspection answer, a
// status list, or what a provider marks as something else by a claim typ.
func Claim(name []byte, v strictjson.Value) bool {
	switch string(name) {
	case "at_hash", "c_hash", "nonce", "events", "htm", "htu", "ath", "token_introspection", "status_list":
		return true
	case "typ":
		return v.Is("ID") || v.Is("Refresh") || v.Is("Offline") || v.Is("Logout")
	}
	return false
}
