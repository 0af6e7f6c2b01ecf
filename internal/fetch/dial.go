package fetch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
)

// dial connects where a name may lead.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	within, _ := ctx.Value(withinKey{}).(Reach)
	d := net.Dialer{Timeout: Timeout, Control: control(host, within)}
	return d.DialContext(ctx, network, address)
}

// control makes the check on the address about to be connected to, after the
// name was resolved: checking the name first and connecting later is what DNS
// rebinding lives on. An address that the operator wrote out is theirs to
// choose, and needs no check; one that a document named stays within the reach
// of the connection that the document came by.
func control(host string, within Reach) func(network, resolved string, _ syscall.RawConn) error {
	_, err := netip.ParseAddr(host)
	literal := err == nil
	if literal && within == 0 {
		return nil
	}
	return func(_, resolved string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(resolved)
		if err != nil {
			return err
		}
		addr := ap.Addr().Unmap()
		if forbidden(addr) || host == "localhost" && !addr.IsLoopback() {
			return errForbidden
		}
		if within != 0 && reach(addr) != within {
			return fmt.Errorf("it leads from a %s address to a %s one", within, reach(addr))
		}
		return nil
	}
}

var errForbidden = errors.New("it leads to an address that neither names nor documents may lead to")

// Cloud providers hand out credentials on these addresses and on link-local
// ones.
var metadata = []netip.Prefix{
	netip.MustParsePrefix("fd00:ec2::/32"),      // AWS
	netip.MustParsePrefix("fd20:ce::254/128"),   // Google Cloud
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba Cloud
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure
}

func forbidden(a netip.Addr) bool {
	a = a.WithZone("")
	for _, m := range metadata {
		if m.Contains(a) {
			return true
		}
	}
	return a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// Reach is the class of an address: who can be reached there.
type Reach int

// The classes of addresses.
const (
	Public Reach = iota + 1
	Private
	Loopback
)

// String names the class.
func (r Reach) String() string {
	return [...]string{"unknown", "public", "private", "loopback"}[r]
}

type withinKey struct{}

// shared is the address space of carriers and clouds (RFC 6598), which no
// stranger can reach either.
var shared = netip.MustParsePrefix("100.64.0.0/10")

func reach(a netip.Addr) Reach {
	switch a = a.Unmap(); {
	case a.IsLoopback():
		return Loopback
	case a.IsPrivate(), a.IsLinkLocalUnicast(), shared.Contains(a):
		return Private
	}
	return Public
}

func reachOf(remote net.Addr) Reach {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return 0
	}
	return reach(tcp.AddrPort().Addr())
}

// proxied reports whether a proxy of the environment makes the connection. It
// then resolves names too, out of the reach of any check here.
func (c *Client) proxied(r *http.Request) bool {
	proxy, err := c.own.Proxy(r)
	return err == nil && proxy != nil
}

// Proxied reports whether a URL is fetched by way of a proxy of the environment.
func (c *Client) Proxied(rawURL string) bool {
	if c.own == nil {
		return false
	}
	r, err := http.NewRequest(http.MethodGet, rawURL, nil)
	return err == nil && c.proxied(r)
}
