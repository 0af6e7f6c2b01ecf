package introspect

import (
	"cmp"
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/bearerguard/bearerguard/internal/cache"
	"github.com/bearerguard/bearerguard/internal/fetch"
	"github.com/bearerguard/bearerguard/internal/jose"
	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
)

// Config is the whole policy of an Introspector. Issuer, Audience, ClientID and one
// of ClientSecret and ClientKey are required; a zero field else means its default. A
// slice that is empty but not nil is a fault. New copies every slice.
type Config struct {
	// Issuer is the issuer identifier. An iss in an answer must be equal to it, code
	// point by code point, and it is the Issuer of every Token.
	Issuer string
	// Endpoint is the introspection endpoint (RFC 7662 §2). "": it is found in the
	// issuer's metadata, as introspection_endpoint, when it is first needed. That
	// document must name the identical issuer (RFC 8414 §3.3).
	Endpoint string
	// Audience is who this resource server is; any one must be in the answer's aud.
	Audience []string
	// AudienceOptional accepts an answer without aud, which RFC 7662 §2.2 allows.
	// Then every token of the issuer's is for this API, whomever it was issued for,
	// refresh tokens perhaps included: set it only where the endpoint itself tells
	// this client no more than what is meant for it. An aud that is there must name
	// Audience all the same. False: such an answer is ErrClaims.
	AudienceOptional bool
	// IssuerRequired refuses an answer without iss. False: an answer that came from
	// the issuer's endpoint need not say so.
	IssuerRequired bool

	// ClientID is this resource server's own client at the issuer, which has to be
	// allowed to introspect (RFC 7662 §2.1).
	ClientID string
	// ClientSecret authenticates it as client_secret_basic (RFC 6749 §2.3.1): with
	// HTTP's Basic scheme, identifier and secret form-encoded before. Exactly one of
	// ClientSecret and ClientKey is set.
	ClientSecret string
	// SecretInForm sends them in the body instead, as client_secret_post.
	SecretInForm bool
	// ClientKey authenticates it as private_key_jwt (RFC 7523 §2.2): each request
	// carries a JWT of its own, for Issuer as its audience, that is good for a
	// minute. It is an *rsa.PrivateKey, an *ecdsa.PrivateKey, an ed25519.PrivateKey, or
	// what signs with one elsewhere. It is called concurrently, and should not take
	// longer than a second; its time is part of the exchange's, and one that hangs
	// keeps one of the 64 turns to ask the endpoint.
	ClientKey crypto.Signer
	// KeyAlgorithm is what ClientKey signs with. "": RS256 for an RSA key, and for the
	// others the one of their curve (RFC 7518 §3.1, RFC 8037).
	KeyAlgorithm string
	// KeyID is the kid of ClientKey at the issuer. "": none is sent.
	KeyID string

	// Signed asks for answers that are JWTs (RFC 9701), and takes no other: signed by
	// one of the issuer's keys with an asymmetric algorithm, for ClientID as their
	// audience, and not older than a minute. Encrypted ones are not supported.
	Signed bool
	// Keys is where the keys for Signed are. Nil: a jwks.Cache that the Introspector
	// makes by discovery from Issuer, owns and closes. Setting it without Signed is a
	// fault.
	Keys jwtverify.KeySource

	// Scopes are the paths, through nested objects, to members that hold scopes: an
	// array of them, or a string in which spaces separate them. All are united. Nil:
	// {"scope"} and {"scp"}.
	Scopes [][]string
	// Roles are the paths to members that hold roles: an array of them, one as a string,
	// or an object whose members' names they are. All are united. Nil: none.
	Roles [][]string
	// RefuseSenderConstrained refuses a token whose answer has cnf (RFC 7800), which is
	// bound to a key of its client's: nobody here checks that binding. False: such a
	// token is taken as the plain bearer token that whoever stole it would present. A
	// token_type other than Bearer, such as DPoP, is refused whatever this says.
	RefuseSenderConstrained bool

	// Leeway is how far clocks may differ, for exp, nbf and an iat in the future.
	// Zero: 30 seconds. Negative: none. At most 5 minutes.
	Leeway time.Duration
	// TTL is how long an answer is kept that let a token in, and so the time that a
	// revocation may take; an answer is never kept past exp, without leeway. A token
	// without exp is good for as long. Zero: 30 seconds. At most 5 minutes. To keep no
	// such answers set CacheBytes.
	TTL time.Duration
	// NegativeTTL is how long an answer is kept that refused a token. Zero: 5 seconds.
	// At most 30.
	NegativeTTL time.Duration
	// CacheBytes bounds the memory of the answers that let a token in, in bytes. They are
	// kept by the SHA-256 of the token; no raw token is. Zero: 8 MiB. The least is 4 KiB.
	// Negative: none are kept, and each call asks the issuer, but for those with the same
	// token at the same time, which share an exchange. Answers that refuse take 1 MiB
	// more at most.
	CacheBytes int

	// Checks have the last word: all must pass, in order, each time that a token comes,
	// kept or not. They may change the Token, which is this caller's. Errors mean what
	// they mean in [jwtverify.Config.Checks]. They are called concurrently.
	Checks []func(context.Context, *jwtverify.Token) error

	// Client lends its Transport; its redirect policy, cookie jar and timeout are not
	// used. It sees tokens and this client's secret. Nil: a client of our own, as that
	// of [jwks.Config.Client], which keeps connections open for 30 seconds.
	Client *http.Client
	// TLS is for our own client, for a private CA say. It is copied. Nil: the system's
	// roots. Setting it beside Client is a fault, and so is InsecureSkipVerify without
	// a verification of your own.
	TLS *tls.Config
	// InsecureHTTP allows plain http to any host, which shows tokens and the secret to
	// whoever is on the way; for a mesh that encrypts beneath. False: plain http to
	// loopback only.
	InsecureHTTP bool

	// Logger is told of refused tokens at debug level, when the endpoint goes down and
	// comes back, and, once a minute at most, of a Config that the endpoint does not take,
	// of answers that are none, and of those that repeat the token. It must not block:
	// Verify waits for it at debug level, and exchanges hold their turn. Nil:
	// slog.Default().
	Logger *slog.Logger
}

