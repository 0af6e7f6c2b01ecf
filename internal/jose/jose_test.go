//lint:file-ignore SA1019 keys with a bad point can only be made by hand

package jose_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/internal/jose"
	"github.com/bearerguard/bearerguard/internal/strictjson"
)

var b64 = base64.RawURLEncoding.EncodeToString

// parse reads one JWK given as its members.
func parse(t *testing.T, members map[string]any) (jose.JWK, error) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"jwk": members})
	require.NoError(t, err)
	var jwk jose.JWK
	var refused error
	require.NoError(t, strictjson.Object(text, func(_ []byte, v strictjson.Value) error {
		jwk, refused = jose.ParseJWK(v)
		return nil
	}))
	return jwk, refused
}

func merged(base map[string]any, changes map[string]any) map[string]any {
	out := map[string]any{}
	for _, m := range []map[string]any{base, changes} {
		for name, value := range m {
			if out[name] = value; value == nil {
				delete(out, name)
			}
		}
	}
	return out
}

type pair struct {
	private crypto.Signer
	jwk     map[string]any
	algs    []string
}

func pairs(t *testing.T) map[string]pair {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	out := map[string]pair{
		"RSA": {rsaKey, map[string]any{"kty": "RSA", "n": b64(rsaKey.N.Bytes()), "e": "AQAB"},
			[]string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}},
		"OKP Ed25519": {edKey, map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(edKey.Public().(ed25519.PublicKey))},
			[]string{"EdDSA", "Ed25519"}},
	}
	for _, c := range []struct {
		curve elliptic.Curve
		alg   string
	}{{elliptic.P256(), "ES256"}, {elliptic.P384(), "ES384"}, {elliptic.P521(), "ES512"}} {
		key, err := ecdsa.GenerateKey(c.curve, rand.Reader)
		require.NoError(t, err)
		point, err := key.PublicKey.Bytes()
		require.NoError(t, err)
		size := len(point) / 2
		name := c.curve.Params().Name
		out["EC "+name] = pair{key, map[string]any{"kty": "EC", "crv": name, "x": b64(point[1 : 1+size]), "y": b64(point[1+size:])}, []string{c.alg}}
	}
	return out
}

func TestAJWKServesExactlyTheAlgorithmsOfItsTypeAndCurve(t *testing.T) {
	for name, p := range pairs(t) {
		t.Run(name, func(t *testing.T) {
			jwk, err := parse(t, merged(p.jwk, map[string]any{"kid": "k", "use": "sig", "key_ops": []string{"verify"}, "x5c": 7, "other": nil}))
			require.NoError(t, err)
			require.Equal(t, "k", jwk.KeyID)
			require.Empty(t, jwk.Algorithm)
			require.Equal(t, name, jwk.Key.Type())
			require.Equal(t, p.algs, jwk.Key.Algorithms())

			direct, err := jose.FromPublic(p.private.Public())
			require.NoError(t, err)
			require.Equal(t, jwk.Key.Thumbprint(), direct.Thumbprint())
			_, err = jose.FromPublic(p.private)
			require.ErrorContains(t, err, "Public method")

			for _, alg := range jose.Asymmetric() {
				pinned, err := parse(t, merged(p.jwk, map[string]any{"alg": alg}))
				if slices.Contains(p.algs, alg) {
					require.NoError(t, err)
					require.Equal(t, alg, pinned.Algorithm)
				} else {
					require.Error(t, err, alg)
					require.Error(t, jwk.Key.Verify(alg, []byte("input"), make([]byte, 64)))
				}
			}
		})
	}
}

