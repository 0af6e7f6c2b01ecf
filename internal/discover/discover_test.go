package discover

import (
	"encoding/json"
	"net/url"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/internal/fetch"
)

func FuzzMetadata(f *testing.F) {
	const issuer = "https://issuer.example"
	for _, document := range []string{
		`{"issuer":"https://issuer.example","jwks_uri":"https://issuer.example/keys"}`,
		`{"jwks_uri":"https://keys.example:8443/k?v=1","issuer":"https://issuer.example","scopes_supported":["a"]}`,
		`{"issuer":"https:\/\/issuer.example","jwks_uri":"http://127.0.0.1/keys"}`,
		`{"issuer":"https://issuer.example","jwks_uri":"https://169.254.169.254/"}`,
		`{"issuer":"https://other.example","issuer":"https://issuer.example","jwks_uri":"https://issuer.example"}`,
		`{"issuer":null,"jwks_uri":["file:///etc/passwd"]}`,
		`{"issuer":"https://issuer.example","jwks_uri":"//x"}`,
		`[]`, ``,
	} {
		f.Add([]byte(document))
	}
	corpus, err := os.ReadFile("../../jwtverify/testdata/corpus/siblings/scenario.json")
	require.NoError(f, err)
	var file struct {
		Cases []struct {
			Issuers []struct {
				Document string `json:"discovery_body"`
			}
		}
	}
	require.NoError(f, json.Unmarshal(corpus, &file))
	require.NotEmpty(f, file.Cases)
	for _, c := range file.Cases {
		for _, i := range c.Issuers {
			f.Add([]byte(i.Document))
		}
	}

	client := fetch.New(fetch.Options{InsecureHTTP: true})
	f.Fuzz(func(t *testing.T, document []byte) {
		uri, err := read(document, client, issuer, "jwks_uri")
		if err != nil {
			require.Empty(t, uri)
			return
		}
		u, err := url.Parse(uri)
		require.NoError(t, err)
		require.Equal(t, "https", u.Scheme)
		require.NotEmpty(t, u.Hostname())
		require.Nil(t, u.User)
		require.Empty(t, u.Fragment)
		require.True(t, json.Valid(document))
	})
}
