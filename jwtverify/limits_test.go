package jwtverify_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
)

// The limits of the package, each on both sides.
const (
	maxHeaderSegment = 4 << 10
	maxToken         = 16 << 10
	maxKeyID         = 512
	maxDepth         = 32
	maxKeys          = 100
	maxKeySet        = 256 << 10
)

func requireAccepted(t *testing.T, v *jwtverify.Verifier, token string) {
	t.Helper()
	tok, err := v.Verify(t.Context(), token)
	require.NoError(t, err)
	require.NotNil(t, tok)
}

func requireRefused(t *testing.T, v *jwtverify.Verifier, token string, reason jwtverify.Reason) {
	t.Helper()
	tok, err := v.Verify(t.Context(), token)
	require.Nil(t, tok)
	requireRefusal(t, err, []jwtverify.Reason{reason})
}

func TestHeaderSegmentUpToFourKiBIsRead(t *testing.T) {
	s := newSigner(t)
	v := s.verifier(t)
	header := func(pad int) string { return `{"alg":"ES256","x":"` + strings.Repeat("x", pad) + `"}` }
	// No base64url text is one character longer than a multiple of four, so
	// 4098 is the shortest above the limit.
	for _, length := range []int{maxHeaderSegment, maxHeaderSegment + 2} {
		token := s.sign(t, header(length*3/4-len(header(0))), s.claims(t, nil))
		require.Equal(t, length, strings.IndexByte(token, '.'))
		if length <= maxHeaderSegment {
			requireAccepted(t, v, token)
		} else {
			requireRefused(t, v, token, jwtverify.ErrMalformed)
		}
	}
}

func TestTokenUpToSixteenKiBIsRead(t *testing.T) {
	s := newSigner(t)
	v := s.verifier(t)
	requireAccepted(t, v, s.tokenOfLength(t, maxToken))
	requireRefused(t, v, s.tokenOfLength(t, maxToken+1), jwtverify.ErrMalformed)
}

// tokenOfLength pads the claims, and the header by a few bytes where no claims
// give the length: a segment grows by one or two characters at a time.
func (s signer) tokenOfLength(t *testing.T, length int) string {
	t.Helper()
	for headerPad := range 3 {
		header := `{"alg":"ES256"` + strings.Repeat(" ", headerPad) + `}`
		left := length - len(s.sign(t, header, s.claims(t, map[string]any{"pad": ""})))
		for pad := left*3/4 - 3; pad <= left*3/4+3; pad++ {
			token := s.sign(t, header, s.claims(t, map[string]any{"pad": strings.Repeat("x", pad)}))
			if len(token) == length {
				return token
			}
		}
	}
	require.Fail(t, "no token of that length", length)
	return ""
}

func TestKidUpTo512BytesNamesAKey(t *testing.T) {
	s := newSigner(t)
	longest := strings.Repeat("é", maxKeyID/2) // bytes count, not characters
	for _, kid := range []string{longest, longest + "x"} {
		set, err := jwks.Parse([]byte(marshal(t, map[string]any{
			"keys": []any{s.jwk(t, "short"), s.jwk(t, kid)},
		})))
		require.NoError(t, err)
		v := verifierWith(t, set)
		requireAccepted(t, v, s.sign(t, `{"alg":"ES256","kid":"short"}`, s.claims(t, nil)))

		token := s.sign(t, marshal(t, map[string]string{"alg": "ES256", "kid": kid}), s.claims(t, nil))
		if len(kid) <= maxKeyID {
			requireAccepted(t, v, token)
		} else {
			requireRefused(t, v, token, jwtverify.ErrMalformed)
		}
	}
}

// nested is an array of that many levels.
func nested(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }

func TestJSONUpToDepth32IsRead(t *testing.T) {
	s := newSigner(t)
	v := s.verifier(t)
	claims := s.claims(t, nil)
	with := func(object string, levels int) string { // the object itself is the first level
		return strings.TrimSuffix(object, "}") + `,"deep":` + nested(levels-1) + "}"
	}
	header := `{"alg":"ES256"}`

	requireAccepted(t, v, s.sign(t, header, with(claims, maxDepth)))
	requireRefused(t, v, s.sign(t, header, with(claims, maxDepth+1)), jwtverify.ErrMalformed)
	requireAccepted(t, v, s.sign(t, with(header, maxDepth), claims))
	requireRefused(t, v, s.sign(t, with(header, maxDepth+1), claims), jwtverify.ErrMalformed)
}

// The levels of a key set count from its outermost object, and a set that is
// too deep is refused as a whole wherever the depth is.
func TestKeySetUpToDepth32IsRead(t *testing.T) {
	s := newSigner(t)
	key := marshal(t, s.jwk(t, ""))
	for name, set := range map[string]func(levels int) string{
		"beside the keys": func(levels int) string {
			return `{"keys":[` + key + `],"deep":` + nested(levels-1) + `}`
		},
		"inside a key": func(levels int) string { // below the set, its array, and the key
			return `{"keys":[` + strings.TrimSuffix(key, "}") + `,"deep":` + nested(levels-3) + `}]}`
		},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := jwks.Parse([]byte(set(maxDepth)))
			require.NoError(t, err)
			requireAccepted(t, verifierWith(t, keys), s.sign(t, `{"alg":"ES256"}`, s.claims(t, nil)))

			_, err = jwks.Parse([]byte(set(maxDepth + 1)))
			require.Error(t, err)
		})
	}
}

func TestKeySetOfUpTo100KeysIsRead(t *testing.T) {
	s := newSigner(t)
	set := func(n int) []byte {
		var keys []any
		for i := range n {
			keys = append(keys, s.jwk(t, fmt.Sprintf("k%d", i+1)))
		}
		return []byte(marshal(t, map[string]any{"keys": keys}))
	}
	keys, err := jwks.Parse(set(maxKeys))
	require.NoError(t, err)
	v := verifierWith(t, keys)
	requireAccepted(t, v, s.sign(t, `{"alg":"ES256","kid":"k1"}`, s.claims(t, nil)))
	requireAccepted(t, v, s.sign(t, `{"alg":"ES256","kid":"k100"}`, s.claims(t, nil)))

	_, err = jwks.Parse(set(maxKeys + 1))
	require.Error(t, err)
}

func TestKeySetOfUpTo256KiBIsRead(t *testing.T) {
	s := newSigner(t)
	set := func(length int) []byte {
		text := func(pad int) string {
			return `{"pad":"` + strings.Repeat("x", pad) + `","keys":[` + marshal(t, s.jwk(t, "")) + `]}`
		}
		return []byte(text(length - len(text(0))))
	}
	require.Len(t, set(maxKeySet), maxKeySet)
	keys, err := jwks.Parse(set(maxKeySet))
	require.NoError(t, err)
	requireAccepted(t, verifierWith(t, keys), s.sign(t, `{"alg":"ES256"}`, s.claims(t, nil)))

	_, err = jwks.Parse(set(maxKeySet + 1))
	require.Error(t, err)
}
