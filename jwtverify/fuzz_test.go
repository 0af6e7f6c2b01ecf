package jwtverify_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
)

// Any bytes get a reasoned error or, if they are a token that was seeded, the
// token; nothing else, and no panic.
func FuzzVerify(f *testing.F) {
	accepted := map[string]bool{}
	files, err := filepath.Glob("testdata/corpus/accept-*.json")
	require.NoError(f, err)
	files = append(files, "testdata/corpus/token-structure.json", "testdata/corpus/json-payload.json", "testdata/corpus/dup-header.json")
	var keySet json.RawMessage
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(f, err)
		var family struct {
			Cases []struct {
				Token  string          `json:"token"`
				Expect string          `json:"expect"`
				JWKS   json.RawMessage `json:"jwks"`
				Config struct {
					Type string `json:"require_typ"`
				} `json:"config"`
			} `json:"cases"`
		}
		require.NoError(f, json.Unmarshal(text, &family))
		for _, c := range family.Cases {
			f.Add(c.Token)
			if strings.HasPrefix(filepath.Base(file), "accept-claims") && keySet == nil {
				keySet = c.JWKS
			}
			// A case may refuse for the want of a typ that is not asked for here.
			if c.Expect == "accept" || c.Config.Type != "" {
				accepted[c.Token] = true
			}
		}
	}
	set, err := jwks.Parse(keySet)
	require.NoError(f, err)
	v, err := jwtverify.New(jwtverify.Config{
		Issuer: "https://issuer.example.com", Audience: []string{"https://api.example.com"}, Keys: set,
		Now: func() time.Time { return time.Unix(1767225600, 0) },
	})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, text string) {
		token, err := v.Verify(t.Context(), text)
		if err == nil {
			require.True(t, accepted[text], "a token that nobody signed: %q", text)
			require.NotNil(t, token)
			return
		}
		require.Nil(t, token)
		require.True(t, errors.Is(err, jwtverify.ErrInvalidToken), "%v", err)
		require.NotEmpty(t, jwtverify.ReasonOf(err))
		require.Regexp(t, `\A[\x20-\x7e…]*\z`, err.Error())
		require.Less(t, len(err.Error()), 500)
	})
}
