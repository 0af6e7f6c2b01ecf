package jwks_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
)

// everyAlg is what a token can be signed with here.
var everyAlg = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "HS256", "HS384", "HS512",
}

func parse(t *testing.T, keys ...jwk) *jwks.Set {
	t.Helper()
	s, err := jwks.Parse([]byte(set(keys...)))
	require.NoError(t, err)
	return s
}

// serves lists the algorithms for which a kid finds a key.
func serves(t *testing.T, s *jwks.Set, kid string) []string {
	t.Helper()
	var algs []string
	for _, alg := range everyAlg {
		k, err := s.Key(t.Context(), kid, alg)
		if err == nil {
			require.NotNil(t, k)
			algs = append(algs, alg)
			continue
		}
		require.ErrorIs(t, err, jwks.ErrKeyNotFound)
		require.Nil(t, k)
	}
	return algs
}

func TestAKeyServesItsAlgorithmOrEveryOneOfItsType(t *testing.T) {
	s := parse(t,
		rsaJWK.with(jwk{"kid": "rsa"}),
		rsaJWK.with(jwk{"kid": "pinned", "alg": "PS384"}),
		ecJWK.with(jwk{"kid": "p256"}),
		ec384JWK.with(jwk{"kid": "p384"}),
		keyA, keyB.with(jwk{"alg": nil}), keyC.with(jwk{"alg": "Ed25519"}),
	)
	for kid, want := range map[string][]string{
		"rsa":    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"},
		"pinned": {"PS384"},
		"p256":   {"ES256"},
		"p384":   {"ES384"},
		"a":      {"EdDSA"},
		"b":      {"EdDSA", "Ed25519"},
		"c":      {"Ed25519"},
		"A":      nil,
		" a":     nil,
		"nobody": nil,
	} {
		require.Equal(t, want, serves(t, s, kid), kid)
	}
	for _, alg := range []string{"", "none", "rs256", "RS256 ", "RS1", "ES256K", "dir"} {
		_, err := s.Key(t.Context(), "rsa", alg)
		require.ErrorIs(t, err, jwks.ErrKeyNotFound, alg)
	}
}

