// Package fetch makes one bounded, safe HTTP exchange with an issuer: in size,
// time, redirects, and in where it connects to.
package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/bearerguard/bearerguard/internal/schedule"
)

const (
	// MaxBody is the largest body that is read, in bytes, after decompression.
	MaxBody = 256 << 10
	// Timeout bounds one exchange, the reading of the body included.
	Timeout = 5 * time.Second

	maxRedirects   = 3
	maxHeaderBytes = 64 << 10
)

// Options say how to reach the issuer.
type Options struct {
	HTTP         *http.Client // nil: a client of our own; else its Transport is used and nothing else of it
	TLS          *tls.Config  // for our own client
	InsecureHTTP bool         // plain http to any host, not only loopback
}

// Client is safe for concurrent use.
type Client struct {
	http     http.Client
	insecure bool
	own      *http.Transport // nil where the transport is the caller's
}

// New makes a Client.
func New(o Options) *Client {
	c := &Client{insecure: o.InsecureHTTP}
	// No jar: cookies would make fetches depend on each other. No Timeout: each
	// exchange has its context.
	c.http.CheckRedirect = c.checkRedirect
	if o.HTTP != nil {
		c.http.Transport = o.HTTP.Transport
		return c
	}
	config := &tls.Config{}
	if o.TLS != nil {
		config = o.TLS.Clone()
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	c.own = &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dial,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    Timeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
	c.http.Transport = c.own
	return c
}

// Close drops idle connections of our own client's.
func (c *Client) Close() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// CheckURL says why a URL must not be fetched, or nil.
func (c *Client) CheckURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("it is not a URL")
	}
	return c.check(u)
}

// CheckLink says why a URL that a document names must not be fetched, or nil. A
// document may lead to another host, but not from https to plain http, and not
// to an address that a name may not lead to.
func (c *Client) CheckLink(document, link string) error {
	if err := c.CheckURL(link); err != nil {
		return err
	}
	from, err := url.Parse(document)
	if err != nil {
		return errors.New("it stands in a document that has no URL")
	}
	to, err := url.Parse(link)
	if err != nil {
		return errors.New("it is not a URL")
	}
	if from.Scheme == "https" && to.Scheme != "https" {
		return errors.New("it is plain http under https")
	}
	if addr, err := netip.ParseAddr(to.Hostname()); err == nil && forbidden(addr.Unmap()) {
		return errForbidden
	}
	return nil
}

func (c *Client) check(u *url.URL) error {
	switch {
	case u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return errors.New("it is not an absolute URL")
	case u.User != nil:
		return errors.New("it holds credentials")
	case u.Fragment != "":
		return errors.New("it has a fragment")
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return errors.New("its scheme is not https")
	case !c.insecure && !loopback(u.Hostname()):
		return errors.New("it is plain http, which is for loopback only; use https")
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// A redirect is followed only within the origin that the operator named: its
// path is the server's business, its host is not.
func (c *Client) checkRedirect(next *http.Request, via []*http.Request) error {
	first := via[0].URL
	if next.URL.Scheme != first.Scheme || next.URL.Host != first.Host {
		return errors.New("it redirects to another origin")
	}
	if len(via) > maxRedirects {
		return errors.New("it redirects too often")
	}
	return c.check(next.URL)
}

// StatusError is an answer other than 200.
type StatusError struct {
	Status     int
	RetryAfter time.Duration // 0 where the server asked for none
}

// Error names the status only: what else the server says is not to be trusted.
func (e *StatusError) Error() string { return fmt.Sprintf("it answered with status %d", e.Status) }

// RetryAfter is the longest time that any answer behind err asked to wait.
func RetryAfter(err error) (longest time.Duration) {
	switch e := err.(type) {
	case *StatusError:
		return e.RetryAfter
	case interface{ Unwrap() error }:
		return RetryAfter(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			longest = max(longest, RetryAfter(err))
		}
	}
	return longest
}

// Response is an answer with status 200.
type Response struct {
	Body   []byte
	Header http.Header
}

// Get fetches one document.
func (c *Client) Get(ctx context.Context, rawURL string) (*Response, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	if err := c.CheckURL(rawURL); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return nil, errors.New("it is not a URL")
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := c.http.Do(req)
	if err != nil {
		// A url.Error quotes where the server redirects to, credentials and all.
		if outer, ok := errors.AsType[*url.Error](err); ok {
			err = outer.Err
		}
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		status := &StatusError{Status: res.StatusCode}
		if res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable {
			status.RetryAfter = schedule.RetryAfter(res.Header, time.Now())
		}
		return nil, status
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("its body could not be read: %w", err)
	}
	if len(body) > MaxBody {
		return nil, fmt.Errorf("its body is larger than %d KiB", MaxBody>>10)
	}
	return &Response{Body: body, Header: res.Header}, nil
}

// dial connects where a name may lead.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: Timeout, Control: control(host)}
	return d.DialContext(ctx, network, address)
}

// control makes the check on the address about to be connected to, after the
// name was resolved: checking the name first and connecting later is what DNS
// rebinding lives on. An address that the operator wrote out is theirs to
// choose, and needs no check.
func control(host string) func(network, resolved string, _ syscall.RawConn) error {
	if _, err := netip.ParseAddr(host); err == nil {
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
