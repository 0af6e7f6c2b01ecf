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

func TestEverySpellingOfAccessTokenTypeIsOne(t *testing.T) {
	s := newSigner(t)
	for _, v := range []*jwtverify.Verifier{s.verifier(t), s.verifier(t, "at+jwt"), s.verifier(t, "application/AT+JWT")} {
		for _, typ := range []string{"at+jwt", "AT+jwt", "application/at+jwt", "Application/At+Jwt"} {
			header := marshal(t, map[string]string{"alg": "ES256", "typ": typ})
			requireAccepted(t, v, s.sign(t, header, s.claims(t, map[string]any{"nonce": "n"})))
		}
		for _, typ := range []string{
			"", "application/", "application/application/at+jwt", "application//at+jwt", "/at+jwt", "at+jwt/", " at+jwt", "at+jwt;a=b", "at+jwt\x00",
			"\uff41t+jwt", "text/at+jwt", "id+jwt", "logout+jwt", "dpop+jwt", "secevent+jwt", "token-introspection+jwt", "statuslist+jwt",
		} {
			header := marshal(t, map[string]string{"alg": "ES256", "typ": typ})
			requireRefused(t, v, s.sign(t, header, s.claims(t, nil)), jwtverify.ErrType)
		}
	}
}

// RFC 7515 §4.1.9: application/ may be left out only where no other slash follows.
func TestATypeWithASlashIsComparedWhole(t *testing.T) {
	s := newSigner(t)
	v := s.verifier(t, "a/b")
	requireAccepted(t, v, s.sign(t, `{"alg":"ES256","typ":"A/b"}`, s.claims(t, nil)))
	requireRefused(t, v, s.sign(t, `{"alg":"ES256","typ":"application/a/b"}`, s.claims(t, nil)), jwtverify.ErrType)
	requireRefused(t, v, s.sign(t, `{"alg":"ES256","typ":"b"}`, s.claims(t, nil)), jwtverify.ErrType)
}

func TestAnEmptyTypeIsNoAbsentType(t *testing.T) {
	s := newSigner(t)
	for _, v := range []*jwtverify.Verifier{s.verifier(t), s.verifier(t, "")} {
		requireAccepted(t, v, s.sign(t, headerUntyped, s.claims(t, nil)))
		requireRefused(t, v, s.sign(t, `{"alg":"ES256","typ":""}`, s.claims(t, nil)), jwtverify.ErrType)
		requireRefused(t, v, s.sign(t, `{"alg":"ES256","typ":"application/"}`, s.claims(t, nil)), jwtverify.ErrType)
	}
}

// All of these have claims and a signature that would do.
func TestAHeaderThatChangesHowTheTokenIsReadIsRefused(t *testing.T) {
	s := newSigner(t)
	v := s.verifier(t)
	for _, member := range []string{
		`"crit":["exp"]`, `"crit":[]`, `"crit":null`, `"b64":true`, `"b64":false`, `"enc":"A128GCM"`, `"enc":null`,
		`"cty":"JWT"`, `"cty":"jwt"`, `"cty":"application/JWT"`, `"cty":1`, `"cty":null`, `"kid":1`, `"kid":null`, `"typ":1`, `"typ":null`,
	} {
		requireRefused(t, v, s.sign(t, `{"alg":"ES256",`+member+`}`, s.claims(t, nil)), jwtverify.ErrMalformed)
	}
	for _, header := range []string{`{}`, `{"alg":""}`, `{"alg":null}`, `{"ALG":"ES256"}`} {
		requireRefused(t, v, s.sign(t, header, s.claims(t, nil)), jwtverify.ErrMalformed)
	}
	for _, member := range []string{`"cty":"json"`, `"zip":"DEF"`, `"jku":"https://evil.example/"`, `"jwk":{"kty":"EC"}`, `"x5c":[1]`, `"Crit":["exp"]`} {
		requireAccepted(t, v, s.sign(t, `{"alg":"ES256",`+member+`}`, s.claims(t, nil)))
	}
}
