package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
)

type kind string

const (
	rsaKey     kind = "RSA"
	p256       kind = "EC P-256"
	p384       kind = "EC P-384"
	p521       kind = "EC P-521"
	ed25519Key kind = "OKP Ed25519"
	oct        kind = "oct"
)

// An algorithm signs with one kind of key. ECDSA algorithms of JOSE fix the
// curve too (RFC 7518 §3.4).
type algorithm struct {
	name string
	kind kind
	hash crypto.Hash // 0 where the scheme hashes by itself
	pss  bool
}

var algorithms = []algorithm{
	{"RS256", rsaKey, crypto.SHA256, false},
	{"RS384", rsaKey, crypto.SHA384, false},
	{"RS512", rsaKey, crypto.SHA512, false},
	{"PS256", rsaKey, crypto.SHA256, true},
	{"PS384", rsaKey, crypto.SHA384, true},
	{"PS512", rsaKey, crypto.SHA512, true},
	{"ES256", p256, crypto.SHA256, false},
	{"ES384", p384, crypto.SHA384, false},
	{"ES512", p521, crypto.SHA512, false},
	{"EdDSA", ed25519Key, 0, false},
	{"Ed25519", ed25519Key, 0, false}, // RFC 9864
	{"HS256", oct, crypto.SHA256, false},
	{"HS384", oct, crypto.SHA384, false},
	{"HS512", oct, crypto.SHA512, false},
}

func lookup(name string) (algorithm, bool) {
	for _, a := range algorithms {
		if a.name == name {
			return a, true
		}
	}
	return algorithm{}, false
}

// Asymmetric lists the algorithms that work with a public key.
func Asymmetric() []string { return named(func(a algorithm) bool { return a.kind != oct }) }

// Symmetric lists the algorithms that work with a shared secret.
func Symmetric() []string { return named(func(a algorithm) bool { return a.kind == oct }) }

// Algorithms lists those that the key's type and curve, or its length, fit.
func (k *Key) Algorithms() []string { return named(k.fits) }

func named(match func(algorithm) bool) []string {
	var names []string
	for _, a := range algorithms {
		if match(a) {
			names = append(names, a.name)
		}
	}
	return names
}

func (k *Key) fits(a algorithm) bool {
	// RFC 7518 §3.2: a secret is at least as long as the hash.
	return a.kind == k.kind && (a.kind != oct || len(k.secret) >= a.hash.Size())
}

var (
	errAlgorithm = errors.New("the algorithm does not fit the key")
	errSignature = errors.New("the signature does not hold")

	// RFC 7518 §3.5: the salt is as long as the hash, no other length.
	pssOptions = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
)

// Verify checks one signature over input, with exactly the algorithm named.
func (k *Key) Verify(alg string, input, signature []byte) error {
	a, ok := lookup(alg)
	if !ok || !k.fits(a) {
		return errAlgorithm
	}
	var digest []byte
	switch {
	case a.kind == oct:
	case a.hash == crypto.SHA256:
		sum := sha256.Sum256(input)
		digest = sum[:]
	case a.hash == crypto.SHA384:
		sum := sha512.Sum384(input)
		digest = sum[:]
	case a.hash == crypto.SHA512:
		sum := sha512.Sum512(input)
		digest = sum[:]
	}
	holds := false
	switch a.kind {
	case rsaKey:
		if a.pss {
			holds = rsa.VerifyPSS(k.rsa, a.hash, digest, signature, pssOptions) == nil
		} else {
			holds = rsa.VerifyPKCS1v15(k.rsa, a.hash, digest, signature) == nil
		}
	case p256, p384, p521:
		size := (k.ecdsa.Params().BitSize + 7) / 8
		if len(signature) == 2*size {
			var der [maxDER]byte
			holds = ecdsa.VerifyASN1(k.ecdsa, digest, appendDER(der[:0], signature[:size], signature[size:]))
		}
	case ed25519Key:
		holds = ed25519.Verify(k.ed25519, input, signature)
	case oct:
		mac := hmac.New(a.hash.New, k.secret)
		mac.Write(input)
		holds = hmac.Equal(mac.Sum(nil), signature)
	}
	if !holds {
		return errSignature
	}
	return nil
}

// maxDER is the longest signature that appendDER writes, one of P-521.
const maxDER = 3 + 2*(2+1+66)

// appendDER writes the two halves of a JOSE signature (RFC 7518 §3.4) as the
// standard library reads them: SEQUENCE { r INTEGER, s INTEGER }. Doing it by
// way of big.Int costs half as many allocations again as the check itself.
func appendDER(dst, r, s []byte) []byte {
	r, s = minimal(r), minimal(s)
	length := 4 + len(r) + len(s) + sign(r) + sign(s)
	dst = append(dst, 0x30)
	if length > 0x7f {
		dst = append(dst, 0x81)
	}
	dst = append(dst, byte(length))
	for _, n := range [][]byte{r, s} {
		dst = append(dst, 0x02, byte(len(n)+sign(n)))
		dst = append(dst, make([]byte, sign(n))...)
		dst = append(dst, n...)
	}
	return dst
}

// minimal takes off leading zeros, but for the last octet of zero itself.
func minimal(n []byte) []byte {
	for len(n) > 1 && n[0] == 0 {
		n = n[1:]
	}
	return n
}

// sign is the length of the octet that keeps an INTEGER positive.
func sign(n []byte) int { return int(n[0] >> 7) }
