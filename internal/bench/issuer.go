package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
)

const (
	issuerName = "https://issuer.example.com/"
	audience   = "https://api.example.com"
)

// algorithms in the order of the table.
var algorithms = []string{"RS256", "ES256", "EdDSA"}

// issuer serves one static JWKS on loopback, with a key for each algorithm,
// and signs the tokens. It signs with jwx, not with the code under
// measurement.
type issuer struct {
	*httptest.Server
	keys map[string]crypto.Signer // by algorithm, which is the kid as well
}

func newIssuer() (*issuer, error) {
	rsaKey, rsaErr := rsa.GenerateKey(rand.Reader, 2048)
	ecKey, ecErr := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, edKey, edErr := ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(rsaErr, ecErr, edErr); err != nil {
		return nil, err
	}
	keys := map[string]crypto.Signer{"RS256": rsaKey, "ES256": ecKey, "EdDSA": edKey}

	set := jwk.NewSet()
	for alg, signer := range keys {
		key, err := jwk.FromRaw(signer.Public())
		if err != nil {
			return nil, err
		}
		err = errors.Join(
			key.Set(jwk.KeyIDKey, alg),
			key.Set(jwk.AlgorithmKey, alg),
			key.Set(jwk.KeyUsageKey, "sig"),
			set.AddKey(key))
		if err != nil {
			return nil, err
		}
	}
	body, err := json.Marshal(set)
	if err != nil {
		return nil, err
	}
	return &issuer{keys: keys, Server: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Header().Set("Cache-Control", "max-age=3600")
		_, _ = w.Write(body)
	}))}, nil
}

// token signs the claims of a middling access token; changes override them.
func (iss *issuer) token(alg string, changes map[string]any) (string, error) {
	now := time.Now()
	claims := map[string]any{
		"iss":       issuerName,
		"sub":       "65f1c0ffee65f1c0ffee65f1",
		"aud":       []string{audience, "https://issuer.example.com/userinfo"},
		"client_id": "s6BhdRkqt3",
		"scope":     "openid profile read:orders write:orders",
		"roles":     []string{"clerk", "auditor"},
		"tenant":    map[string]any{"id": "acme", "plan": 3},
		"sid":       "9a574f0a8a3e",
		"jti":       "4f2b8c1e-9a57-4f0a-8a3e-0d9f1c5b7e21",
		"iat":       now.Unix(),
		"nbf":       now.Unix(),
		"auth_time": now.Unix(),
		"exp":       now.Add(time.Hour).Unix(),
	}
	maps.Copy(claims, changes)
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	header := jws.NewHeaders()
	if err := errors.Join(header.Set(jws.KeyIDKey, alg), header.Set(jws.TypeKey, "at+jwt")); err != nil {
		return "", err
	}
	token, err := jws.Sign(payload, jws.WithKey(jwa.SignatureAlgorithm(alg), iss.keys[alg], jws.WithProtectedHeaders(header)))
	return string(token), err
}

// checksSignature names the one check that the floor makes too.
const checksSignature = "signature"

// forgeries are tokens that one check alone can refuse, by the name of that
// check.
func (iss *issuer) forgeries(alg string) (map[string]string, error) {
	otherAlg := "ES256"
	if alg == otherAlg {
		otherAlg = "RS256"
	}
	good, goodErr := iss.token(alg, nil)
	flipped, flipErr := flipSignatureBit(good)
	// The issuer publishes this key too, so only the list of algorithms
	// stands in the way.
	other, otherErr := iss.token(otherAlg, nil)
	issuer, issErr := iss.token(alg, map[string]any{"iss": "https://other.example.com/"})
	aud, audErr := iss.token(alg, map[string]any{"aud": "https://other-api.example.com"})
	exp, expErr := iss.token(alg, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})
	return map[string]string{
		checksSignature: flipped, "alg": other, "iss": issuer, "aud": aud, "exp": exp,
	}, errors.Join(goodErr, flipErr, otherErr, issErr, audErr, expErr)
}

func flipSignatureBit(token string) (string, error) {
	at := strings.LastIndexByte(token, '.') + 1
	signature, err := base64.RawURLEncoding.DecodeString(token[at:])
	if err != nil {
		return "", err
	}
	signature[len(signature)/2] ^= 1
	return token[:at] + base64.RawURLEncoding.EncodeToString(signature), nil
}
