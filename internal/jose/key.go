// Package jose turns a JWK (RFC 7517) into a key that checks signatures, and
// checks one signature (RFC 7515, 7518, 8037, 9864).
//
// It is the only package that imports jwx. jwx reads key material, once when a
// set of keys is loaded and only after the checks of this package; whether a
// signature holds is decided by the standard library alone.
package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/bearerguard/bearerguard/internal/strictjson"
)

const (
	// RFC 7518 §3.3 sets the lower bound; the upper one keeps a hostile key
	// from making each check as slow as it likes.
	minModulusBits = 2048
	maxModulusBits = 8192

	// MaxKeyID is the longest kid in bytes, of a JWK and of a token's header.
	MaxKeyID = 512
)

// Key is a public key or a secret that was admitted. It is immutable.
type Key struct {
	kind       kind
	rsa        *rsa.PublicKey
	ecdsa      *ecdsa.PublicKey
	ed25519    ed25519.PublicKey
	secret     []byte
	thumbprint [32]byte
}

// Thumbprint is the key's identity by content, the SHA-256 of RFC 7638.
func (k *Key) Thumbprint() [32]byte { return k.thumbprint }

// Type is the key's type and curve: "RSA", "EC P-256", "OKP Ed25519", "oct" …
func (k *Key) Type() string { return string(k.kind) }

// FromPublic admits a public key of the standard library's: *rsa.PublicKey,
// *ecdsa.PublicKey or ed25519.PublicKey. It keeps a copy.
func FromPublic(public crypto.PublicKey) (*Key, error) {
	k, err := admit(public)
	if err != nil {
		return nil, err
	}
	return k, k.identify(public)
}

// FromSecret admits a secret for HMAC. It keeps a copy.
func FromSecret(secret []byte) (*Key, error) {
	if len(secret) == 0 {
		return nil, errors.New("the secret is empty")
	}
	k := &Key{kind: oct, secret: slices.Clone(secret)}
	return k, k.identify(k.secret)
}

func (k *Key) identify(raw any) error {
	read, err := jwk.FromRaw(raw)
	if err != nil {
		return errors.New("the key material cannot be read")
	}
	sum, err := read.Thumbprint(crypto.SHA256)
	if err != nil || len(sum) != len(k.thumbprint) {
		return errors.New("the key has no thumbprint")
	}
	k.thumbprint = [32]byte(sum)
	return nil
}

// JWK writes a public key as ParseJWK reads it; empty kid and alg are left out.
func (k *Key) JWK(kid, alg string) ([]byte, error) {
	var public any = k.ed25519
	switch {
	case k.rsa != nil:
		public = k.rsa
	case k.ecdsa != nil:
		public = k.ecdsa
	case k.kind == oct:
		return nil, errors.New("a secret is not for writing down")
	}
	written, err := jwk.FromRaw(public)
	if err != nil {
		return nil, errors.New("the key cannot be written")
	}
	for name, value := range map[string]string{jwk.KeyIDKey: kid, jwk.AlgorithmKey: alg} {
		if value != "" {
			if err := written.Set(name, value); err != nil {
				return nil, errors.New("the key cannot be written")
			}
		}
	}
	return json.Marshal(written)
}

func admit(public crypto.PublicKey) (*Key, error) {
	switch p := public.(type) {
	case *rsa.PublicKey:
		if p == nil || p.N == nil {
			return nil, errors.New("the key is nil")
		}
		if bits := p.N.BitLen(); bits < minModulusBits || bits > maxModulusBits {
			return nil, fmt.Errorf("an RSA key of %d bits; %d to %d are allowed", bits, minModulusBits, maxModulusBits)
		}
		if p.N.Bit(0) == 0 {
			return nil, errors.New("an even RSA modulus")
		}
		if p.E < 3 || p.E%2 == 0 || p.E > 1<<31-1 {
			return nil, errors.New("an RSA exponent that is not an odd number from 3 to 2^31-1")
		}
		return &Key{kind: rsaKey, rsa: &rsa.PublicKey{N: new(big.Int).Set(p.N), E: p.E}}, nil
	case *ecdsa.PublicKey:
		//lint:ignore SA1019 Bytes panics on nil coordinates, and only these fields tell.
		if p == nil || p.Curve == nil || p.X == nil || p.Y == nil {
			return nil, errors.New("the key is nil")
		}
		kind, ok := curves[p.Curve]
		if !ok {
			return nil, errors.New("a curve other than P-256, P-384 and P-521")
		}
		point, err := p.Bytes()
		if err != nil {
			return nil, errors.New("the point is not on its curve")
		}
		own, err := ecdsa.ParseUncompressedPublicKey(p.Curve, point)
		if err != nil {
			return nil, errors.New("the point is not on its curve")
		}
		return &Key{kind: kind, ecdsa: own}, nil
	case ed25519.PublicKey:
		if len(p) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("an Ed25519 key of %d bytes instead of %d", len(p), ed25519.PublicKeySize)
		}
		if smallOrder(p) {
			return nil, errors.New("an Ed25519 point of small order, under which any message verifies")
		}
		return &Key{kind: ed25519Key, ed25519: slices.Clone(p)}, nil
	case crypto.Signer:
		return nil, errors.New("a private key: pass what its Public method returns")
	default:
		return nil, fmt.Errorf("a key of type %T; pass an *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey", public)
	}
}

