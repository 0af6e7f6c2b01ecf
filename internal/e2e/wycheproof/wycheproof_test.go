package wycheproof_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
)

func TestJSONWebSignature(t *testing.T)  { runFile(t, signatureFile) }
func TestJSONWebKey(t *testing.T)        { runFile(t, keyFile) }
func TestJSONWebCrypto(t *testing.T)     { runFile(t, cryptoFile) }
func TestJSONWebEncryption(t *testing.T) { runFile(t, encryptionFile) }

func runFile(t *testing.T, name string) {
	file := readVectors(t, name)
	ran := 0
	for _, g := range file.TestGroups {
		t.Run(g.Comment, func(t *testing.T) {
			v := g.verifier(t)
			good := g.goodHeaders(t, name)
			for _, vec := range g.Tests {
				ran++
				t.Run(vec.name(), func(t *testing.T) {
					token := vec.token(t)
					want := verdictOn(name, vec)
					requireVerdict(t, want.accept, g.verifySignature(t, token), want.reason)
					requireRefused(t, v, token)
					g.requireTwins(t, v, token, good)
				})
			}
		})
	}
	require.Equal(t, file.NumberOfTests, ran, "every vector of the file has run")
}

func requireVerdict(t *testing.T, accept bool, err error, reason string) {
	t.Helper()
	if accept {
		require.NoError(t, err, reason)
		return
	}
	require.Error(t, err, reason)
}

// requireRefused holds for valid vectors too, whose payload is no claims set.
// Either way the token is at fault and never the keys' availability.
func requireRefused(t *testing.T, v *jwtverify.Verifier, token string) {
	t.Helper()
	accepted, err := v.Verify(t.Context(), token)
	require.Nil(t, accepted)
	require.ErrorIs(t, err, jwtverify.ErrInvalidToken)
	if strings.Count(token, ".") != 2 {
		require.ErrorIs(t, err, jwtverify.ErrMalformed, "refused by its shape")
	}
}

// goodHeaders holds the header segments that stand in front of a signature that
// we accept, so that a token of our own with the same header must be accepted.
func (g group) goodHeaders(t *testing.T, file string) map[string]bool {
	t.Helper()
	good := map[string]bool{}
	for _, v := range g.Tests {
		if verdictOn(file, v).accept || embeddedKeys[file] == v.ID {
			header, _, _ := strings.Cut(v.token(t), ".")
			good[header] = true
		}
	}
	return good
}

// requireTwins puts the vector's header in front of a claims set and has Verify
// judge that twice: under the vector's own signature, which cannot hold for these
// claims whatever its octets are, and signed anew with the group's private key,
// so that header and key alone decide.
func (g group) requireTwins(t *testing.T, v *jwtverify.Verifier, token string, good map[string]bool) {
	t.Helper()
	segments := strings.Split(token, ".")
	if len(segments) != 3 {
		return // refused by its shape, as requireRefused has shown
	}
	input := inputOf(t, segments[0])
	requireRefused(t, v, input+"."+segments[2])

	signature, ok := g.sign(t, input)
	if !ok {
		// With octets of some kind, "none" is refused for its name and not for
		// the empty segment.
		requireRefused(t, v, input+".AAAA")
		require.False(t, good[segments[0]])
		return
	}
	if !good[segments[0]] {
		requireRefused(t, v, input+"."+signature)
		return
	}
	accepted, err := v.Verify(t.Context(), input+"."+signature)
	require.NoError(t, err)
	require.Equal(t, "subject", accepted.Subject)
}

func TestAPrivateKeyInAJWKSIsLeftOut(t *testing.T) {
	published := 0
	for _, name := range []string{signatureFile, keyFile, cryptoFile} {
		for _, g := range readVectors(t, name).TestGroups {
			if g.Public == nil {
				continue
			}
			published++
			set, err := jwks.Parse(publish(t, g.Private))
			if err != nil {
				continue // refused as a whole
			}
			for _, text := range members(t, g.Private) {
				key := readJWK(t, text)
				for _, alg := range []string{key.Alg, "RS256", "PS256", "ES256"} {
					_, err := set.Key(t.Context(), key.Kid, alg)
					require.ErrorIs(t, err, jwks.ErrKeyNotFound, "%s: %s for %s", g.Comment, key.Kid, alg)
				}
			}
		}
	}
	require.Positive(t, published)
}

// A secret beside a public key, as vector 1 of the keys has it: the secret is
// left out and the public key serves on.
func TestASecretInAJWKSIsLeftOutAndTheOtherKeysServe(t *testing.T) {
	mixed := readVectors(t, keyFile).TestGroups[0]
	require.Equal(t, "jws_mixedSymmetryKeyset", mixed.Comment)
	set, err := mixed.keys(t)
	require.NoError(t, err)
	_, err = set.Key(t.Context(), "kid-aes-sign", "HS256")
	require.ErrorIs(t, err, jwks.ErrKeyNotFound)
	_, err = set.Key(t.Context(), "kid-ec-sign", "ES256")
	require.NoError(t, err)
}

// Vector 4 of the keys: whichever of the two made a signature, neither serves.
func TestTwoSecretsUnderOneKidServeNeither(t *testing.T) {
	tried := false
	for _, g := range readVectors(t, keyFile).TestGroups {
		if g.Comment == "jws_duplicate_kid" {
			tried = true
			_, err := g.keys(t)
			require.Error(t, err)
		}
	}
	require.True(t, tried)
}

// Each of the four fails for its JWK's alg and for nothing else.
func TestTheFiguresOfRFC7520VerifyOnceTheirKeyNamesTheRightAlgorithm(t *testing.T) {
	repaired := 0
	for _, g := range readVectors(t, signatureFile).TestGroups {
		for _, v := range g.Tests {
			if own := ours[signatureFile][v.ID]; own.reason != forPS256 && own.reason != es521 {
				continue
			}
			token := v.token(t)
			h, _, _, err := splitCompact(token)
			require.NoError(t, err)
			require.NotEqual(t, h.alg, readJWK(t, g.Public).Alg, "still the defect that we name")

			right := map[string]any{}
			require.NoError(t, json.Unmarshal(g.Public, &right))
			right["alg"] = h.alg
			text, err := json.Marshal(right)
			require.NoError(t, err)
			require.NoError(t, group{Public: text}.verifySignature(t, token), v.name())
			repaired++
		}
	}
	require.Equal(t, 4, repaired)
}

// A defect that upstream repairs must leave the list.
func TestTheNamedDefectsAreThereStill(t *testing.T) {
	tokens := map[int]string{}
	for _, g := range readVectors(t, signatureFile).TestGroups {
		for _, v := range g.Tests {
			tokens[v.ID] = v.token(t)
		}
	}
	for id, own := range ours[signatureFile] {
		switch own.reason {
		case identical:
			require.Equal(t, tokens[357], tokens[id], "vector %d", id)
		case question:
			require.Contains(t, tokens[id], "?", "vector %d", id)
		}
	}
	for name, verdicts := range ours {
		found := 0
		for _, g := range readVectors(t, name).TestGroups {
			for _, v := range g.Tests {
				if own, ok := verdicts[v.ID]; ok {
					found++
					require.NotEqual(t, v.Result == "valid", own.accept, "%s %s agrees with its label", name, v.name())
				}
			}
		}
		require.Len(t, verdicts, found, "%s names a vector that is not there", name)
	}
}
