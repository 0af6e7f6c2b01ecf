package jwtverify_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
)

// signer makes tokens byte by byte, for tests in which each byte counts.
type signer struct{ key *ecdsa.PrivateKey }

const (
	signerIssuer   = "https://issuer.example.com"
	signerAudience = "https://api.example.com"
)

var signerTime = time.Unix(1767225600, 0)

func newSigner(t testing.TB) signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return signer{key}
}

// sign returns header.claims.signature. The texts are taken as they are.
func (s signer) sign(t testing.TB, header, claims string) string {
	t.Helper()
	input := encodeSegment(header) + "." + encodeSegment(claims)
	digest := sha256.Sum256([]byte(input))
	r, z, err := ecdsa.Sign(rand.Reader, s.key, digest[:])
	require.NoError(t, err)
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	z.FillBytes(signature[32:])
	return input + "." + encodeSegment(string(signature))
}

// claims returns the claims of a good token with more beside them.
func (s signer) claims(t testing.TB, more map[string]any) string {
	t.Helper()
	all := map[string]any{
		"iss": signerIssuer, "aud": signerAudience, "sub": "alice", "exp": signerTime.Add(time.Minute).Unix(),
	}
	for name, value := range more {
		if all[name] = value; value == absent {
			delete(all, name)
		}
	}
	return marshal(t, all)
}

// absent is the value of a claim that is not there.
var absent any = &struct{ _ int }{}

// jwk is the signer's public key under some kid.
func (s signer) jwk(t *testing.T, kid string) map[string]string {
	t.Helper()
	point, err := s.key.PublicKey.Bytes() // 4, x, y
	require.NoError(t, err)
	return map[string]string{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": kid,
		"x": encodeSegment(string(point[1:33])), "y": encodeSegment(string(point[33:])),
	}
}

// set holds the signer's key, under kid "".
func (s signer) set(t *testing.T) *jwks.Set {
	t.Helper()
	key, err := jwks.NewKey("", "ES256", crypto.PublicKey(&s.key.PublicKey))
	require.NoError(t, err)
	set, err := jwks.NewSet(key)
	require.NoError(t, err)
	return set
}

// verifierOf trusts the signer, as verifier does, under a changed Config.
func (s signer) verifierOf(t *testing.T, change func(*jwtverify.Config)) *jwtverify.Verifier {
	t.Helper()
	c := jwtverify.Config{
		Issuer: signerIssuer, Audience: []string{signerAudience}, Keys: s.set(t), Now: func() time.Time { return signerTime },
	}
	change(&c)
	v, err := jwtverify.New(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	return v
}

// verifier trusts the signer's key, under kid "".
func (s signer) verifier(t *testing.T, types ...string) *jwtverify.Verifier {
	t.Helper()
	return verifierWith(t, s.set(t), types...)
}

func verifierWith(t *testing.T, keys jwtverify.KeySource, types ...string) *jwtverify.Verifier {
	t.Helper()
	v, err := jwtverify.New(jwtverify.Config{
		Issuer:   signerIssuer,
		Audience: []string{signerAudience},
		Keys:     keys,
		Types:    types,
		Now:      func() time.Time { return signerTime },
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	return v
}

func encodeSegment(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func decodeSegment(segment string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(segment)
}

func marshal(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

var insecureTLS = &tls.Config{InsecureSkipVerify: true}

func hs256(secret []byte, header, claims string) string {
	input := encodeSegment(header) + "." + encodeSegment(claims)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + encodeSegment(string(mac.Sum(nil)))
}
