// Package b64token knows what a bearer token may be made of (RFC 6750 §2.1).
package b64token

import "strings"

// Is reports whether a text is a b64token: 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" /
// "+" / "/" ) *"=". Eight characters at a time: on a token that a Verifier has seen
// before this is a good part of all that there is to do.
func Is(s string) bool {
	s = strings.TrimRight(s, "=")
	if s == "" {
		return false
	}
	ok, in := byte(1), &alphabet
	for ; len(s) >= 8; s = s[8:] {
		ok &= in[s[0]] & in[s[1]] & in[s[2]] & in[s[3]] & in[s[4]] & in[s[5]] & in[s[6]] & in[s[7]]
	}
	for i := range len(s) {
		ok &= in[s[i]]
	}
	return ok == 1
}

// alphabet is 1 for what a b64token is made of.
var alphabet = func() (in [256]byte) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/") {
		in[c] = 1
	}
	return in
}()