func TestWithoutAKidExactlyOneKeyMustFit(t *testing.T) {
	s := parse(t, rsaJWK.with(jwk{"kid": "r"}), keyA, keyB, ecJWK.with(jwk{"alg": "ES256"}))
	require.Equal(t, []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256"}, serves(t, s, ""))

	s = parse(t, keyA, keyA.with(jwk{"kid": "again"}))
	require.Equal(t, []string{"EdDSA"}, serves(t, s, ""), "one key under two kids is one key")

	s = parse(t, keyA, keyB.with(jwk{"alg": "Ed25519"}))
	require.Equal(t, []string{"EdDSA", "Ed25519"}, serves(t, s, ""), "each algorithm has one")

	s = parse(t, keyA, keyB, keyB.with(jwk{"kid": "c"}), keyA.with(jwk{"kid": "d"}))
	require.Empty(t, serves(t, s, ""), "a third entry does not make two keys one")
}

func TestTwoDifferentKeysForOneKidServeNeither(t *testing.T) {
	twin := keyB.with(jwk{"kid": "a"})
	s := parse(t, keyA, twin, keyC)
	require.Empty(t, serves(t, s, "a"))
	require.Equal(t, []string{"EdDSA"}, serves(t, s, "c"), "only the ambiguous ones are lost")
	require.Empty(t, serves(t, s, ""))

	s = parse(t, keyA, twin, keyA, keyC)
	require.Empty(t, serves(t, s, "a"), "to repeat one of them settles nothing")

	s = parse(t, keyA.with(jwk{"alg": nil}), twin)
	require.Equal(t, []string{"Ed25519"}, serves(t, s, "a"), "ambiguous is (kid, alg), not the kid")

	_, err := jwks.Parse([]byte(set(keyA, twin)))
	require.ErrorContains(t, err, "same kid")
	_, err = jwks.Parse([]byte(set(keyA.with(jwk{"kid": nil}), keyB.with(jwk{"kid": nil}))))
	require.ErrorContains(t, err, "no kid")
	_, err = jwks.NewSet(newKey(t, "k", "", edPublics[0]), newKey(t, "k", "EdDSA", edPublics[1]))
	require.ErrorContains(t, err, "key 0: another key has the same kid for EdDSA")
}

func TestEqualEntriesAreOneKey(t *testing.T) {
	s := parse(t, keyA, keyA, keyA.with(jwk{"use": "sig", "x5t": "whatever"}))
	require.Equal(t, []string{"EdDSA"}, serves(t, s, "a"))
	require.Equal(t, []string{"EdDSA"}, serves(t, s, ""))

	s = parse(t, keyA, keyA.with(jwk{"alg": nil}))
	require.Equal(t, []string{"EdDSA", "Ed25519"}, serves(t, s, "a"), "the same key once more, for more")
}

func TestOneKidForTwoTypesIsNoDuplicate(t *testing.T) {
	s := parse(t, rsaJWK.with(jwk{"kid": "k", "alg": "RS256"}), ecJWK.with(jwk{"kid": "k", "alg": "ES256"}), ec384JWK.with(jwk{"kid": "k"}))
	require.Equal(t, []string{"RS256", "ES256", "ES384"}, serves(t, s, "k"))
}

func TestAKidIsExactAndAtMost512Bytes(t *testing.T) {
	longest := strings.Repeat("k", 512)
	odd := "../../etc/passwd\x00' OR 1=1 \u212a"
	s := parse(t, keyA.with(jwk{"kid": longest}), keyB.with(jwk{"kid": odd}), keyC.with(jwk{"kid": longest + "k"}))
	require.NotEmpty(t, serves(t, s, longest))
	require.NotEmpty(t, serves(t, s, odd))
	require.Empty(t, serves(t, s, longest+"k"))
	require.Empty(t, serves(t, s, strings.ToUpper(longest)))

	_, err := jwks.NewKey(longest, "", edPublics[0])
	require.NoError(t, err)
	_, err = jwks.NewKey(longest+"k", "", edPublics[0])
	require.ErrorContains(t, err, "512 bytes")
}

func TestOneBadEntryNeverCostsTheRest(t *testing.T) {
	bad := []jwk{
		nil,
		{},
		{"kty": "AKP", "alg": "ML-DSA-44", "kid": "pq", "pub": "AAAA"},
		{"kty": "oct", "k": "c2VjcmV0", "kid": "a"},
		{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "a"},
		keyB.with(jwk{"kid": 5}),
		keyB.with(jwk{"kid": "a", "x": keyB["x"].(string)[1:]}),
		keyB.with(jwk{"kid": "a", "d": b64(make([]byte, 32))}),
		keyB.with(jwk{"kid": "a", "use": "enc"}),
		keyB.with(jwk{"kid": "a", "key_ops": []string{"sign"}}),
		keyB.with(jwk{"kid": "a", "alg": "ES256"}),
		keyB.with(jwk{"kid": "a", "x": b64(make([]byte, 32))}),
	}
	for n, entry := range bad {
		for _, keys := range [][]jwk{{entry, keyA}, {keyA, entry}} {
			require.Equal(t, []string{"EdDSA"}, serves(t, parse(t, keys...), "a"), "entry %d", n)
		}
		_, err := jwks.Parse([]byte(set(entry)))
		require.ErrorContains(t, err, "none of its keys may be used; number 0: ", "entry %d", n)
	}
	require.NotEmpty(t, serves(t, parse(t, append(bad, keyA)...), "a"))
}

func TestWhatIsNoJWKSetIsAnError(t *testing.T) {
	good := set(keyA)
	for _, document := range []string{
		"", " ", "null", "[]", "{}", `"keys"`, `{"keys":null}`, `{"keys":{}}`, `{"keys":"[]"}`, `{"keys":[]}`,
		`{"KEYS":` + good[len(`{"keys":`):],
		good + good, good + "x", good[:len(good)-1], "\xef\xbb\xbf" + good, "callback(" + good + ")",
		strings.Replace(good, `{"keys":`, `{"keys":[],"keys":`, 1),
		strings.Replace(good, `"kid":"a"`, `"kid":"a","kid":"a"`, 1),
		strings.Replace(good, `"kid":"a"`, `"kid":"`+"\xff"+`"`, 1),
		`{"a":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `,` + good[1:],
		"<!doctype html><title>Sign in</title>",
	} {
		s, err := jwks.Parse([]byte(document))
		require.Error(t, err, document)
		require.Nil(t, s)
	}
}

func TestASetHasAtMost100KeysAnd256KiB(t *testing.T) {
	keys := slices.Repeat([]jwk{{"kty": "unknown"}}, 99)
	require.NotEmpty(t, serves(t, parse(t, append(keys, keyA)...), "a"))
	_, err := jwks.Parse([]byte(set(append(keys, keyA, keyA)...)))
	require.ErrorContains(t, err, "more than 100 keys")

	const limit = 256 << 10
	document := set(keyA)
	document += strings.Repeat(" ", limit-len(document))
	_, err = jwks.Parse([]byte(document))
	require.NoError(t, err)
	_, err = jwks.Parse([]byte(document + " "))
	require.ErrorContains(t, err, "256 KiB")
}

func TestASecretIsAtLeastAsLongAsTheHash(t *testing.T) {
	for alg, least := range map[string]int{"HS256": 32, "HS384": 48, "HS512": 64} {
		_, err := jwks.NewSecret("k", alg, make([]byte, least-1))
		require.ErrorContains(t, err, fmt.Sprintf("%s wants %d", alg, least))
		_, err = jwks.NewSecret("k", alg, nil)
		require.ErrorContains(t, err, fmt.Sprintf("%s wants %d", alg, least))
		k, err := jwks.NewSecret("k", alg, make([]byte, least))
		require.NoError(t, err)
		s, err := jwks.NewSet(k)
		require.NoError(t, err)
		require.Equal(t, []string{alg}, serves(t, s, "k"), "and serves no other algorithm")
	}
	for _, alg := range []string{"", "HS1", "hs256", "none", "RS256"} {
		_, err := jwks.NewSecret("k", alg, make([]byte, 64))
		require.ErrorContains(t, err, "write HS256, HS384 or HS512", alg)
	}
}

func TestFaultsTellWhatToWrite(t *testing.T) {
	for want, public := range map[string]crypto.PublicKey{
		"pass an *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey": nil,
		"pass an *rsa.PublicKey":                  *rsaPublic,
		"pass what its Public method returns":     rsaPrivate,
		"2048 to 8192 are allowed":                &rsa.PublicKey{N: ecPublic.Params().P, E: 65537},
		"the key is nil":                          (*rsa.PublicKey)(nil),
		"an Ed25519 key of 31 bytes instead of 3": ed25519.PublicKey(make([]byte, 31)),
	} {
		_, err := jwks.NewKey("k", "", public)
		require.ErrorContains(t, err, "jwks: NewKey: ")
		require.ErrorContains(t, err, want)
	}
	_, err := jwks.NewKey("k", "HS256", rsaPublic)
	require.ErrorContains(t, err, `write one of ["RS256" "RS384" "RS512" "PS256" "PS384" "PS512"], or ""`)
	_, err = jwks.NewKey("k", "ES256", ec384Public)
	require.ErrorContains(t, err, `write one of ["ES384"]`)
	_, err = jwks.NewSet()
	require.ErrorContains(t, err, "give at least one")
	_, err = jwks.NewSet(newKey(t, "k", "", rsaPublic), nil)
	require.ErrorContains(t, err, "key 1 is nil")
	_, err = jwks.NewSet(new(jwks.Key))
	require.ErrorContains(t, err, "key 0 is nil")
}

func TestNilAndZeroVerifyNothingAndFindNothing(t *testing.T) {
	var none *jwks.Key
	for _, alg := range append(everyAlg, "", "none") {
		require.Error(t, none.Verify(alg, nil, nil))
		require.Error(t, new(jwks.Key).Verify(alg, nil, nil))
	}
	var noSet *jwks.Set
	for _, s := range []*jwks.Set{noSet, new(jwks.Set)} {
		require.Empty(t, serves(t, s, ""))
		require.Empty(t, serves(t, s, "a"))
	}
}

func TestAKeyVerifiesOnlyWithItsOwnAlgorithm(t *testing.T) {
	input := []byte("header.claims")
	sum := sha256.Sum256(input)
	pkcs, err := rsa.SignPKCS1v15(rand.Reader, rsaPrivate, crypto.SHA256, sum[:])
	require.NoError(t, err)
	secret := make([]byte, 64)
	mac := hmac.New(sha256.New, secret)
	mac.Write(input)
	shared, err := jwks.NewSecret("", "HS256", secret)
	require.NoError(t, err)

	for _, c := range []struct {
		key       *jwks.Key
		signature []byte
		holds     string
	}{
		{newKey(t, "", "", rsaPublic), pkcs, "RS256"},
		{newKey(t, "", "RS256", rsaPublic), pkcs, "RS256"},
		{newKey(t, "", "PS256", rsaPublic), pkcs, ""},
		{shared, mac.Sum(nil), "HS256"},
	} {
		for _, alg := range append(everyAlg, "", "none") {
			if err := c.key.Verify(alg, input, c.signature); alg != "" && alg == c.holds {
				require.NoError(t, err)
				require.Error(t, c.key.Verify(alg, input[1:], c.signature))
				require.Error(t, c.key.Verify(alg, input, c.signature[1:]))
				require.Error(t, c.key.Verify(alg, input, nil))
			} else {
				require.Error(t, err, alg)
			}
		}
	}
}

// types are the algorithms of each type of key that a set can hold.
var types = [][]string{
	{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, {"ES256"}, {"ES384"}, {"ES512"}, {"EdDSA", "Ed25519"},
}

func FuzzParse(f *testing.F) {
	corpus, err := os.ReadFile("../jwtverify/testdata/corpus/jwks-format.json")
	require.NoError(f, err)
	var file struct {
		Cases []struct {
			Raw *string         `json:"jwks_raw"`
			Set json.RawMessage `json:"jwks"`
		}
	}
	require.NoError(f, json.Unmarshal(corpus, &file))
	require.NotEmpty(f, file.Cases)
	for _, c := range file.Cases {
		f.Add([]byte(c.Set))
		if c.Raw != nil {
			f.Add([]byte(*c.Raw))
		}
	}
	f.Add([]byte(set(rsaJWK.with(jwk{"kid": "k"}), ecJWK.with(jwk{"kid": "k"}), keyA, keyA, keyB.with(jwk{"kid": "a"}))))
	// Kids that mutated sets are likely to have.
	kids := []string{"", "a", "b", "c", "k", "rsa-1", "ec-1", "ed-1", "0"}

	f.Fuzz(func(t *testing.T, document []byte) {
		before := bytes.Clone(document)
		s, err := jwks.Parse(document)
		require.Equal(t, before, document, "the caller's bytes are the caller's")
		if err != nil {
			require.Nil(t, s)
			return
		}
		require.LessOrEqual(t, len(document), 256<<10)
		require.True(t, json.Valid(document))
		for _, kid := range kids {
			for _, alg := range serves(t, s, kid) {
				require.False(t, strings.HasPrefix(alg, "HS"), "no set holds a secret")
				k, err := s.Key(t.Context(), kid, alg)
				require.NoError(t, err)
				requireItsTypeOnly(t, k, alg)
			}
		}
	})
}

// requireItsTypeOnly tells an algorithm that is refused from a signature that is
// wrong by the errors, which is all that a stranger to the private key can do.
func requireItsTypeOnly(t *testing.T, k *jwks.Key, found string) {
	at := slices.IndexFunc(types, func(algs []string) bool { return slices.Contains(algs, found) })
	require.GreaterOrEqual(t, at, 0)
	for _, alg := range append(everyAlg, "none", "") {
		err := k.Verify(alg, []byte("input"), make([]byte, 64))
		require.Error(t, err)
		if alg == found {
			require.ErrorContains(t, err, "signature does not hold")
		} else if !slices.Contains(types[at], alg) {
			require.ErrorContains(t, err, "algorithm")
		}
	}
}
