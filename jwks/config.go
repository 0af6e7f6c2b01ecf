package jwks

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/bearerguard/bearerguard/internal/fetch"
)

// Config says where an issuer's keys are and how fresh they have to be. A zero
// field means its default.
type Config struct {
	// Issuer is the issuer identifier; its keys are found by discovery, in the
	// places of OpenID Connect Discovery §4 and RFC 8414 §3.1, and the document
	// found there must name the identical issuer. Its jwks_uri is kept with the keys,
	// and looked for anew once a day and where fetching keeps failing. Exactly one of
	// Issuer and URL is set.
	Issuer string
	// URL is the issuer's jwks_uri, for when discovery is not wanted.
	URL string

	// Client lends its Transport; its redirect policy, cookie jar and timeout
	// are not used. A Transport of your own has to end with the request's context,
	// or Close waits for it. Nil: a client of our own, which honours the environment's
	// proxies, wants TLS 1.2, and does not let a host name lead to link-local
	// or cloud metadata addresses.
	Client *http.Client
	// TLS is for our own client, for a private CA say. It is copied. Nil: the
	// system's roots. Setting it beside Client is a fault, and so is
	// InsecureSkipVerify without a verification of your own.
	TLS *tls.Config
	// InsecureHTTP allows plain http to any host, which gives whoever is on the
	// way the power to sign tokens; for a mesh that encrypts beneath. False:
	// plain http to loopback only.
	InsecureHTTP bool

	// Refresh is the longest time between background refreshes while they
	// succeed, and so how long a withdrawn key can live. Zero: 10 minutes. A
	// shorter lifetime in the answer's cache headers is obeyed, down to 1 minute
	// or to Refresh, whichever is less; a longer one never is.
	Refresh time.Duration
	// Cooldown is how often an unknown kid may cause a fetch: two at once, then
	// one for each Cooldown. Zero: 30 seconds.
	Cooldown time.Duration
	// MaxStale is how long the last good set outlives refreshes that fail. Zero:
	// 24 hours. It is at least Refresh.
	MaxStale time.Duration

	// Snapshot is what [Cache.Snapshot] returned in an earlier process, so that a
	// service can start during an outage of its issuer. It is checked as an answer
	// of the issuer's is, its age counts against MaxStale, and keys are fetched all
	// the same. One of another issuer or URL, too old, or damaged is logged and not
	// used. Whoever can write to it can sign tokens: keep it as you keep the
	// Config. Nil: none.
	Snapshot []byte

	// Logger is told of changes of state only. Nil: slog.Default().
	Logger *slog.Logger
}

func (c *Config) setDefaults() {
	c.Refresh = cmp.Or(c.Refresh, 10*time.Minute)
	c.Cooldown = cmp.Or(c.Cooldown, 30*time.Second)
	c.MaxStale = cmp.Or(c.MaxStale, 24*time.Hour)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// faults lists all that is wrong with a Config whose defaults are set.
func (c *Config) faults(client *fetch.Client) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("jwks: Config."+format, args...)) }
	switch {
	case c.Issuer == "" && c.URL == "":
		fault("Issuer is required: write the issuer identifier, or set URL to its jwks_uri")
	case c.Issuer != "" && c.URL != "":
		fault("Issuer and Config.URL are both set: keep Issuer for discovery, or URL to do without it")
	case c.URL != "":
		if err := client.CheckURL(c.URL); err != nil {
			fault("URL is %s: %w: write the https URL of the issuer's key set", shown(c.URL), err)
		}
	default:
		if err := client.CheckURL(c.Issuer); err != nil {
			fault("Issuer is %s: %w: write the issuer's https URL as its tokens have it in iss", shown(c.Issuer), err)
		} else if u, err := url.Parse(c.Issuer); err != nil || u.RawQuery != "" || u.ForceQuery {
			fault("Issuer is %s: an issuer identifier has no query (RFC 8414 §2): set URL instead", shown(c.Issuer))
		}
	}
	if c.Client != nil && c.TLS != nil {
		fault("TLS is set beside Config.Client: set the Client's own transport")
	}
	if t := c.TLS; t != nil && t.InsecureSkipVerify && t.VerifyConnection == nil && t.VerifyPeerCertificate == nil {
		fault("TLS has InsecureSkipVerify: set RootCAs to the CA of the issuer instead")
	}
	if shortest := min(c.Refresh, c.Cooldown, c.MaxStale); shortest < 0 {
		fault("Refresh, Cooldown and MaxStale cannot be negative: leave them 0 for 10m, 30s and 24h")
	} else if shortest < time.Millisecond {
		// Refresh: 600 would ask the issuer without a pause.
		fault("Refresh, Cooldown or MaxStale is %v: write a unit with the number, such as 10*time.Minute", shortest)
	} else if c.MaxStale < c.Refresh {
		fault("MaxStale is %v, less than Refresh, %v: keys would expire between refreshes that succeed", c.MaxStale, c.Refresh)
	}
	return errors.Join(faults...)
}

// shown is a URL as an error may show it: without the credentials it may hold.
func shown(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "unreadable"
	}
	u.User = nil
	return strconv.Quote(u.String())
}