// JWK is one entry of a key set: what it says of itself, and its key.
type JWK struct {
	KeyID     string
	Algorithm string // "" where the JWK names none
	Key       *Key
}

// members are those of a JWK that decide anything here; all others are ignored
// as RFC 7517 §4 asks.
type members struct {
	kty, use, alg, crv string
	n, e, x, y         string
	keyOps             []string
	hasUse, hasKeyOps  bool
	hasAlg             bool
}

// ParseJWK admits one entry of a key set. An error is the reason for leaving
// the entry out, in words of this package only; KeyID is set even then where
// the entry has a usable one.
func ParseJWK(entry strictjson.Value) (JWK, error) {
	var jwk JWK
	if entry.Kind() != '{' {
		return jwk, errors.New("not a JSON object")
	}
	var m members
	var fault, exposed error
	keep := func(err error) {
		if fault == nil {
			fault = err
		}
	}
	text := func(v strictjson.Value, name string) string {
		s, ok := v.Text()
		if !ok {
			keep(fmt.Errorf("%s is not a string", name))
		}
		return s
	}
	err := entry.Members(func(name []byte, v strictjson.Value) error {
		switch string(name) {
		case "kid":
			jwk.KeyID = text(v, "kid")
		case "kty":
			m.kty = text(v, "kty")
		case "alg":
			m.alg, m.hasAlg = text(v, "alg"), true
		case "use":
			m.use, m.hasUse = text(v, "use"), true
		case "key_ops":
			m.hasKeyOps = true
			if v.Kind() != '[' {
				keep(errors.New("key_ops is not an array"))
			}
			return v.Elements(func(e strictjson.Value) error {
				m.keyOps = append(m.keyOps, text(e, "an element of key_ops"))
				return nil
			})
		case "crv":
			m.crv = text(v, "crv")
		case "n":
			m.n = text(v, "n")
		case "e":
			m.e = text(v, "e")
		case "x":
			m.x = text(v, "x")
		case "y":
			m.y = text(v, "y")
		case "d", "p", "q", "dp", "dq", "qi", "oth":
			// Whatever else is wrong with the entry, this has to be heard.
			exposed = errors.New("the private half of a key is published: its owner must revoke it")
		case "k":
			keep(errors.New("a symmetric key, which no published set may hold"))
		}
		return nil
	})
	if err != nil {
		return jwk, err
	}
	tooLong := len(jwk.KeyID) > MaxKeyID
	if tooLong {
		jwk.KeyID = ""
	}
	if exposed != nil {
		return jwk, exposed
	}
	if tooLong {
		return jwk, fmt.Errorf("kid is longer than %d bytes", MaxKeyID)
	}
	if fault != nil {
		return jwk, fault
	}
	if m.hasUse && m.use != "sig" {
		return jwk, errors.New("use is not sig")
	}
	if m.hasKeyOps && !slices.Contains(m.keyOps, "verify") {
		return jwk, errors.New("key_ops has no verify")
	}
	material, err := m.material()
	if err != nil {
		return jwk, err
	}
	key, err := readMaterial(material)
	if err != nil {
		return jwk, err
	}
	if m.hasAlg {
		if !slices.Contains(key.Algorithms(), m.alg) {
			return jwk, fmt.Errorf("alg is no signature algorithm for a key of type %s", key.Type())
		}
		jwk.Algorithm = m.alg
	}
	jwk.Key = key
	return jwk, nil
}

