package jwtverify_test

import (
	"testing"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// foreignShapes are claims that only tokens of another kind carry: an ID token,
// a logout or security event token, a DPoP proof, an introspection answer, a
// status list, and what providers mark as something else by a claim.
var foreignShapes = map[string]map[string]any{
	"at_hash":             {"at_hash": "MTIzNDU2Nzg5MDEyMzQ1Ng"},
	"c_hash":              {"c_hash": "MTIzNDU2Nzg5MDEyMzQ1Ng"},
	"nonce":               {"nonce": "n-0S6_WzA2Mj"},
	"events":              {"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}},
	"htm":                 {"htm": "GET"},
	"htu":                 {"htu": "https://api.example.com/"},
	"ath":                 {"ath": "MTIzNDU2Nzg5MDEyMzQ1Ng"},
	"token_introspection": {"token_introspection": map[string]any{"active": true}},
	"status_list":         {"status_list": map[string]any{"bits": 1, "lst": "eNrbuRgAAhcBXQ"}},
	"token_use id":        {"token_use": "id"},
	"token_use number":    {"token_use": 1},
	"typ ID":              {"typ": "ID"},
	"typ Refresh":         {"typ": "Refresh"},
	"typ Offline":         {"typ": "Offline"},
	"typ Logout":          {"typ": "Logout"},
}

// ownShapes are claims that an access token may well carry.
var ownShapes = map[string]map[string]any{
	"token_use access": {"token_use": "access"},
	"typ Bearer":       {"typ": "Bearer"},
	"scope":            {"scope": "read"},
}

const (
	headerUntyped = `{"alg":"ES256"}`
	headerJWT     = `{"alg":"ES256","typ":"JWT"}`
	headerAccess  = `{"alg":"ES256","typ":"at+jwt"}`
)

func TestTokenOfAnotherShapeNeedsTheTypeOfAnAccessToken(t *testing.T) {
	s := newSigner(t)
	v := s.verifier(t)
	for name, claims := range foreignShapes {
		t.Run(name, func(t *testing.T) {
			requireRefused(t, v, s.sign(t, headerUntyped, s.claims(t, claims)), jwtverify.ErrType)
			requireRefused(t, v, s.sign(t, headerJWT, s.claims(t, claims)), jwtverify.ErrType)
			requireAccepted(t, v, s.sign(t, headerAccess, s.claims(t, claims)))
		})
	}
}

func TestSettingTypesTurnsTheShapeRuleOff(t *testing.T) {
	s := newSigner(t)
	untyped, jwt := s.verifier(t, ""), s.verifier(t, "JWT")
	for name, claims := range foreignShapes {
		t.Run(name, func(t *testing.T) {
			requireAccepted(t, untyped, s.sign(t, headerUntyped, s.claims(t, claims)))
			requireAccepted(t, jwt, s.sign(t, headerJWT, s.claims(t, claims)))
			requireRefused(t, jwt, s.sign(t, headerUntyped, s.claims(t, claims)), jwtverify.ErrType)
		})
	}
}

func TestShapeOfAnAccessTokenNeedsNoType(t *testing.T) {
	s := newSigner(t)
	v := s.verifier(t)
	for name, claims := range ownShapes {
		t.Run(name, func(t *testing.T) {
			for _, header := range []string{headerUntyped, headerJWT, headerAccess} {
				requireAccepted(t, v, s.sign(t, header, s.claims(t, claims)))
			}
		})
	}
}
