package introspect_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/introspect"
)

// Whatever bytes an endpoint answers with, a token is taken only if they say that it is
// active and for this API, by another reader than ours; and every error has a reason,
// and holds nothing of the answer's.
func FuzzAnswer(f *testing.F) {
	ok := fmt.Sprintf(`{"active":true,"iss":"https://issuer.example","aud":%q,"exp":%d,"scope":"a b"}`, audience, time.Now().Add(time.Hour).Unix())
	for _, text := range []string{
		ok, ok + ok, strings.ToUpper(ok), ok[:20], `{"active":false}`, `{"active":"true"}`, `{}`, `[]`, ``, `null`, "\xff",
		`{"active":true,"active":false}`, `{"active":true,"aud":["x"]}`, `{"active":true,"aud":"https:\/\/api.example.com"}`,
		`{"active":true,"aud":"https://api.example.com","exp":1e300}`, `{"active":true,"aud":"https://api.example.com","nbf":-1}`,
		`{"\u0061ctive":true,"aud":"https://api.example.com","token_type":"DPoP"}`,
		`{"active":true,"aud":"https://api.example.com","realm":{"roles":["a",{}]}}`,
		"eyJhbGciOiJFUzI1NiIsInR5cCI6InRva2VuLWludHJvc3BlY3Rpb24rand0In0.e30.AAAA", "..", "a.b.c",
	} {
		f.Add([]byte(text), false)
		f.Add([]byte(text), true)
	}
	var answer atomic.Pointer[[]byte]
	var mediaType atomic.Value
	start := func(signed bool) *introspect.Introspector {
		c := inMemory(func(*http.Request) (*http.Response, error) {
			return &http.Response{
				StatusCode: 200, Header: http.Header{"Content-Type": {mediaType.Load().(string)}}, Body: io.NopCloser(strings.NewReader(string(*answer.Load()))),
			}, nil
		})
		c.Roles = [][]string{{"realm", "roles"}}
		if c.Signed = signed; signed {
			c.Keys = noKeys{}
		}
		i, err := introspect.New(c)
		require.NoError(f, err)
		f.Cleanup(func() { _ = i.Close() })
		return i
	}
	plain, signed := start(false), start(true)
	n := 0
	f.Fuzz(func(t *testing.T, text []byte, jwt bool) {
		i := plain
		mediaType.Store("application/json")
		if jwt {
			i = signed
			mediaType.Store(signedType)
		}
		answer.Store(&text)
		n++
		token, err := i.Verify(t.Context(), fmt.Sprintf("opaque-%d", n))
		if err != nil {
			require.Nil(t, token)
			require.True(t, errors.Is(err, jwtverify.ErrInvalidToken) || errors.Is(err, jwtverify.ErrUnavailable))
			require.Regexp(t, `\A[\x20-\x7e…]*\z`, err.Error())
			require.Less(t, len(err.Error()), 500)
			return
		}
		require.False(t, jwt, "no key has signed it")
		var read map[string]any
		require.NoError(t, json.Unmarshal(text, &read))
		require.Equal(t, true, read["active"])
		aud, _ := read["aud"].([]any)
		require.True(t, read["aud"] == audience || slices.Contains(aud, any(audience)))
		if iss, there := read["iss"]; there {
			require.Equal(t, "https://issuer.example", iss)
		}
		if kind, there := read["token_type"]; there {
			require.True(t, strings.EqualFold(kind.(string), "Bearer"))
		}
		require.Equal(t, "https://issuer.example", token.Issuer)
		require.True(t, token.ValidUntil.After(time.Now()))
		require.False(t, token.NotBefore.After(time.Now().Add(time.Minute)))
	})
}

// A token that our own reader takes for no JWT is one whose first segment no careless
// reader takes for a header either.
func FuzzHybrid(f *testing.F) {
	for _, token := range []string{"eyJhbGciOiJFUzI1NiJ9.e30.AA", "a.b.c", "eyJhbGciOiJFUzI1NiJ9==.x", "e30.e30.e30", "eyJBbGciOjF9.a.b"} {
		f.Add(token)
	}
	refuse := verifierFunc(func() (*jwtverify.Token, error) { return nil, jwtverify.ErrSignature })
	accept := verifierFunc(func() (*jwtverify.Token, error) { return &jwtverify.Token{}, nil })
	h, err := introspect.NewHybrid(introspect.HybridConfig{JWT: refuse, Opaque: accept})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := h.Verify(t.Context(), token); err != nil {
			require.True(t, errors.Is(err, jwtverify.ErrSignature) || errors.Is(err, jwtverify.ErrMalformed))
			return
		}
		segment, _, dotted := strings.Cut(token, ".")
		require.False(t, dotted && readsAsHeader(segment), "%q", token)
	})
}

// readsAsHeader reads as Go's own decoders do, which take alg in any case.
func readsAsHeader(segment string) bool {
	for _, letters := range []*base64.Encoding{base64.RawURLEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.StdEncoding} {
		text, err := letters.DecodeString(segment)
		var header struct{ Alg *json.RawMessage }
		if err == nil && json.Unmarshal(text, &header) == nil && header.Alg != nil {
			return true
		}
	}
	return false
}