// material checks the lengths of what the key is made of and returns the
// smallest JWK that says it: nothing else of the entry ever reaches jwx.
func (m *members) material() (map[string]string, error) {
	switch m.kty {
	case "RSA":
		n, err := unsigned("n", m.n, maxModulusBits/8)
		if err != nil {
			return nil, err
		}
		e, err := unsigned("e", m.e, 4)
		if err != nil {
			return nil, err
		}
		return map[string]string{"kty": "RSA", "n": n, "e": e}, nil
	case "EC":
		size := 0
		for curve, kind := range curves {
			if string(kind) == "EC "+m.crv {
				size = (curve.Params().BitSize + 7) / 8
			}
		}
		if size == 0 {
			return nil, errors.New("crv is not P-256, P-384 or P-521")
		}
		for _, c := range []struct{ name, value string }{{"x", m.x}, {"y", m.y}} {
			if octets, err := decode(c.value); err != nil || len(octets) != size {
				return nil, fmt.Errorf("%s is not %d bytes in base64url", c.name, size)
			}
		}
		return map[string]string{"kty": "EC", "crv": m.crv, "x": m.x, "y": m.y}, nil
	case "OKP":
		if m.crv != "Ed25519" {
			return nil, errors.New("crv is not Ed25519")
		}
		// jwx panics on any other length.
		if octets, err := decode(m.x); err != nil || len(octets) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("x is not %d bytes in base64url", ed25519.PublicKeySize)
		}
		return map[string]string{"kty": "OKP", "crv": m.crv, "x": m.x}, nil
	case "oct":
		return nil, errors.New("a symmetric key, which no published set may hold")
	case "":
		return nil, errors.New("kty is missing")
	default:
		return nil, errors.New("kty is not RSA, EC or OKP")
	}
}

func readMaterial(material map[string]string) (*Key, error) {
	text, err := json.Marshal(material)
	if err != nil {
		return nil, errors.New("the key material cannot be read")
	}
	read, err := jwk.ParseKey(text)
	if err != nil {
		return nil, errors.New("the key material cannot be read")
	}
	var public any
	if err := read.Raw(&public); err != nil {
		return nil, errors.New("the key material cannot be read")
	}
	return FromPublic(public)
}

// unsigned checks a Base64urlUInt (RFC 7518 §2) and spells it the one right
// way. Leading zero octets, which some producers send against RFC 7518
// §6.3.1.1, change no number; a thumbprint must not depend on them.
func unsigned(name, value string, maxBytes int) (string, error) {
	if value == "" {
		return "", fmt.Errorf("%s is missing", name)
	}
	octets, err := decode(value)
	if err != nil {
		return "", fmt.Errorf("%s is not base64url", name)
	}
	for len(octets) > 0 && octets[0] == 0 {
		octets = octets[1:]
	}
	if len(octets) == 0 {
		return "", fmt.Errorf("%s is zero", name)
	}
	if len(octets) > maxBytes {
		return "", fmt.Errorf("%s is longer than %d bytes", name, maxBytes)
	}
	return base64.RawURLEncoding.EncodeToString(octets), nil
}

func decode(value string) ([]byte, error) { return AppendBase64(nil, value) }

var canonical = base64.RawURLEncoding.Strict()

// AppendBase64 appends to dst what value stands for in base64url without
// padding (RFC 7515 §2), and takes nothing but the one canonical spelling. The
// standard library's decoder skips line breaks even when it is strict; then
// fewer bytes come out than the length of value promises.
func AppendBase64(dst []byte, value string) ([]byte, error) {
	out, err := canonical.AppendDecode(dst, []byte(value)) // which copies nothing
	if err != nil || len(out)-len(dst) != canonical.DecodedLen(len(value)) || len(value)%4 == 1 {
		return dst, errBase64
	}
	return out, nil
}

var errBase64 = errors.New("not canonical base64url")

var curves = map[elliptic.Curve]kind{
	elliptic.P256(): p256,
	elliptic.P384(): p384,
	elliptic.P521(): p521,
}

// smallOrder reports whether p encodes one of the eight points whose order
// divides the cofactor, in any of the encodings that verification takes for
// them: y is 0, 1, -1 or one of two roots, or those plus the field's prime, and
// the sign bit either way.
func smallOrder(p ed25519.PublicKey) bool {
	y := [32]byte(p)
	y[31] &= 0x7f
	return slices.Contains(smallOrderY, y)
}

var smallOrderY = func() [][32]byte {
	prime := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	root, _ := new(big.Int).SetString("2707385501144840649318225287225658788936804267575313519463743609750303402022", 10)
	var all [][32]byte
	for _, y := range []*big.Int{
		big.NewInt(0), big.NewInt(1), new(big.Int).Sub(prime, big.NewInt(1)),
		prime, new(big.Int).Add(prime, big.NewInt(1)),
		root, new(big.Int).Sub(prime, root),
	} {
		var little [32]byte
		y.FillBytes(little[:])
		slices.Reverse(little[:])
		all = append(all, little)
	}
	return all
}()