// The thumbprint of RFC 7638 §3.1's own key.
func TestThumbprintIsThatOfRFC7638(t *testing.T) {
	jwk, err := parse(t, map[string]any{"kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
		"n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"})
	require.NoError(t, err)
	sum := jwk.Key.Thumbprint()
	require.Equal(t, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", b64(sum[:]))
}

func TestAKeyThatMustNotBeTrustedIsLeftOut(t *testing.T) {
	all := pairs(t)
	rsaJWK, ecJWK, okpJWK := all["RSA"].jwk, all["EC P-256"].jwk, all["OKP Ed25519"].jwk
	n := all["RSA"].private.(*rsa.PrivateKey).N
	short := new(big.Int).SetBit(new(big.Int).Rsh(n, 1), 0, 1) // odd, as a modulus is
	x, y := ecJWK["x"].(string), ecJWK["y"].(string)
	for name, members := range map[string]map[string]any{
		"no kty":                       merged(rsaJWK, map[string]any{"kty": nil}),
		"unknown kty":                  merged(rsaJWK, map[string]any{"kty": "AKP"}),
		"kty of another case":          merged(rsaJWK, map[string]any{"kty": "rsa"}),
		"kty is a number":              merged(rsaJWK, map[string]any{"kty": 1}),
		"kid is a number":              merged(rsaJWK, map[string]any{"kid": 1}),
		"kid over the limit":           merged(rsaJWK, map[string]any{"kid": strings.Repeat("k", jose.MaxKeyID+1)}),
		"use enc":                      merged(rsaJWK, map[string]any{"use": "enc"}),
		"use SIG":                      merged(rsaJWK, map[string]any{"use": "SIG"}),
		"use empty":                    merged(rsaJWK, map[string]any{"use": ""}),
		"key_ops without verify":       merged(rsaJWK, map[string]any{"key_ops": []string{"sign"}}),
		"key_ops empty":                merged(rsaJWK, map[string]any{"key_ops": []string{}}),
		"key_ops a string":             merged(rsaJWK, map[string]any{"key_ops": "verify"}),
		"alg of encryption":            merged(rsaJWK, map[string]any{"alg": "RSA-OAEP"}),
		"alg of a secret":              merged(rsaJWK, map[string]any{"alg": "HS256"}),
		"alg empty":                    merged(rsaJWK, map[string]any{"alg": ""}),
		"alg in lower case":            merged(rsaJWK, map[string]any{"alg": "rs256"}),
		"alg of another curve":         merged(ecJWK, map[string]any{"alg": "ES384"}),
		"private exponent":             merged(rsaJWK, map[string]any{"d": "AQAB"}),
		"private prime only":           merged(rsaJWK, map[string]any{"p": "AQAB"}),
		"private scalar":               merged(ecJWK, map[string]any{"d": x}),
		"symmetric member":             merged(rsaJWK, map[string]any{"k": "AQAB"}),
		"symmetric":                    {"kty": "oct", "k": b64(make([]byte, 64))},
		"no modulus":                   merged(rsaJWK, map[string]any{"n": nil}),
		"modulus null":                 {"kty": "RSA", "n": json.RawMessage("null"), "e": "AQAB"},
		"modulus zero":                 merged(rsaJWK, map[string]any{"n": b64(make([]byte, 256))}),
		"modulus of 2047 bits":         merged(rsaJWK, map[string]any{"n": b64(short.Bytes())}),
		"modulus of 2047 bits, padded": merged(rsaJWK, map[string]any{"n": b64(append([]byte{0}, short.Bytes()...))}),
		"modulus of 8193 bits":         merged(rsaJWK, map[string]any{"n": b64(new(big.Int).SetBit(big.NewInt(1), 8192, 1).Bytes())}),
		"modulus even":                 merged(rsaJWK, map[string]any{"n": b64(new(big.Int).Sub(n, big.NewInt(1)).Bytes())}),
		"modulus in padded base64":     merged(rsaJWK, map[string]any{"n": rsaJWK["n"].(string) + "="}),
		"modulus with a line break":    merged(rsaJWK, map[string]any{"n": rsaJWK["n"].(string) + "\n"}),
		"no exponent":                  merged(rsaJWK, map[string]any{"e": nil}),
		"exponent empty":               merged(rsaJWK, map[string]any{"e": ""}),
		"exponent zero":                merged(rsaJWK, map[string]any{"e": "AA"}),
		"exponent one":                 merged(rsaJWK, map[string]any{"e": "AQ"}),
		"exponent two":                 merged(rsaJWK, map[string]any{"e": "Ag"}),
		"exponent even":                merged(rsaJWK, map[string]any{"e": "BA"}),
		"exponent of 2^64+65537":       merged(rsaJWK, map[string]any{"e": b64([]byte{1, 0, 0, 0, 0, 0, 1, 0, 1})}),
		"exponent of 2^31+1":           merged(rsaJWK, map[string]any{"e": b64([]byte{0x80, 0, 0, 1})}),
		"unknown curve":                merged(ecJWK, map[string]any{"crv": "secp256k1"}),
		"no curve":                     merged(ecJWK, map[string]any{"crv": nil}),
		"off the curve":                merged(ecJWK, map[string]any{"x": y, "y": x}),
		"point zero":                   merged(ecJWK, map[string]any{"x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))}),
		"no y":                         merged(ecJWK, map[string]any{"y": nil}),
		"coordinate too wide":          merged(ecJWK, map[string]any{"x": b64(make([]byte, 33))}),
		"Ed25519 of 31 bytes":          merged(okpJWK, map[string]any{"x": b64(make([]byte, 31))}),
		"Ed25519 of 33 bytes":          merged(okpJWK, map[string]any{"x": b64(make([]byte, 33))}),
		"Ed448":                        merged(okpJWK, map[string]any{"crv": "Ed448"}),
		"X25519":                       merged(okpJWK, map[string]any{"crv": "X25519"}),
		"Ed25519 of small order":       merged(okpJWK, map[string]any{"x": b64(make([]byte, 32))}),
	} {
		t.Run(name, func(t *testing.T) {
			jwk, err := parse(t, members)
			require.Error(t, err)
			require.Nil(t, jwk.Key)
			require.NotContains(t, err.Error(), "AQAB", "no key material in a reason")
		})
	}
}

func TestEveryPrivateMemberGivesAKeyAway(t *testing.T) {
	rsaJWK := pairs(t)["RSA"].jwk
	for _, member := range []string{"d", "p", "q", "dp", "dq", "qi", "oth"} {
		_, err := parse(t, merged(rsaJWK, map[string]any{member: "AQAB"}))
		require.ErrorContains(t, err, "private half", member)
	}
}

// Whether a key is left out is logged once for each reason.
func TestAKeyIsLeftOutForTheSameReasonEachTime(t *testing.T) {
	wide := b64(make([]byte, 33))
	for range 64 {
		_, err := parse(t, map[string]any{"kty": "EC", "crv": "P-256", "x": wide, "y": wide})
		require.ErrorContains(t, err, "x is not 32 bytes")
	}
}

func TestALeadingZeroChangesNoKey(t *testing.T) {
	p := pairs(t)["RSA"]
	plain, err := parse(t, p.jwk)
	require.NoError(t, err)
	padded, err := parse(t, merged(p.jwk, map[string]any{
		"n": b64(append([]byte{0}, p.private.(*rsa.PrivateKey).N.Bytes()...)), "e": b64([]byte{0, 0, 0, 1, 0, 1})}))
	require.NoError(t, err)
	require.Equal(t, plain.Key.Thumbprint(), padded.Key.Thumbprint())
}

func TestPublicKeysOfTheStandardLibraryAreAdmittedByTheSameRules(t *testing.T) {
	all := pairs(t)
	p256 := all["EC P-256"].private.(*ecdsa.PrivateKey).PublicKey
	n := all["RSA"].private.(*rsa.PrivateKey).N
	odd := func(bits int) *big.Int { return new(big.Int).SetBit(big.NewInt(1), bits-1, 1) }
	for name, public := range map[string]crypto.PublicKey{
		"nil":              nil,
		"nil RSA":          (*rsa.PublicKey)(nil),
		"empty RSA":        &rsa.PublicKey{},
		"RSA of 2047 bits": &rsa.PublicKey{N: odd(2047), E: 65537},
		"RSA of 8193 bits": &rsa.PublicKey{N: odd(8193), E: 65537},
		"RSA even":         &rsa.PublicKey{N: new(big.Int).Lsh(n, 1), E: 65537},
		"RSA exponent 1":   &rsa.PublicKey{N: n, E: 1},
		"RSA exponent 4":   &rsa.PublicKey{N: n, E: 4},
		"RSA exponent -3":  &rsa.PublicKey{N: n, E: -3},
		"nil EC":           (*ecdsa.PublicKey)(nil),
		"empty EC":         &ecdsa.PublicKey{},
		"EC no point":      &ecdsa.PublicKey{Curve: elliptic.P256()},
		"EC off its curve": &ecdsa.PublicKey{Curve: elliptic.P256(), X: p256.Y, Y: p256.X},
		"EC P-224":         &ecdsa.PublicKey{Curve: elliptic.P224(), X: p256.X, Y: p256.Y},
		"empty Ed25519":    ed25519.PublicKey{},
		"a string":         "key",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := jose.FromPublic(public)
			require.Error(t, err)
		})
	}
}

func TestAKeyIsACopy(t *testing.T) {
	input := []byte("input")
	all := pairs(t)

	private := all["RSA"].private.(*rsa.PrivateKey)
	public := &rsa.PublicKey{N: new(big.Int).Set(private.N), E: private.E}
	key, err := jose.FromPublic(public)
	require.NoError(t, err)
	public.N.SetInt64(0)
	public.E = 0
	digest := sha256.Sum256(input)
	signature, err := rsa.SignPKCS1v15(nil, private, crypto.SHA256, digest[:])
	require.NoError(t, err)
	require.NoError(t, key.Verify("RS256", input, signature))

	point := ed25519.PublicKey(slices.Clone(all["OKP Ed25519"].private.Public().(ed25519.PublicKey)))
	key, err = jose.FromPublic(point)
	require.NoError(t, err)
	clear(point)
	require.NoError(t, key.Verify("EdDSA", input, ed25519.Sign(all["OKP Ed25519"].private.(ed25519.PrivateKey), input)))

	secret := bytes.Repeat([]byte("s"), 32)
	key, err = jose.FromSecret(secret)
	require.NoError(t, err)
	mac := hmac.New(sha256.New, secret)
	mac.Write(input)
	clear(secret)
	require.NoError(t, key.Verify("HS256", input, mac.Sum(nil)))
}

// RFC 7518 §3.4: two halves of the curve's width, however they might be padded.
func TestAnECDSASignatureHasOneLength(t *testing.T) {
	input := []byte("input")
	digest := sha256.Sum256(input)
	private := pairs(t)["EC P-256"].private.(*ecdsa.PrivateKey)
	key, err := jose.FromPublic(private.Public())
	require.NoError(t, err)
	r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
	require.NoError(t, err)
	R, S, zero := r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32)), []byte{0}
	require.NoError(t, key.Verify("ES256", input, slices.Concat(R, S)))
	for _, signature := range [][]byte{
		slices.Concat(R, zero, S), slices.Concat(zero, R, S), slices.Concat(R, S, zero), slices.Concat(zero, R, zero, S), R, S, slices.Concat(R, S, R, S),
	} {
		require.Error(t, key.Verify("ES256", input, signature))
	}
}

