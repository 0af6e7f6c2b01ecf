package fetch

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// classes are addresses of each class.
var classes = map[Reach][]string{
	Public:   {"192.0.2.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1", "::ffff:192.0.2.1"},
	Private:  {"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.255", "fd12:3456::1", "::ffff:10.0.0.1", "::ffff:100.64.0.1"},
	Loopback: {"127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"},
}

func TestALinkStaysInTheClassOfTheConnectionThatItsDocumentCameBy(t *testing.T) {
	for within := range classes {
		for class, addresses := range classes {
			for _, address := range addresses {
				require.Equal(t, class, reach(netip.MustParseAddr(address)), address)
				for _, host := range []string{"keys.example", address} { // a name or a literal
					err := control(host, within)("tcp", net.JoinHostPort(address, "443"), nil)
					if class == within {
						require.NoError(t, err, "%s to %s", within, address)
					} else {
						require.ErrorContains(t, err, "it leads from a "+within.String()+" address to a "+class.String()+" one")
					}
				}
			}
		}
		for _, address := range []string{"169.254.169.254", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "0.0.0.0", "::"} {
			for _, host := range []string{"keys.example", address} {
				require.ErrorIs(t, control(host, within)("tcp", net.JoinHostPort(address, "80"), nil), errForbidden, "%s to %s", within, address)
			}
		}
	}
}

// addresses are those of this machine: of loopback at least.
func addresses(t *testing.T) (all []netip.Addr) {
	t.Helper()
	found, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range found {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok && !forbidden(addr.Unmap()) {
				all = append(all, addr.Unmap())
			}
		}
	}
	require.NotEmpty(t, all)
	return all
}

// listen serves at an address and counts who came.
func listen(t *testing.T, at netip.Addr, handler http.HandlerFunc) (url string, came *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(at, 0).String())
	require.NoError(t, err)
	came = new(atomic.Int32)
	s := &httptest.Server{Listener: l, Config: &http.Server{
		Handler: handler,
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				came.Add(1)
			}
		},
	}}
	s.Start()
	t.Cleanup(s.Close)
	return s.URL, came
}

func ok(http.ResponseWriter, *http.Request) {}

func TestTheClassIsCheckedOnTheConnectionItself(t *testing.T) {
	c := New(Options{InsecureHTTP: true})
	defer c.Close()
	for _, at := range addresses(t) {
		url, came := listen(t, at, ok)
		res, err := c.Get(t.Context(), Request{URL: url})
		require.NoError(t, err, "what the operator wrote may be of any class")
		require.Equal(t, reach(at), res.Reach)
		for within := range classes {
			before := came.Load()
			res, err := c.Get(t.Context(), Request{URL: url, Within: within})
			if within == reach(at) {
				require.NoError(t, err)
				require.Equal(t, within, res.Reach)
				continue
			}
			require.ErrorContains(t, err, "it leads from a "+within.String()+" address")
			require.Equal(t, before, came.Load(), "not even connected")
		}
	}
}

// A name that was of one class when the document was fetched and is of another
// when its link is.
func TestARebindingNameLeadsNoLinkAway(t *testing.T) {
	c := New(Options{InsecureHTTP: true})
	defer c.Close()
	url, came := listen(t, netip.MustParseAddr("127.0.0.1"), ok)
	named := strings.Replace(url, "127.0.0.1", "rebound.example", 1)

	resolveTo(t, [4]byte{127, 0, 0, 1})
	document, err := c.Get(t.Context(), Request{URL: named})
	require.NoError(t, err)
	require.Equal(t, Loopback, document.Reach)
	_, err = c.Get(t.Context(), Request{URL: named, Within: document.Reach})
	require.NoError(t, err)
	require.EqualValues(t, 2, came.Load())

	for _, within := range []Reach{Public, Private} {
		_, err = c.Get(t.Context(), Request{URL: named, Within: within})
		require.ErrorContains(t, err, "to a loopback one")
	}
	require.EqualValues(t, 2, came.Load(), "not even connected")

	for _, elsewhere := range [][4]byte{{10, 0, 0, 1}, {192, 0, 2, 1}, {100, 64, 0, 1}} {
		resolveTo(t, elsewhere)
		_, err = c.Get(t.Context(), Request{URL: named, Within: document.Reach})
		require.ErrorContains(t, err, "it leads from a loopback address to a "+reach(netip.AddrFrom4(elsewhere)).String()+" one")
	}
	resolveTo(t, [4]byte{169, 254, 169, 254})
	_, err = c.Get(t.Context(), Request{URL: named, Within: document.Reach})
	require.ErrorIs(t, err, errForbidden)
}

func TestARedirectOfALinkStaysInItsClassToo(t *testing.T) {
	c := New(Options{InsecureHTTP: true})
	defer c.Close()
	url, came := listen(t, netip.MustParseAddr("127.0.0.1"), func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/there" {
			http.Redirect(w, r, "/there", http.StatusFound)
		}
	})
	named := strings.Replace(url, "127.0.0.1", "rebound.example", 1)
	resolveFirst(t, [4]byte{127, 0, 0, 1}, [4]byte{10, 0, 0, 1})
	_, err := c.Get(t.Context(), Request{URL: named, Within: Loopback})
	require.ErrorContains(t, err, "it leads from a loopback address to a private one")
	require.EqualValues(t, 1, came.Load())
}

func TestTheClassOfACallersConnectionIsNotKnown(t *testing.T) {
	url, _ := listen(t, netip.MustParseAddr("127.0.0.1"), ok)
	c := New(Options{HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}})
	for within := range classes {
		res, err := c.Get(t.Context(), Request{URL: url, Within: within})
		require.NoError(t, err, "where it connects to is the caller's affair")
		require.Zero(t, res.Reach)
	}
}

// Minutes lie between fetches. A connection that is kept would cost memory, and
// go on leading to where a name no longer does.
func TestEachExchangeHasAConnectionOfItsOwn(t *testing.T) {
	url, came := listen(t, netip.MustParseAddr("127.0.0.1"), ok)
	c := New(Options{})
	defer c.Close()
	for n := range 5 {
		_, err := c.Get(t.Context(), Request{URL: url})
		require.NoError(t, err)
		require.EqualValues(t, n+1, came.Load())
	}
}
