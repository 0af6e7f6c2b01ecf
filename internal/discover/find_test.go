package discover

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/internal/fetch"
)

// issuer serves both places of the metadata, and lists the paths that were asked for.
func issuer(t *testing.T, answer func(http.ResponseWriter, *http.Request)) (at string, asked *[]string) {
	asked = new([]string)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.Path)
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

// What is found stands in the log and in Status.
func TestAnEndpointIsNoLongerThan2048Bytes(t *testing.T) {
	for length, fits := range map[int]bool{maxURI: true, maxURI + 1: false} {
		link := ""
		at, _ := issuer(t, func(w http.ResponseWriter, r *http.Request) {
			link = "http://" + r.Host + "/"
			link += strings.Repeat("x", length-len(link))
			_, _ = fmt.Fprintf(w, `{"issuer":"http://%s","jwks_uri":%q}`, r.Host, link)
		})
		client := fetch.New(fetch.Options{})
		t.Cleanup(client.Close)
		uri, reach, err := Find(t.Context(), client, at, "jwks_uri")
		if !fits {
			require.ErrorContains(t, err, "its jwks_uri is longer than 2048 bytes")
			require.Empty(t, uri)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, link, uri)
		require.Equal(t, fetch.Loopback, reach)
	}
}

// A server that asks for a pause gets it at once, and is not asked for the other document.
func TestAPauseThatTheFirstPlaceAsksForIsTheOthersToo(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		pause  string
		want   time.Duration
		asked  []string
	}{
		"a pause":      {503, "20", 20 * time.Second, []string{"/.well-known/openid-configuration"}},
		"none":         {503, "", 0, []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"}},
		"not found":    {404, "20", 0, []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"}},
		"too many ask": {429, "7", 7 * time.Second, []string{"/.well-known/openid-configuration"}},
	} {
		t.Run(name, func(t *testing.T) {
			at, asked := issuer(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", c.pause)
				w.WriteHeader(c.status)
			})
			client := fetch.New(fetch.Options{})
			t.Cleanup(client.Close)
			_, _, err := Find(t.Context(), client, at, "jwks_uri")
			require.Error(t, err)
			require.Equal(t, c.want, fetch.RetryAfter(err))
			require.Equal(t, c.asked, *asked)
		})
	}
}