// Each point of the list, times eight, is the neutral element; arithmetic on
// -x² + y² = 1 + d·x²·y² over 2^255-19.
func TestSmallOrderPointsAreRefusedInEveryEncoding(t *testing.T) {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	inverse := func(a *big.Int) *big.Int { return new(big.Int).ModInverse(a, p) }
	mul := func(a, b *big.Int) *big.Int { c := new(big.Int).Mul(a, b); return c.Mod(c, p) }
	d := mul(big.NewInt(-121665), inverse(big.NewInt(121666)))
	one := big.NewInt(1)
	count := 0
	for _, encoded := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000001",
		"7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffec",
		"7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed",
		"7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffee",
		"05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826",
		"7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7",
	} {
		number, ok := new(big.Int).SetString(encoded, 16)
		require.True(t, ok)
		y := new(big.Int).Mod(number, p)
		y2 := mul(y, y)
		x2 := mul(new(big.Int).Sub(y2, one), inverse(new(big.Int).Add(mul(d, y2), one)))
		x := new(big.Int).ModSqrt(x2, p)
		require.NotNil(t, x, "not on the curve: %s", encoded)
		for range 3 { // doubling
			k := mul(d, mul(mul(x, x), mul(y, y)))
			x3 := mul(mul(big.NewInt(2), mul(x, y)), inverse(new(big.Int).Add(one, k)))
			y3 := mul(new(big.Int).Add(mul(y, y), mul(x, x)), inverse(new(big.Int).Sub(one, k)))
			x, y = x3, y3
		}
		require.Zero(t, x.Sign(), encoded)
		require.Zero(t, y.Cmp(one), encoded)

		little := number.FillBytes(make([]byte, 32))
		slices.Reverse(little)
		for _, sign := range []byte{0, 0x80} {
			little[31] = little[31]&0x7f | sign
			_, err := jose.FromPublic(ed25519.PublicKey(little))
			require.ErrorContains(t, err, "small order")
			count++
		}
	}
	require.Equal(t, 14, count)
}

