package introspect

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
)

type answers string

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {plainAnswer}}, Body: io.NopCloser(strings.NewReader(string(a)))}, nil
}

// What is kept is found by its hash alone: a token in memory is one that a crash dump
// gives away.
func TestNoTokenIsKept(t *testing.T) {
	const token = "opaque-token"
	for _, answer := range []string{`{"active":true,"aud":"api"}`, `{"active":false}`, `{"active":7}`} {
		i, err := New(Config{
			Issuer: "https://issuer.example", Endpoint: "https://issuer.example/introspect", Audience: []string{"api"},
			ClientID: "id", ClientSecret: "secret", Client: &http.Client{Transport: answers(answer)}, Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		_, err = i.Verify(t.Context(), token)
		if err != nil {
			require.NotEqual(t, jwtverify.ErrMalformed, jwtverify.ReasonOf(err))
		}
		sum := sumOf(token)
		v, known := i.recall(&sum, time.Now())
		require.True(t, known)
		require.NotContains(t, fmt.Sprintf("%+v %+v %+v", v, v.token, v.err), token)
		require.Zero(t, i.waiting.Load())
		require.Zero(t, i.flying.Load())
		require.NoError(t, i.Close())
		_, known = i.recall(&sum, time.Now())
		require.False(t, known)
	}
}
