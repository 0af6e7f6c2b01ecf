package wycheproof_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"
	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/internal/strictjson"
	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
)

const (
	signatureFile  = "json_web_signature_test.json"
	keyFile        = "json_web_key_test.json"
	cryptoFile     = "json_web_crypto_test.json"
	encryptionFile = "json_web_encryption_test.json"
)

type vectorFile struct {
	NumberOfTests int     `json:"numberOfTests"`
	TestGroups    []group `json:"testGroups"`
}

// group is a key, or a set of them, and the vectors made with it. A secret has
// no public half.
type group struct {
	Comment string          `json:"comment"`
	Private json.RawMessage `json:"private"`
	Public  json.RawMessage `json:"public"`
	Tests   []vector        `json:"tests"`
}

type vector struct {
	ID      int             `json:"tcId"`
	Comment string          `json:"comment"`
	JWS     json.RawMessage `json:"jws"`
	JWE     json.RawMessage `json:"jwe"`
	Result  string          `json:"result"`
}

func readVectors(t *testing.T, name string) vectorFile {
	t.Helper()
	text, err := fs.ReadFile(wycheproof.TestVectors, name)
	require.NoError(t, err)
	var file vectorFile
	require.NoError(t, json.Unmarshal(text, &file))
	return file
}

func (v vector) name() string {
	return fmt.Sprintf("%d %s", v.ID, strings.ReplaceAll(v.Comment, "/", " "))
}

// token is what a client would send: the compact form, or the JSON
// serialization as it stands.
func (v vector) token(t *testing.T) string {
	t.Helper()
	raw := v.JWS
	if raw == nil {
		raw = v.JWE
	}
	require.NotEmpty(t, raw)
	if raw[0] != '"' {
		return string(raw)
	}
	var text string
	require.NoError(t, json.Unmarshal(raw, &text))
	return text
}

// jwk holds the members that the tests read; jwks reads the rest.
type jwk struct {
	Kty, Kid, Alg, Crv, K, N, E, D, P, Q string
}

// members lists the JWKs of one JWK or of a set.
func members(t *testing.T, text json.RawMessage) []json.RawMessage {
	t.Helper()
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	require.NoError(t, json.Unmarshal(text, &set))
	if set.Keys == nil {
		return []json.RawMessage{text}
	}
	return set.Keys
}

func readJWK(t *testing.T, text json.RawMessage) jwk {
	t.Helper()
	var key jwk
	require.NoError(t, json.Unmarshal(text, &key))
	return key
}

// publish is the JWKS that an issuer would serve with these keys in it.
func publish(t *testing.T, keys json.RawMessage) []byte {
	t.Helper()
	text, err := json.Marshal(map[string]any{"keys": members(t, keys)})
	require.NoError(t, err)
	return text
}

// keys admits the group's keys as a service would: what an issuer publishes
// through Parse, and keys that are all secrets one by one through NewSecret,
// since a JWKS may not bring a secret.
func (g group) keys(t *testing.T) (*jwks.Set, error) {
	t.Helper()
	if g.Public != nil {
		return jwks.Parse(publish(t, g.Public))
	}
	var secrets []*jwks.Key
	for _, text := range members(t, g.Private) {
		key := readJWK(t, text)
		if key.Kty != "oct" {
			return jwks.Parse(publish(t, g.Private))
		}
		octets, err := base64.RawURLEncoding.DecodeString(key.K)
		require.NoError(t, err)
		secret, err := jwks.NewSecret(key.Kid, key.Alg, octets)
		if err != nil {
			return nil, err
		}
		secrets = append(secrets, secret)
	}
	return jwks.NewSet(secrets...)
}

type header struct{ alg, kid string }

// splitCompact takes a compact JWS apart as RFC 7515 §5.2 has it: three
// segments, the alphabet of base64url alone, in its one canonical spelling. It
// stands in for what jwtverify keeps to itself, for payloads that are no claims.
func splitCompact(token string) (h header, input string, signature []byte, err error) {
	segments := strings.Split(token, ".")
	if len(segments) != 3 {
		return h, "", nil, fmt.Errorf("%d segments", len(segments))
	}
	octets := make([][]byte, 3)
	for i, segment := range segments {
		octets[i], err = base64.RawURLEncoding.DecodeString(segment)
		if err != nil {
			return h, "", nil, err
		}
		if base64.RawURLEncoding.EncodeToString(octets[i]) != segment {
			return h, "", nil, fmt.Errorf("segment %d is not in canonical base64url", i)
		}
	}
	if h, err = readHeader(octets[0]); err != nil {
		return h, "", nil, err
	}
	return h, segments[0] + "." + segments[1], octets[2], nil
}

func readHeader(text []byte) (h header, err error) {
	err = strictjson.Object(text, func(name []byte, value strictjson.Value) error {
		content, isText := value.Text()
		switch string(name) {
		case "alg":
			h.alg = content
		case "kid":
			h.kid = content
		default:
			return nil
		}
		if !isText {
			return fmt.Errorf("%s is not a string", name)
		}
		return nil
	})
	return h, err
}

// verifySignature judges a vector as a bare JWS.
func (g group) verifySignature(t *testing.T, token string) error {
	t.Helper()
	h, input, signature, err := splitCompact(token)
	if err != nil {
		return err
	}
	set, err := g.keys(t)
	if err != nil {
		return err
	}
	key, err := set.Key(t.Context(), h.kid, h.alg)
	if err != nil {
		return err
	}
	return key.Verify(h.alg, []byte(input), signature)
}

const (
	issuer   = "https://issuer.example.com"
	audience = "https://api.example.com"
)

// verifier trusts the group's keys, none if they were refused as a whole, and
// allows every algorithm that there is.
func (g group) verifier(t *testing.T) *jwtverify.Verifier {
	t.Helper()
	set, err := g.keys(t)
	if err != nil {
		set = new(jwks.Set)
	}
	v, err := jwtverify.New(jwtverify.Config{
		Issuer:   issuer,
		Audience: []string{audience},
		Keys:     set,
		Algorithms: []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
			"ES256", "ES384", "ES512", "EdDSA", "Ed25519", "HS256", "HS384", "HS512"},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	return v
}