func TestASecretIsAsLongAsTheHash(t *testing.T) {
	for length, want := range map[int][]string{
		31: nil, 32: {"HS256"}, 47: {"HS256"}, 48: {"HS256", "HS384"}, 64: {"HS256", "HS384", "HS512"},
	} {
		key, err := jose.FromSecret(make([]byte, length))
		require.NoError(t, err)
		require.Equal(t, want, key.Algorithms(), "%d bytes", length)
		require.Error(t, key.Verify("RS256", nil, nil))
	}
	_, err := jose.FromSecret(nil)
	require.Error(t, err)
}

// jwx signs, we verify, and the other way round we agree with its verifier on
// signatures that were tampered with.
func TestSignaturesMeanTheSameToJWX(t *testing.T) {
	input := []byte("header.payload")
	keys := pairs(t)
	secret := make([]byte, 64)
	_, err := rand.Read(secret)
	require.NoError(t, err)
	check := func(key *jose.Key, alg string, signWith, verifyWith any) {
		t.Run(alg, func(t *testing.T) {
			name := alg
			if alg == "Ed25519" { // jwx knows it by its older name only
				name = "EdDSA"
			}
			signer, err := jws.NewSigner(jwa.SignatureAlgorithm(name))
			require.NoError(t, err)
			verifier, err := jws.NewVerifier(jwa.SignatureAlgorithm(name))
			require.NoError(t, err)
			signature, err := signer.Sign(input, signWith)
			require.NoError(t, err)
			require.NoError(t, key.Verify(alg, input, signature))
			require.Error(t, key.Verify(alg, []byte("header.payloae"), signature))
			require.Error(t, key.Verify(alg, input, signature[:len(signature)-1]))
			require.Error(t, key.Verify(alg, input, append(slices.Clone(signature), 0)))
			require.Error(t, key.Verify(alg, input, nil))
			require.Error(t, key.Verify(alg, input, make([]byte, len(signature))))
			for i := 0; i < len(signature); i += 7 {
				bad := slices.Clone(signature)
				bad[i] ^= 0x40
				require.Equal(t, verifier.Verify(input, bad, verifyWith) == nil, key.Verify(alg, input, bad) == nil, "octet %d", i)
			}
		})
	}
	for _, p := range keys {
		key, err := jose.FromPublic(p.private.Public())
		require.NoError(t, err)
		for _, alg := range p.algs {
			check(key, alg, p.private, p.private.Public())
		}
	}
	key, err := jose.FromSecret(secret)
	require.NoError(t, err)
	for _, alg := range jose.Symmetric() {
		check(key, alg, secret, secret)
	}
}

