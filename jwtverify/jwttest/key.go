package jwttest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.Hash.New
	_ "crypto/sha512"
	"math/big"
	"strings"
)

// A key signs by one algorithm for its whole life (RFC 8725 section 3.1).
type key struct {
	kid, alg  string
	private   crypto.Signer
	withdrawn bool // guarded by the Issuer's lock
}

// newKey makes a key for alg, or panics if the package cannot sign by it.
func newKey(alg string) *key {
	var private crypto.Signer
	var err error
	switch alg {
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA", "Ed25519":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		panic("jwttest: cannot sign by the algorithm " + alg)
	}
	if err != nil {
		panic("jwttest: " + err.Error())
	}
	return &key{alg: alg, private: private}
}

// jwk returns the public key as RFC 7517 and RFC 7518 section 6 write it.
func (k *key) jwk() map[string]string {
	members := map[string]string{"kid": k.kid, "alg": k.alg, "use": "sig"}
	switch public := k.private.Public().(type) {
	case *rsa.PublicKey:
		members["kty"] = "RSA"
		members["n"] = encode(public.N.Bytes())
		members["e"] = encode(big.NewInt(int64(public.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 0x04, then x and y at full width
		if err != nil {
			panic("jwttest: " + err.Error())
		}
		width := (len(point) - 1) / 2
		members["kty"] = "EC"
		members["crv"] = public.Params().Name
		members["x"] = encode(point[1 : 1+width])
		members["y"] = encode(point[1+width:])
	case ed25519.PublicKey:
		members["kty"] = "OKP"
		members["crv"] = "Ed25519"
		members["x"] = encode(public)
	}
	return members
}

// sign returns the signature over input in the form that JWS wants.
func (k *key) sign(input []byte) []byte {
	var signature []byte
	var err error
	switch private := k.private.(type) {
	case ed25519.PrivateKey:
		signature = ed25519.Sign(private, input)
	case *rsa.PrivateKey:
		var opts crypto.SignerOpts = k.hash()
		if strings.HasPrefix(k.alg, "PS") {
			// RFC 7518 section 3.5: the salt is as long as the hash.
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: k.hash()}
		}
		signature, err = private.Sign(rand.Reader, k.digest(input), opts)
	case *ecdsa.PrivateKey:
		signature, err = signECDSA(private, k.digest(input))
	}
	if err != nil {
		panic("jwttest: " + err.Error())
	}
	return signature
}

// signECDSA writes r and s side by side at the curve's width, as RFC 7518
// section 3.4 wants, and not as ASN.1.
func signECDSA(private *ecdsa.PrivateKey, digest []byte) ([]byte, error) {
	r, s, err := ecdsa.Sign(rand.Reader, private, digest)
	if err != nil {
		return nil, err
	}
	width := (private.Params().BitSize + 7) / 8
	signature := make([]byte, 2*width)
	r.FillBytes(signature[:width])
	s.FillBytes(signature[width:])
	return signature, nil
}

func (k *key) digest(input []byte) []byte {
	h := k.hash().New()
	h.Write(input)
	return h.Sum(nil)
}

func (k *key) hash() crypto.Hash {
	switch {
	case strings.HasSuffix(k.alg, "384"):
		return crypto.SHA384
	case strings.HasSuffix(k.alg, "512"):
		return crypto.SHA512
	default:
		return crypto.SHA256
	}
}
