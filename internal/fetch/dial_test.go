package fetch

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestANameLeadsToNoLinkLocalAndNoMetadataAddress(t *testing.T) {
	for _, address := range []string{
		"169.254.169.254:80",
		"169.254.170.2:80",
		"169.254.0.0:443",
		"100.100.100.200:80",
		"168.63.129.16:80",
		"0.0.0.0:80",
		"255.255.255.255:80",
		"224.0.0.1:80",
		"[fe80::1]:443",
		"[fe80::1%eth0]:443",
		"[fd00:ec2::254]:80",
		"[fd00:ec2::23]:80",
		"[fd00:ec2::254%eth0]:80",
		"[fd20:ce::254]:80",
		"[ff02::1]:443",
		"[::]:443",
		"[::ffff:169.254.169.254]:80",
		"[::ffff:a9fe:a9fe]:80",
		"[::ffff:168.63.129.16]:80",
		"[::ffff:0.0.0.0]:80",
		"no address",
	} {
		require.Error(t, control("issuer.example", 0)("tcp", address, nil), address)
		require.Error(t, control("localhost", 0)("tcp", address, nil), address)
	}
	for _, address := range []string{
		"192.0.2.1:443",
		"10.0.0.1:443", // an issuer within a private network is a usual thing
		"172.16.0.1:443",
		"192.168.0.1:443",
		"100.64.0.1:443",
		"100.100.100.201:443",
		"169.253.255.255:443",
		"[2001:db8::1]:443",
		"[fd00::1]:443",
		"[::ffff:192.0.2.1]:443",
	} {
		require.NoError(t, control("issuer.example", 0)("tcp", address, nil), address)
		require.Error(t, control("localhost", 0)("tcp", address, nil), "localhost is loopback only: %s", address)
	}
	for _, address := range []string{"127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"} {
		require.NoError(t, control("issuer.example", 0)("tcp", address, nil), address)
		require.NoError(t, control("localhost", 0)("tcp", address, nil), address)
	}
	require.Nil(t, control("169.254.169.254", 0), "an address in a Config is the operator's choice")
	require.Nil(t, control("fe80::1%eth0", 0), "an address in a Config is the operator's choice")
	require.NotNil(t, control("2852039166", 0), "what only a resolver takes for an address is a name")
}

// The check is worth nothing unless it is made on the address that the name
// was resolved to for this very connection.
func TestTheAddressIsCheckedAfterTheNameWasResolved(t *testing.T) {
	resolveTo(t, [4]byte{169, 254, 169, 254})
	c := New(Options{InsecureHTTP: true})
	defer c.Close()
	_, err := c.Get(t.Context(), Request{URL: "http://rebound.example/"})
	require.ErrorIs(t, err, errForbidden)

	resolveTo(t, [4]byte{127, 0, 0, 1})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.URL, "http://"))
	require.NoError(t, err)
	_, err = c.Get(t.Context(), Request{URL: "http://rebound.example:" + port})
	require.NoError(t, err, "the same name is fine where it leads to another address")
}

// resolveTo makes a DNS server of our own answer for every name.
func resolveTo(t *testing.T, address [4]byte) { resolveFirst(t, address) }

// resolveFirst does so with one address after the other, and with the last one
// from then on.
func resolveFirst(t *testing.T, addresses ...[4]byte) {
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		query := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(query)
			if err != nil {
				return
			}
			answer, isA := dnsAnswer(query[:n], addresses[0])
			if isA && len(addresses) > 1 {
				addresses = addresses[1:]
			}
			_, _ = server.WriteTo(answer, from)
		}
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp4", server.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		_ = server.Close()
		<-ended
	})
}

// dnsAnswer is a message as RFC 1035 §4.1 has it: the question once more, and
// one A record if that is what was asked for.
func dnsAnswer(query []byte, address [4]byte) (answer []byte, isA bool) {
	const header = 12
	end := header
	for query[end] != 0 {
		end += 1 + int(query[end])
	}
	end += 5 // the root label, type, class
	isA = query[end-3] == 1
	out := append([]byte{}, query[:end]...)
	copy(out[2:header], []byte{0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	if isA {
		out[7] = 1
		out = append(out, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		out = append(out, address[:]...)
	}
	return out, isA
}
