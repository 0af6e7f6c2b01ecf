package jwks

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/internal/fetch"
)

const oneKey = `{"keys":[{"kid":"a","kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`

// host is an issuer at one address, with its keys at /keys.
type host struct {
	url  string
	link atomic.Value // the jwks_uri of its metadata
}

func newHost(t *testing.T, at string) *host {
	l, err := net.Listen("tcp", net.JoinHostPort(at, "0"))
	require.NoError(t, err)
	h := &host{}
	mux := http.NewServeMux()
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, oneKey) })
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, h.url, h.link.Load())
	})
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: mux}}
	s.Start()
	t.Cleanup(s.Close)
	h.url = s.URL
	h.link.Store(h.url + "/keys")
	return h
}

func (h *host) cache(t *testing.T) *Cache {
	c, err := New(Config{Issuer: h.url, InsecureHTTP: true, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// hosts are one for each of this machine's addresses, on loopback at least.
func hosts(t *testing.T) (all []*host) {
	found, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range found {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
			all = append(all, newHost(t, n.IP.String()))
		}
	}
	require.NotEmpty(t, all)
	return all
}

// class is of the connection to a host, as the client of a Cache has it.
func class(t *testing.T, h *host) fetch.Reach {
	client := fetch.New(fetch.Options{InsecureHTTP: true})
	defer client.Close()
	res, err := client.Get(t.Context(), fetch.Request{URL: h.url + "/keys"})
	require.NoError(t, err)
	require.NotZero(t, res.Reach)
	return res.Reach
}

func TestAJWKSURIThatMetadataNamesIsInTheClassOfTheMetadata(t *testing.T) {
	all := hosts(t)
	for _, issuer := range all {
		for _, keys := range all {
			issuer.link.Store(keys.url + "/keys")
			c := issuer.cache(t)
			err := c.Refresh(t.Context())
			from, to := class(t, issuer), class(t, keys)
			if from == to {
				require.NoError(t, err)
				continue
			}
			require.ErrorIs(t, err, ErrUnavailable)
			require.ErrorContains(t, err, fmt.Sprintf("it leads from a %s address to a %s one", from, to))

			// What the operator wrote may be anywhere.
			fixed, err := New(Config{URL: keys.url + "/keys", InsecureHTTP: true, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			require.NoError(t, fixed.Refresh(t.Context()))
			require.NoError(t, fixed.Close())
		}
	}
}

func TestMetadataOnLoopbackLeadsNowhereElse(t *testing.T) {
	issuer := newHost(t, "127.0.0.1")
	for address, fault := range map[string]string{
		"10.0.0.1":                 "to a private one",
		"172.16.0.1":               "to a private one",
		"192.168.0.1":              "to a private one",
		"100.64.0.1":               "to a private one",
		"[fd00::1]":                "to a private one",
		"[::ffff:10.0.0.1]":        "to a private one",
		"192.0.2.1":                "to a public one",
		"[2001:db8::1]":            "to a public one",
		"169.254.169.254":          "neither names nor documents",
		"[fe80::1]":                "neither names nor documents",
		"[fd00:ec2::254]":          "neither names nor documents",
		"100.100.100.200":          "neither names nor documents",
		"168.63.129.16":            "neither names nor documents",
		"0.0.0.0":                  "neither names nor documents",
		"[::ffff:169.254.169.254]": "neither names nor documents",
	} {
		for _, scheme := range []string{"http", "https"} {
			issuer.link.Store(scheme + "://" + address + "/keys")
			require.ErrorContains(t, issuer.cache(t).Refresh(t.Context()), fault, address)
		}
	}
}

func TestTheClassHoldsForLaterFetchesAndIsLearntAnewWithTheMetadata(t *testing.T) {
	issuer := newHost(t, "127.0.0.1")
	c := issuer.cache(t)
	require.NoError(t, c.Refresh(t.Context()))
	for _, other := range []fetch.Reach{fetch.Public, fetch.Private} {
		c.mu.Lock()
		learnt := c.reach
		c.reach = other // as if the metadata had come from there
		c.mu.Unlock()
		require.Equal(t, fetch.Loopback, learnt)
		require.ErrorContains(t, c.Refresh(t.Context()), "to a loopback one")
		require.NoError(t, c.Refresh(t.Context()), "after a failure the metadata is read anew")
	}
}

// net/http reads the environment's proxies once in a process, so what follows
// runs in one of its own: the test binary once more.
func TestThroughAProxyNewSaysThatItDoesNotCheckWhereNamesLead(t *testing.T) {
	const child, told = "BEARERGUARD_TEST_CHILD", "keys are fetched through a proxy"
	if port := os.Getenv(child); port != "" {
		var log bytes.Buffer
		fetchVia := func(c Config) error {
			log.Reset()
			c.InsecureHTTP, c.Logger = true, slog.New(slog.NewTextHandler(&log, nil))
			cache, err := New(c)
			require.NoError(t, err)
			err = cache.Refresh(t.Context())
			require.NoError(t, cache.Close())
			return err
		}
		require.NoError(t, fetchVia(Config{URL: "http://keys.invalid/keys"}))
		require.Equal(t, 1, strings.Count(log.String(), told))
		require.NoError(t, fetchVia(Config{Issuer: "http://private.invalid"}), "the proxy knows where that is")
		require.Equal(t, 1, strings.Count(log.String(), told))
		require.Contains(t, log.String(), "level=INFO")

		require.ErrorContains(t, fetchVia(Config{Issuer: "http://loopback.invalid"}), "to a loopback one", "past the proxy")
		require.NoError(t, fetchVia(Config{URL: "http://127.0.0.1:" + port + "/keys"}))
		require.NotContains(t, log.String(), told, "loopback is never proxied")
		require.NoError(t, fetchVia(Config{URL: "http://keys.invalid/keys", Client: &http.Client{}}))
		require.NotContains(t, log.String(), told, "it is the caller's transport")
		return
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/.well-known/") {
			fmt.Fprint(w, oneKey)
			return
		}
		link := "http://10.0.0.1/keys"
		if r.Host == "loopback.invalid" {
			link = "http://" + r.Context().Value(http.LocalAddrContextKey).(net.Addr).String() + "/keys"
		}
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, "http://"+r.Host, link)
	}))
	defer proxy.Close()
	_, port, err := net.SplitHostPort(proxy.Listener.Addr().String())
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), child+"="+port, "HTTP_PROXY="+proxy.URL, "NO_PROXY=", "no_proxy=")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "--- PASS: "+t.Name())
}
