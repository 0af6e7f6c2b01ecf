package jwtverify

import (
	"context"
	"slices"
)

// VerifyJWS lets the tests outside of this package check what is no token: a
// signed text whose payload is no claims set. It takes the steps of Verify that
// come before and after the claims, and returns the payload.
func VerifyJWS(ctx context.Context, token string, algorithms []string, keys KeySource) ([]byte, error) {
	s := new(scratch)
	parts, fault := split(token)
	decoded := func(segment, name string) (out []byte) {
		if fault == nil {
			out, fault = s.decode(segment, name)
		}
		return out
	}
	header := decoded(parts.header, "the header")
	payload := decoded(parts.payload, "the payload")
	signature := decoded(parts.signature, "the signature")
	if fault != nil {
		return nil, fault
	}
	h, fault := readHeader(header)
	if fault != nil {
		return nil, fault
	}
	if !slices.Contains(algorithms, h.alg) {
		return nil, refuse(ErrAlgorithm, "not allowed")
	}
	key, err := keys.Key(ctx, h.kid, h.alg)
	if err != nil {
		return nil, keyError(err, Header{KeyID: h.kid, Algorithm: h.alg})
	}
	if key.Verify(h.alg, s.bytes(parts.signed()), signature) != nil {
		return nil, refuse(ErrSignature, "it does not hold")
	}
	return payload, nil
}