// RFC 7518 §3.5; jwx and Go's default take any salt.
func TestPSSSaltIsAsLongAsTheHash(t *testing.T) {
	private := pairs(t)["RSA"].private.(*rsa.PrivateKey)
	key, err := jose.FromPublic(private.Public())
	require.NoError(t, err)
	digest := crypto.SHA256.New()
	digest.Write([]byte("input"))
	for salt, want := range map[int]bool{32: true, 31: false, 33: false, 20: false, rsa.PSSSaltLengthAuto: false} {
		signature, err := rsa.SignPSS(rand.Reader, private, crypto.SHA256, digest.Sum(nil), &rsa.PSSOptions{SaltLength: salt})
		require.NoError(t, err)
		require.Equal(t, want, key.Verify("PS256", []byte("input"), signature) == nil, "salt of %d", salt)
	}
}

func TestBase64HasOneSpelling(t *testing.T) {
	for _, value := range []string{"", "AA", "AAA", "AAAA", "-_-_"} {
		out, err := jose.AppendBase64([]byte("x"), value)
		require.NoError(t, err, "%q", value)
		require.Equal(t, value, b64(out[1:]))
	}
	for _, value := range []string{"A", "AAAAA", "AA==", "AB", "AAB", "+/+/", "AA\n", "\nAA", "A\rAA", "AAAA\n", "AAAA\r\n", "A A", "AA.", "\x00AAA", "ÄAAA", "\n", "\r\n\r\n"} {
		out, err := jose.AppendBase64([]byte("x"), value)
		require.Error(t, err, "%q", value)
		require.Equal(t, "x", string(out))
	}
	// A line break anywhere in any length.
	for length := range 70 {
		for at := range length + 1 {
			for _, gap := range []string{"\n", "\r\n", "\n\n\n", "\r\r\r\r"} {
				whole := b64(make([]byte, length))
				if at > len(whole) {
					continue
				}
				_, err := jose.AppendBase64(nil, whole[:at]+gap+whole[at:])
				require.Error(t, err, fmt.Sprintf("%d %d %q", length, at, gap))
			}
		}
	}
}

func TestAPublishedPrivateKeyIsHeardWhateverElseIsWrong(t *testing.T) {
	base := pairs(t)["EC P-256"].jwk
	for _, changes := range []map[string]any{
		{"d": "AQAB", "kid": 1}, {"d": "AQAB", "kid": strings.Repeat("k", jose.MaxKeyID+1)}, {"d": "AQAB", "use": "enc"}, {"d": 1},
	} {
		_, err := parse(t, merged(base, changes))
		require.ErrorContains(t, err, "the private half of a key is published")
	}
}
