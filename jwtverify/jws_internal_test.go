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
	parts, fault := s.cut(token)
	if fault == nil {
		fault = s.decode(&parts)
	}
	if fault != nil {
		return nil, fault
	}
	h, fault := readHeader(parts.header)
	if fault != nil {
		return nil, fault
	}
	if !slices.Contains(algorithms, h.alg) {
		return nil, refuse(ErrAlgorithm, "not allowed")
	}
	key, err := keys.Key(ctx, h.kid, h.alg)
	if err != nil {
		return nil, keyError(err)
	}
	if key.Verify(h.alg, parts.input, parts.signature) != nil {
		return nil, refuse(ErrSignature, "it does not hold")
	}
	return parts.payload, nil
}
