// Package fetch makes one bounded, safe HTTP exchange with an issuer: in size,
// time, redirects, and in where it connects to.
package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
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
	maxIdle        = 64
)

// Options say how to reach the issuer.
type Options struct {
	HTTP         *http.Client // nil: a client of our own; else its Transport is used and nothing else of it
	TLS          *tls.Config  // for our own client
	InsecureHTTP bool         // plain http to any host, not only loopback
	KeepAlive    bool         // our own client keeps connections for the next exchange
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
		MaxResponseHeaderBytes: maxHeaderBytes,
		// Where minutes lie between exchanges an idle connection would only cost
		// memory, and hide where a name leads by now.
		DisableKeepAlives: !o.KeepAlive,
		// Used where connections are kept: no more than there are exchanges at once.
		MaxIdleConnsPerHost: maxIdle,
		IdleConnTimeout:     30 * time.Second,
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

// ConnectError is an exchange for which there was no connection, with TLS where there is
// any: nobody has seen the request. Of a caller's transport that is known only where it
// reports a TLS handshake that failed, as net/http's does.
type ConnectError struct{ cause error }

// Error says why there was none.
func (e *ConnectError) Error() string { return e.cause.Error() }

// Unwrap returns that.
func (e *ConnectError) Unwrap() error { return e.cause }

// ErrTooLarge says that a body is larger than MaxBody.
var ErrTooLarge = fmt.Errorf("its body is larger than %d KiB", MaxBody>>10)

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

// Validators are what an answer can be asked about again (RFC 9110 §8.8).
type Validators struct{ ETag, LastModified string }

// Request says what to fetch.
type Request struct {
	URL    string
	Known  Validators // of the answer at hand; zero: none is
	Within Reach      // where the connection may lead; zero: see New
}

// Response is an answer with status 200, or 304 to a Request with validators.
type Response struct {
	NotModified bool
	Body        []byte
	Header      http.Header
	Validators  Validators
	Reach       Reach // of the connection; zero where the caller's transport made it
}

// Get fetches one document.
func (c *Client) Get(ctx context.Context, r Request) (*Response, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	req, err := c.request(http.MethodGet, r.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	conditional := r.Known != Validators{}
	if r.Known.ETag != "" {
		req.Header.Set("If-None-Match", r.Known.ETag)
	}
	if r.Known.LastModified != "" {
		req.Header.Set("If-Modified-Since", r.Known.LastModified)
	}
	// Validators are those of this very URL (RFC 9110 §8.8), wherever it leads.
	redirected, client := false, c.http
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		redirected = true
		next.Header.Del("If-None-Match")
		next.Header.Del("If-Modified-Since")
		return c.checkRedirect(next, via)
	}
	res, reach, err := c.send(ctx, &client, req, r.Within)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	response := &Response{Header: res.Header, Reach: reach}
	if !redirected {
		response.Validators = validators(res.Header)
	}
	if conditional && !redirected && res.StatusCode == http.StatusNotModified {
		response.NotModified = true
		return response, nil
	}
	response.Body, err = readBody(res)
	if err != nil {
		return nil, err
	}
	return response, nil
}

// Form says what to post. It carries credentials.
type Form struct {
	URL            string
	Values         url.Values // the body, form-encoded
	User, Password string     // for HTTP's Basic scheme, as they are to be sent; "": none
	Accept         string     // the media types to ask for
	Within         Reach      // where the connection may lead; zero: see New
}

// Post sends a form and reads the answer, within the bounds of [Client.Get]. It
// follows no redirect, which would take credentials to where nobody sent them: one
// is a [StatusError]. The exchange may be repeated where a kept connection turns out
// to be closed, so it must be one that changes nothing.
func (c *Client) Post(ctx context.Context, f Form) (*Response, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	req, err := c.request(http.MethodPost, f.URL, strings.NewReader(f.Values.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", f.Accept)
	req.Header["Idempotency-Key"] = []string{} // tells net/http so, and is not sent
	if f.User != "" {
		req.SetBasicAuth(f.User, f.Password)
	}
	client := c.http
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, reach, err := c.send(ctx, &client, req, f.Within)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := readBody(res)
	if err != nil {
		return nil, err
	}
	return &Response{Body: body, Header: res.Header, Reach: reach}, nil
}

func (c *Client) request(method, rawURL string, body io.Reader) (*http.Request, error) {
	if err := c.CheckURL(rawURL); err != nil {
		return nil, err
	}
	req, err := http.NewRequest(method, rawURL, body)
	if err != nil {
		return nil, errors.New("it is not a URL")
	}
	return req, nil
}

// send makes the exchange as far as the header of the answer, and notes the reach of
// the connection.
func (c *Client) send(ctx context.Context, client *http.Client, req *http.Request, within Reach) (_ *http.Response, reach Reach, _ error) {
	// A caller's transport may report from any goroutine, or nothing at all.
	var connected, insecure atomic.Bool
	trace := &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err != nil {
				insecure.Store(true)
			}
		},
	}
	switch {
	case c.own == nil:
	case c.proxied(req):
		// The proxy may be anywhere. What the document names must not lead from
		// it to the inside, should no proxy make that connection.
		reach = Public
	default:
		ctx = context.WithValue(ctx, withinKey{}, within)
		trace.GotConn = func(info httptrace.GotConnInfo) {
			connected.Store(true)
			reach = reachOf(info.Conn.RemoteAddr())
		}
	}
	res, err := client.Do(req.WithContext(httptrace.WithClientTrace(ctx, trace)))
	if err != nil {
		// A url.Error quotes where the server redirects to, credentials and all.
		if outer, ok := errors.AsType[*url.Error](err); ok {
			err = outer.Err
		}
		if !connected.Load() && (c.own != nil || insecure.Load()) {
			err = &ConnectError{err}
		}
		return nil, 0, err
	}
	return res, reach, nil
}

// readBody reads the body of an answer with status 200.
func readBody(res *http.Response) ([]byte, error) {
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
		return nil, ErrTooLarge
	}
	return body, nil
}

// validators reads the fields that are to be sent back as they came; one too
// long for that is none. Nor is a Last-Modified of the very second in which the
// answer was made: a later change may bear the same (RFC 9110 §8.8.2.2).
func validators(h http.Header) (v Validators) {
	const most = 256
	if tag := h.Get("ETag"); len(tag) <= most {
		v.ETag = tag
	}
	changed := h.Get("Last-Modified")
	at, err := http.ParseTime(changed)
	made, e := http.ParseTime(h.Get("Date"))
	if err == nil && e == nil && len(changed) <= most && at.Before(made) {
		v.LastModified = changed
	}
	return v
}
