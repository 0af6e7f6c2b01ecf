package wycheproof_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes that crypto.Hash.New makes
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// inputOf puts a header segment, as it stands, in front of a claims set of ours.
func inputOf(t *testing.T, headerSegment string) string {
	t.Helper()
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{
		"iss": issuer, "aud": audience, "sub": "subject", "client_id": "client", "jti": "1", "iat": now, "exp": now + 300,
	})
	require.NoError(t, err)
	return headerSegment + "." + base64.RawURLEncoding.EncodeToString(claims)
}

// sign signs as the header wants it, whatever alg and use of the key say; under
// a header that cannot be read, as the key wants it, so that the header alone is
// at fault. It is not ok where no key of the group can make such a signature,
// as an RSA key none for HS256.
func (g group) sign(t *testing.T, input string) (signature string, ok bool) {
	t.Helper()
	segment, _, _ := strings.Cut(input, ".")
	text, err := base64.RawURLEncoding.DecodeString(segment)
	var h header
	if err == nil {
		h, err = readHeader(text)
	}
	for _, private := range members(t, g.Private) {
		key := readJWK(t, private)
		if err != nil {
			h = header{key.Alg, key.Kid}
		}
		if octets, err := key.sign(h.alg, []byte(input)); err == nil {
			return base64.RawURLEncoding.EncodeToString(octets), true
		}
	}
	return "", false
}

var errCannotSign = errors.New("no such signature by this key")

var hashes = map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}

// sign asks neither the key's own alg nor its use: the verifier must.
func (k jwk) sign(alg string, input []byte) ([]byte, error) {
	if len(alg) != 5 || hashes[alg[2:]] == 0 {
		return nil, errCannotSign
	}
	hash := hashes[alg[2:]]
	h := hash.New()
	h.Write(input)
	digest := h.Sum(nil)

	switch k.Kty + alg[:2] {
	case "octHS":
		mac := hmac.New(hash.New, decode(k.K))
		mac.Write(input)
		return mac.Sum(nil), nil
	case "RSARS":
		key, err := k.rsa()
		if err != nil {
			return nil, err
		}
		return rsa.SignPKCS1v15(nil, key, hash, digest)
	case "RSAPS":
		key, err := k.rsa()
		if err != nil {
			return nil, err
		}
		return rsa.SignPSS(rand.Reader, key, hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case "ECES":
		return k.signEC(digest)
	}
	return nil, errCannotSign
}

func (k jwk) rsa() (*rsa.PrivateKey, error) {
	integer := func(s string) *big.Int { return new(big.Int).SetBytes(decode(s)) }
	if k.D == "" || k.P == "" {
		return nil, errCannotSign
	}
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: integer(k.N), E: int(integer(k.E).Int64())},
		D:         integer(k.D),
		Primes:    []*big.Int{integer(k.P), integer(k.Q)},
	}
	return key, key.Validate()
}

func (k jwk) signEC(digest []byte) ([]byte, error) {
	curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-521": elliptic.P521()}[k.Crv]
	if curve == nil || k.D == "" {
		return nil, errCannotSign
	}
	size := (curve.Params().BitSize + 7) / 8
	scalar := new(big.Int).SetBytes(decode(k.D)).FillBytes(make([]byte, size))
	key, err := ecdsa.ParseRawPrivateKey(curve, scalar)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCannotSign, err)
	}
	r, s, err := ecdsa.Sign(rand.Reader, key, digest)
	if err != nil {
		return nil, err
	}
	return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), nil
}

func decode(s string) []byte {
	octets, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		panic(err) // a vector file that this test cannot be right about
	}
	return octets
}
