package fetch

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

const child = "BEARERGUARD_TEST_CHILD"

// net/http reads the environment's proxies once in a process, so what follows
// runs in one of its own: the test binary once more.
func TestThroughAProxyNamesAreTheProxysToResolve(t *testing.T) {
	if os.Getenv(child) != "" {
		askThroughProxy(t)
		return
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "by proxy: "+r.RequestURI)
	}))
	defer proxy.Close()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), child+"=1", "HTTP_PROXY="+proxy.URL, "NO_PROXY=direct.example", "no_proxy=")
	out, err := c.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "--- PASS: "+t.Name())
}

func askThroughProxy(t *testing.T) {
	c := New(Options{InsecureHTTP: true})
	defer c.Close()
	// The proxy is at a loopback address; that is no business of any of these.
	for within := range Loopback + 1 {
		for _, host := range []string{"issuer.invalid", "10.0.0.1", "169.254.169.254"} {
			url := "http://" + host + "/keys"
			require.True(t, c.Proxied(url))
			res, err := c.Get(t.Context(), Request{URL: url, Within: within})
			require.NoError(t, err)
			require.Equal(t, "by proxy: "+url, string(res.Body))
			require.Equal(t, Public, res.Reach, "what it names must not lead past the proxy to the inside")
		}
	}
	resolveTo(t, [4]byte{10, 0, 0, 1})
	require.False(t, c.Proxied("http://direct.example/"))
	_, err := c.Get(t.Context(), Request{URL: "http://direct.example/", Within: Public})
	require.ErrorContains(t, err, "it leads from a public address to a private one", "without the proxy the check is made")

	url, _ := listen(t, netip.MustParseAddr("127.0.0.1"), ok)
	require.False(t, c.Proxied(url), "loopback never is")
	_, err = c.Get(t.Context(), Request{URL: url, Within: Public})
	require.ErrorContains(t, err, "to a loopback one")
	res, err := c.Get(t.Context(), Request{URL: url})
	require.NoError(t, err)
	require.Equal(t, Loopback, res.Reach)

	theirs := New(Options{HTTP: &http.Client{}, InsecureHTTP: true})
	require.False(t, theirs.Proxied("http://issuer.invalid/"), "of a caller's transport nothing is known")
}
