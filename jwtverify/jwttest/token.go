package jwttest

import (
	"crypto/rand"
	"encoding/base64"
	"time"
)

// Claims are members of a token's payload. They override the default ones of
// [Issuer.Token]; a nil value removes a member.
type Claims map[string]any

// Header holds members of a token's JOSE header. They override the default
// ones of [Issuer.Mint]; a nil value removes a member.
type Header map[string]any

// Token returns an access token as RFC 9068 shapes it, signed by the current
// key: typ at+jwt; iss and aud of this issuer; sub, client_id and a fresh jti;
// issued now and good for five minutes.
func (i *Issuer) Token(claims Claims) string { return i.Mint(nil, claims) }

// Mint is Token with a header of the caller's making, to forge tokens that a
// verifier must refuse. A kid of one of the issuer's keys, withdrawn or not,
// signs with that key; any other kid is only what the header says, and the
// current key signs. An alg of "none" leaves the signature empty; any other
// alg is only what the header says, and the key signs by its own algorithm.
func (i *Issuer) Mint(header Header, claims Claims) string {
	k := i.signer(header)
	now := time.Now()
	h := override(map[string]any{"alg": k.alg, "kid": k.kid, "typ": "at+jwt"}, header)
	c := override(map[string]any{
		"iss":       i.URL,
		"aud":       i.audience,
		"sub":       "test-subject",
		"client_id": "test-client",
		"iat":       now.Unix(),
		"exp":       now.Add(5 * time.Minute).Unix(),
		"jti":       rand.Text(),
	}, claims)

	input := encode(mustJSON(h)) + "." + encode(mustJSON(c))
	if h["alg"] == "none" {
		return input + "."
	}
	return input + "." + encode(k.sign([]byte(input)))
}

// signer returns the key that the header names, else the current one.
func (i *Issuer) signer(header Header) *key {
	i.mu.Lock()
	defer i.mu.Unlock()
	if kid, ok := header["kid"].(string); ok {
		if k := i.find(kid); k != nil {
			return k
		}
	}
	return i.current
}

func override(members, by map[string]any) map[string]any {
	for name, value := range by {
		if value == nil {
			delete(members, name)
		} else {
			members[name] = value
		}
	}
	return members
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
