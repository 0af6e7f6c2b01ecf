package jwtverify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/internal/cache"
	"github.com/bearerguard/bearerguard/jwks"
)

func (m *headers) count() int {
	if known := m.known.Load(); known != nil {
		return len(*known)
	}
	return 0
}

func TestOnlySoManyHeadersAreRemembered(t *testing.T) {
	var m headers
	most := 0
	for n := range 200_000 {
		m.put(fmt.Sprint(n), header{})
		most = max(most, m.count())
		require.LessOrEqual(t, m.count(), maxHeaders)
	}
	require.Equal(t, maxHeaders, most)
}

// What is remembered does not change under those who read it.
func TestTheHeadersThatAReaderHasStayWhatTheyAre(t *testing.T) {
	var m headers
	m.put("a", header{})
	before := m.known.Load()
	m.put("b", header{})
	require.Len(t, *before, 1)
	require.Equal(t, 2, m.count())
}

func TestOnlyTheHeaderOfATokenThatVerifiedIsRemembered(t *testing.T) {
	secret := []byte("a secret that no test has to keep to itself")
	key, err := jwks.NewSecret("k", "HS256", secret)
	require.NoError(t, err)
	set, err := jwks.NewSet(key)
	require.NoError(t, err)
	now := time.Unix(1_700_000_000, 0)
	v, err := New(Config{
		Issuer: "i", Audience: []string{"a"}, Keys: set, Algorithms: []string{"HS256"}, Now: func() time.Time { return now },
	})
	require.NoError(t, err)
	token := func(secret []byte, header string, exp time.Time) string {
		input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." +
			base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"iss":"i","aud":"a","exp":%d}`, exp.Unix()))
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	for name, junk := range map[string]string{
		"forged":  token([]byte("some other secret of somebody else's"), `{"alg":"HS256","kid":"k"}`, now.Add(time.Minute)),
		"expired": token(secret, `{"alg":"HS256","kid":"k"}`, now.Add(-time.Hour)),
		"unknown": token(secret, `{"alg":"HS256","kid":"other"}`, now.Add(time.Minute)),
	} {
		_, err := v.Verify(t.Context(), junk)
		require.Error(t, err, name)
		require.Zero(t, v.headers.count(), name)
	}
	_, err = v.Verify(t.Context(), token(secret, `{"alg":"HS256","kid":"k"}`, now.Add(time.Minute)))
	require.NoError(t, err)
	require.Equal(t, 1, v.headers.count())
}

// A Verifier looks for a token by what a stranger cannot make like another's
// but by copying it, and no two Verifiers look in the same place.
func TestATagTellsForgeriesFromTheirModel(t *testing.T) {
	verifier := func() *Verifier {
		v, err := New(Config{Issuer: "i", Audience: []string{"a"}, Keys: new(jwks.Set)})
		require.NoError(t, err)
		return v
	}
	v := verifier()
	tag := func(v *Verifier, token string) cache.Tag {
		c, err := split(token)
		require.Nil(t, err)
		return v.tokens.tag(c)
	}
	const header, payload, end = "aGVhZGVy", "cGF5bG9hZA", "0123456789abcdef"
	good := tag(v, header+"."+payload+"."+"start-of-the-signature"+end)
	require.Equal(t, good, tag(v, header+"."+payload+"."+"start-of-the-signature"+end))
	require.NotEqual(t, good, tag(v, "aGVhZGVz."+payload+"."+"start-of-the-signature"+end))
	for i := range end {
		other := []byte(end)
		other[i]++
		require.NotEqual(t, good, tag(v, header+"."+payload+"."+"start-of-the-signature"+string(other)), "character %d", i)
	}
	require.NotEqual(t, good, tag(verifier(), header+"."+payload+"."+"start-of-the-signature"+end))
	tag(v, header+"."+payload+".short")
	tag(v, "..A")
}

// A token in memory is one that a crash dump gives away, and the next use of a scratch
// may be far.
func TestNoTokenStaysInAScratch(t *testing.T) {
	s := &scratch{}
	fresh := scratches.New
	scratches = sync.Pool{New: func() any { return s }}
	defer func() { scratches = sync.Pool{New: fresh} }()
	key, err := jwks.NewSecret("k", "HS256", []byte("a secret that no test has to keep to itself"))
	require.NoError(t, err)
	set, err := jwks.NewSet(key)
	require.NoError(t, err)
	v, err := New(Config{Issuer: "i", Audience: []string{"a"}, Keys: set, Algorithms: []string{"HS256"}})
	require.NoError(t, err)
	input := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"at+jwt"}`)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"i","aud":"a","exp":4000000000}`))
	mac := hmac.New(sha256.New, []byte("a secret that no test has to keep to itself"))
	mac.Write([]byte(input))
	good := input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	head, payload, _ := strings.Cut(input, ".")
	for _, token := range []string{
		good, good, input + ".AAAA", input + ".", "e30" + good[len(head):], good + "=", good + "\n",
		head + "." + payload + "!." + "AAAA", head + "." + payload + "=." + "AAAA", head + "!." + payload + ".AAAA", head + "=." + payload + ".AAAA",
		head + "." + payload + strings.Repeat("A", 2*len(good)) + "!.AAAA",
	} {
		_, _ = v.Verify(t.Context(), token)
		for _, room := range [][]byte{s.copied, s.decoded} {
			require.Empty(t, room)
			room = room[:cap(room)]
			require.Equal(t, make([]byte, len(room)), room, "%q", token)
		}
		require.Equal(t, tokenRoom{}, s.room)
	}
	require.EqualValues(t, 1, v.Status().Cache.Hits)
	for _, text := range []string{"long text", "text"} {
		s.bytes(text)
	}
	require.Equal(t, "text\x00", string(s.copied[:5]))
}

func TestAScratchDoesNotGrowWithTheNumberOfTokens(t *testing.T) {
	s := new(scratch)
	token := "e30.e30." + strings.Repeat("A", maxToken-16)
	for range 100 {
		c, err := split(token)
		require.Nil(t, err)
		for _, segment := range []string{c.header, c.payload, c.signature} {
			_, err := s.decode(segment, "a segment")
			require.Nil(t, err)
		}
		s.bytes(c.token)
		s.empty()
		require.LessOrEqual(t, cap(s.copied)+cap(s.decoded), 4*maxToken)
	}
}
