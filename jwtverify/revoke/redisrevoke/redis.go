package redisrevoke

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Redis says where the revocations are kept. A [Publisher] and a [Follower] that are
// to understand each other have the same Namespace in the same Redis.
type Redis struct {
	// URL is where Redis listens: rediss://user:password@host:port, with TLS, or
	// redis:// without. User and password are percent-encoded, and may be left out.
	// Several nodes of one cluster are written host:port,host:port: each can tell
	// the others. Required.
	URL string
	// Credentials are for passwords that change, and are asked for before each
	// attempt to connect, within twice Timeout. They must heed the context: Close
	// waits for them. URL has no user then, and an empty username is Redis's default
	// user. It is called by several goroutines at once. Nil: what URL says.
	Credentials func(context.Context) (username, password string, err error)
	// TLS is for rediss, for a private CA or a client certificate say. It is copied.
	// Nil: the system's roots. InsecureSkipVerify without a verification of your own
	// is a fault.
	TLS *tls.Config
	// InsecureTCP allows redis:// to any host: whoever is on the way can let revoked
	// tokens in, and read the password; for a mesh that encrypts beneath. False:
	// redis:// to loopback only.
	InsecureTCP bool
	// Namespace begins the names of all keys that are used: {Namespace}:entries,
	// {Namespace}:changes and {Namespace}:head. Up to 64 letters, digits, dots,
	// dashes and underscores. Empty: "bearerguard".
	Namespace string
	// Timeout bounds each exchange with Redis, and connecting to it. Zero: 2 seconds.
	Timeout time.Duration
}

// target is a Redis whose URL was read.
type target struct {
	Redis
	addresses          []string
	username, password string
	entries, changes   string // names of keys
	head               string
}

var namespace = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// resolve lists all that is wrong with a Redis. No error shows the URL, which may
// hold a password.
func (r Redis) resolve() (*target, error) {
	t := &target{Redis: r}
	if t.Namespace == "" {
		t.Namespace = "bearerguard"
	}
	if t.Timeout == 0 {
		t.Timeout = 2 * time.Second
	}
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("redisrevoke: Config.Redis."+format, args...))
	}
	scheme, rest, _ := strings.Cut(t.URL, "://")
	switch scheme {
	case "rediss":
		if t.TLS = t.TLS.Clone(); t.TLS == nil {
			t.TLS = &tls.Config{}
		}
		if t.TLS.InsecureSkipVerify && t.TLS.VerifyConnection == nil && t.TLS.VerifyPeerCertificate == nil {
			fault("TLS has InsecureSkipVerify: set RootCAs to the CA of your Redis instead")
		}
	case "redis":
		if t.TLS != nil {
			fault("TLS is set beside a URL that does not use it: write rediss://")
		}
	default:
		fault("URL is not one: write rediss://user:password@host:port")
	}
	if scheme == "redis" || scheme == "rediss" {
		faults = append(faults, t.address(rest)...)
	}
	if t.Credentials != nil && strings.Contains(rest, "@") {
		fault("URL has a user beside Credentials: remove one of them")
	}
	if !namespace.MatchString(t.Namespace) {
		fault("Namespace is %.70q: write up to 64 letters, digits, dots, dashes and underscores", t.Namespace)
	}
	if t.Timeout < 10*time.Millisecond || t.Timeout > time.Minute {
		fault("Timeout is %v: write a duration between 10*time.Millisecond and time.Minute, or 0 for 2s", t.Timeout)
	}
	// The braces make all three one slot of a cluster.
	t.entries, t.changes, t.head = "{"+t.Namespace+"}:entries", "{"+t.Namespace+"}:changes", "{"+t.Namespace+"}:head"
	return t, errors.Join(faults...)
}

// address reads what stands behind the scheme of the URL.
func (t *target) address(rest string) (faults []error) {
	fault := func(text string) { faults = append(faults, errors.New("redisrevoke: Config.Redis.URL "+text)) }
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		username, password, _ := strings.Cut(rest[:at], ":")
		var err1, err2 error
		t.username, err1 = url.PathUnescape(username)
		t.password, err2 = url.PathUnescape(password)
		if err1 != nil || err2 != nil {
			fault("has a user or password that is not percent-encoded: write url.UserPassword(user, password).String()")
		}
		if t.password == "" {
			fault("has a user without a password: write rediss://user:password@host:port")
		}
		rest = rest[at+1:]
	}
	t.addresses = strings.Split(strings.TrimSuffix(rest, "/"), ",")
	for _, address := range t.addresses {
		host, port, err := net.SplitHostPort(address)
		if err != nil || host == "" || port == "" || strings.ContainsAny(address, "/?#") {
			fault("does not end with host:port, or with several that have a comma between: there is no default port, and databases other than 0 are not used")
			break
		}
		if err := t.admit(address); err != nil {
			fault("has " + err.Error())
			break
		}
	}
	return faults
}

// admit refuses an address that may not be spoken to in the clear. A cluster's nodes
// tell addresses too.
func (t *target) admit(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return errors.New("a node without host:port")
	}
	if t.TLS != nil || t.InsecureTCP || host == "localhost" {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() {
		return nil
	}
	return errors.New("redis:// to another machine: write rediss://, or set InsecureTCP if all on the way are trusted")
}

// dial connects. Nothing that the connection gives is larger than it may be.
func (t *target) dial(ctx context.Context, address string) (net.Conn, error) {
	if err := t.admit(address); err != nil {
		return nil, err
	}
	// Of TLS too: the second connection of a session is made in an exchange, whose
	// timeout the client does not hand on.
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if t.TLS != nil {
		config := t.TLS.Clone()
		if config.ServerName == "" {
			config.ServerName, _, _ = net.SplitHostPort(address)
		}
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		conn = secure
	}
	return &guard{Conn: conn}, nil
}
