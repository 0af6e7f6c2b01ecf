package main

import (
	"context"
	"errors"
	"fmt"
)

// heat is everything that verifies one token.
type heat struct {
	alg, token string
	lanes      []*lane // the contestants, and junk
	floor      *lane
}

// newHeat opens every contestant for alg, and the floor. It is an error if one
// of them does not prove itself.
func newHeat(ctx context.Context, iss *issuer, alg string) (*heat, error) {
	token, tokenErr := iss.token(alg, nil)
	forged, forgeErr := iss.forgeries(alg)
	if err := errors.Join(tokenErr, forgeErr); err != nil {
		return nil, err
	}
	enter := func(c contestant, forged map[string]string) (*lane, error) {
		verify, err := c.open(ctx, iss, alg)
		if err == nil {
			err = prove(verify, token, forged)
		}
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", alg, c.name, err)
		}
		return &lane{name: c.name, kind: c.kind, peer: c.peer, verify: verify}, nil
	}
	h := &heat{alg: alg, token: token}
	for _, c := range contestants {
		l, err := enter(c, forged)
		if err != nil {
			return nil, err
		}
		h.lanes = append(h.lanes, l)
	}
	junk, err := junkLanes(ctx, iss, alg)
	if err != nil {
		return nil, err
	}
	h.lanes = append(h.lanes, junk...)
	h.floor, err = enter(floor, map[string]string{checksSignature: forged[checksSignature]})
	return h, err
}

// prove tells whether verify takes the good token and refuses each forgery. A
// contestant that leaves a check out is faster for it and is not compared.
func prove(verify verifyFunc, good string, forgeries map[string]string) error {
	if err := verify(good); err != nil {
		return fmt.Errorf("refuses a good token: %w", err)
	}
	for check, token := range forgeries {
		if verify(token) == nil {
			return fmt.Errorf("does not check %s", check)
		}
	}
	return nil
}