const (
	defaultLeeway   = 30 * time.Second
	maxLeeway       = 5 * time.Minute
	defaultTTL      = 30 * time.Second
	maxTTL          = 5 * time.Minute
	defaultNegative = 5 * time.Second
	maxNegative     = 30 * time.Second
	defaultCache    = 8 << 20 // bytes
	refusedCache    = 1 << 20
	minCache        = 4 << 10
)

// New makes an Introspector. It returns at once, and asks nobody anything, but that it
// begins to fetch the keys of Config.Signed: the issuer may be down, which
// [Introspector.Ready] tells. The error joins every fault in the Config.
func New(c Config) (*Introspector, error) {
	client := fetch.New(fetch.Options{HTTP: c.Client, TLS: c.TLS, InsecureHTTP: c.InsecureHTTP, KeepAlive: true})
	faults := c.faults(client)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	auth, err := c.authenticator()
	if err != nil {
		faults = append(faults, err)
	}
	keys := c.Keys
	var owned *jwks.Cache
	if len(faults) == 0 && c.Signed && keys == nil {
		owned, err = jwks.New(jwks.Config{Issuer: c.Issuer, Client: c.Client, TLS: c.TLS, InsecureHTTP: c.InsecureHTTP, Logger: c.Logger})
		if err != nil {
			faults = append(faults, fmt.Errorf("introspect: Config.Signed: %w", err))
		}
		keys = owned
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if c.InsecureHTTP {
		c.Logger.Warn("introspect: tokens and the client's credentials may be sent over plain http", "issuer", c.Issuer)
	}
	if client.Proxied(cmp.Or(c.Endpoint, c.Issuer)) {
		c.Logger.Info("introspect: the issuer is asked through a proxy, which resolves names: where they lead is not checked", "issuer", c.Issuer)
	}
	i := &Introspector{
		issuer: c.Issuer, clientID: c.ClientID,
		audience: slices.Clone(c.Audience), audienceOptional: c.AudienceOptional, issuerRequired: c.IssuerRequired,
		scopes: clone(c.Scopes), roles: clone(c.Roles), refuseConstrained: c.RefuseSenderConstrained,
		leeway: max(0, cmp.Or(c.Leeway, defaultLeeway)), ttl: cmp.Or(c.TTL, defaultTTL), negative: cmp.Or(c.NegativeTTL, defaultNegative),
		checks: slices.Clone(c.Checks), logger: c.Logger,
		accept: plainAnswer, keys: keys, owned: owned,
		client: client, authenticate: auth,
		finder:  fetch.New(fetch.Options{HTTP: c.Client, TLS: c.TLS, InsecureHTTP: c.InsecureHTTP}),
		place:   place{url: c.Endpoint},
		fixed:   c.Endpoint != "",
		finding: make(chan struct{}, 1), turns: make(chan struct{}, maxExchanges),
		refused: newVerdicts(refusedCache),
		flights: map[cache.Sum]*flight{},
	}
	if c.Signed {
		i.accept = signedAnswer
	}
	if c.CacheBytes >= 0 {
		i.active = newVerdicts(cmp.Or(c.CacheBytes, defaultCache))
	}
	i.ctx, i.cancel = context.WithCancel(context.Background())
	return i, nil
}

// faults lists what is wrong with a Config, and what to write instead.
func (c *Config) faults(client *fetch.Client) (faults []error) {
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("introspect: Config."+format, args...))
	}
	discovered := c.Endpoint == "" || c.Signed && c.Keys == nil
	switch {
	case c.Issuer == "":
		fault("Issuer is required: write the issuer identifier, as its metadata has it")
	case discovered:
		if err := client.CheckURL(c.Issuer); err != nil {
			fault("Issuer is %s: %w: write the issuer's https URL", shown(c.Issuer), err)
		} else if u, err := url.Parse(c.Issuer); err != nil || u.RawQuery != "" || u.ForceQuery {
			fault("Issuer is %s: an issuer identifier has no query (RFC 8414 §2): set Endpoint instead", shown(c.Issuer))
		}
	}
	if c.Endpoint != "" {
		if err := client.CheckURL(c.Endpoint); err != nil {
			fault("Endpoint is %s: %w: write the https URL of the introspection endpoint, or nothing for discovery", shown(c.Endpoint), err)
		}
	}
	if len(c.Audience) == 0 {
		fault("Audience is required: write what the issuer puts in aud for this API")
	}
	if slices.Contains(c.Audience, "") {
		fault("Audience has an empty element: remove it")
	}
	if c.Keys != nil {
		if v := reflect.ValueOf(c.Keys); (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil() {
			fault("Keys is a nil %T: check the error of what made it", c.Keys)
		}
		if !c.Signed {
			fault("Keys is set without Signed, which alone needs any: set Signed for answers that are JWTs, or remove it")
		}
	}
	for _, path := range slices.Concat(c.Scopes, c.Roles) {
		if len(path) == 0 || slices.Contains(path, "") {
			fault("Scopes or Roles has the path %q: write the names of the members that lead there", path)
		}
	}
	for _, field := range []struct {
		name  string
		empty bool
	}{{"Scopes", empty(c.Scopes)}, {"Roles", empty(c.Roles)}, {"Checks", empty(c.Checks)}} {
		if field.empty {
			fault("%s is empty but not nil: write nil for the default, or name what is meant", field.name)
		}
	}
	for n, check := range c.Checks {
		if check == nil {
			fault("Checks has a nil function at %d: remove it", n)
		}
	}
	if c.Leeway > maxLeeway {
		fault("Leeway is %v: at most %v; clocks that differ more must be set", c.Leeway, maxLeeway)
	}
	for _, field := range []struct {
		name     string
		is, most time.Duration
	}{{"TTL", c.TTL, maxTTL}, {"NegativeTTL", c.NegativeTTL, maxNegative}} {
		switch {
		case field.is < 0:
			fault("%s is negative: write 0 for the default; CacheBytes: -1 asks the issuer each time", field.name)
		case field.is > field.most:
			fault("%s is %v: at most %v, since so long a revoked token lives", field.name, field.is, field.most)
		case 0 < field.is && field.is < time.Millisecond:
			fault("%s is %v: write a unit with the number, such as 10*time.Second", field.name, field.is)
		}
	}
	if 0 < c.CacheBytes && c.CacheBytes < minCache {
		fault("CacheBytes is %d: write it in bytes, %d or more, or -1 for no cache", c.CacheBytes, minCache)
	}
	if c.Client != nil && c.TLS != nil {
		fault("TLS is set beside Config.Client: set the Client's own transport")
	}
	if t := c.TLS; t != nil && t.InsecureSkipVerify && t.VerifyConnection == nil && t.VerifyPeerCertificate == nil {
		fault("TLS has InsecureSkipVerify: set RootCAs to the CA of the issuer instead")
	}
	return append(faults, c.clientFaults()...)
}

// clientFaults are those of how the client authenticates.
func (c *Config) clientFaults() (faults []error) {
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("introspect: Config."+format, args...))
	}
	if c.ClientID == "" {
		fault("ClientID is required: write this API's own client at the issuer, which may introspect")
	}
	switch {
	case c.ClientSecret == "" && c.ClientKey == nil:
		fault("ClientSecret and ClientKey are both empty: set the one with which ClientID authenticates")
	case c.ClientSecret != "" && c.ClientKey != nil:
		fault("ClientSecret and ClientKey are both set: keep one of them")
	}
	if c.SecretInForm && c.ClientSecret == "" {
		fault("SecretInForm is set without a ClientSecret: remove it")
	}
	if c.ClientKey == nil && (c.KeyAlgorithm != "" || c.KeyID != "") {
		fault("KeyAlgorithm or KeyID is set without a ClientKey: remove it")
	}
	if len(c.KeyID) > jose.MaxKeyID {
		fault("KeyID is longer than %d bytes", jose.MaxKeyID)
	}
	return faults
}

func empty[E any](s []E) bool { return s != nil && len(s) == 0 }

func clone(paths [][]string) (all [][]string) {
	for _, path := range paths {
		all = append(all, slices.Clone(path))
	}
	return all
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
