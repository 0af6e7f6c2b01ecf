package jwtverify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/bearerguard/bearerguard/internal/jose"
	"github.com/bearerguard/bearerguard/jwks"
)

// Config is the whole policy of a Verifier. Issuer and Audience are required; a
// zero field else means its default. A slice that is empty but not nil is a
// fault, since it could mean all or nothing. New copies every slice.
type Config struct {
	// Issuer is the issuer identifier; iss must be equal to it, code point by
	// code point (RFC 8414 §3.3).
	Issuer string
	// Audience is who this resource server is; any one must be in aud (RFC 9068
	// §4).
	Audience []string

	// Keys is where keys come from. Nil: a jwks.Cache that the Verifier makes
	// from JWKS, owns and closes.
	Keys KeySource
	// JWKS configures that Cache. With neither Issuer nor URL set in it, the keys
	// are found by discovery from Issuer. Setting it beside Keys is a fault.
	JWKS jwks.Config

	// Algorithms are the accepted alg values (RFC 7518 §3.1, RFC 9864). Nil:
	// RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA and
	// Ed25519. Name one to hold keys without an alg of their own to it (RFC 8725
	// §3.1). HS256, HS384 and HS512 are accepted only if named, and only with
	// Keys set. none is never accepted.
	Algorithms []string
	// Types are the accepted typ values, compared as RFC 7515 §4.1.9 says; ""
	// stands for a token without typ. Nil: "at+jwt", "JWT" and "", where a token
	// not typed at+jwt is refused if its claims show another kind of token:
	// at_hash, c_hash, nonce, events, htm, htu, ath, token_introspection,
	// status_list, a token_use other than access, a claim typ of ID, Refresh,
	// Offline or Logout. That catches the usual mix-ups, not all; only "at+jwt"
	// proves an access token (RFC 9068 §4). Setting Types turns it off, which
	// Keycloak before 25 needs, since its access tokens have a nonce: there add a
	// Check that their claim typ is Bearer.
	Types []string
	// Required are claims that must be there, and not be null, beyond iss, aud
	// and exp. Nil: none. RFC 9068 §2.2 has sub, client_id, iat and jti, which are
	// not required by default whatever the typ.
	Required []string
	// Values are claims that must be there as a string that is one of those named,
	// such as token_use: access. Another value of typ or token_use is ErrType, since
	// those name the kind of a token, and of any other claim ErrClaims. Nil: none.
	Values map[string][]string
	// Forbidden are claims that must not be there, since they show another kind of
	// token. One that is there is ErrType, also where it is null. Nil: none.
	Forbidden []string
	// AudienceClaim is the claim that Audience is compared with, for issuers that
	// send no aud, such as Cognito's client_id; aud is then not looked at. "": aud.
	AudienceClaim string
	// Scopes are the paths, through nested objects, to claims that hold scopes:
	// an array of them, or a string in which spaces separate them. All are
	// united. Nil: {"scope"} and {"scp"}.
	Scopes [][]string
	// Roles are the paths to claims that hold roles: an array of them, one as a
	// string, or an object whose member names they are. All are united. Nil: none.
	// Example: {"realm_access", "roles"}.
	Roles [][]string
	// RefuseSenderConstrained refuses a token with cnf (RFC 7800), which is bound
	// to a key of its client's: a Verifier does not check that binding. False:
	// such a token is taken as the plain bearer token that whoever stole it
	// would present.
	RefuseSenderConstrained bool

	// Leeway is how far clocks may differ, for exp, nbf and an iat in the future.
	// Zero: 30 seconds. Negative: none. At most 5 minutes.
	Leeway time.Duration
	// MaxLifetime is the longest time from iat to exp; iat is required then.
	// Zero: no bound.
	MaxLifetime time.Duration

	// Checks have the last word: all must pass, in order, after all else has, and
	// each time that a token comes. They may change the Token, which is this
	// caller's. An error that is a Reason, or wraps one, keeps it; a context's error
	// becomes ErrUnavailable; any other ErrRejected. So a Check that could not find
	// out returns ErrUnavailable: whatever else it returns logs the client out.
	// They are called concurrently.
	Checks []func(context.Context, *Token) error

	// CacheBytes bounds the memory of the cache of verified tokens, in bytes. A
	// token that comes again is known by its SHA-256, and pays for that instead of
	// a signature; time, its key and the Checks are asked again each time, so that
	// nothing but the time it takes tells the difference. No raw token is kept,
	// but its claims are. Zero: 8 MiB. The least is 4 KiB. Negative, or too little for one token: no
	// cache.
	CacheBytes int

	// Now is the clock, for tests. Nil: time.Now.
	Now func() time.Time
	// Logger is told of refused tokens at debug level, since anyone can send a
	// flood of them, and of changes of the keys. Nil: slog.Default().
	Logger *slog.Logger

	// Fault is what whoever made the Config found wrong with it: a preset of
	// package providers that was asked for what cannot be made safe. New returns
	// it. Nil: nothing.
	Fault error
}

const (
	accessToken   = "at+jwt" // RFC 9068 §2.1
	defaultLeeway = 30 * time.Second
	maxLeeway     = 5 * time.Minute
	defaultCache  = 8 << 20 // bytes
	minCache      = 4 << 10
)

var defaultScopes = [][]string{{"scope"}, {"scp"}}

// New makes a Verifier, and starts fetching keys in the background unless the
// Config brings its own. It returns at once; [Verifier.Ready] waits for the
// keys. The error joins every fault in the Config.
func New(c Config) (*Verifier, error) { return newVerifier(c, nil) }

// newVerifier makes one that keeps its tokens among those of others, or its own if
// there are none to share.
func newVerifier(c Config, shared *tokens) (*Verifier, error) {
	faults := c.faults()
	c.Logger = cmp.Or(c.Logger, slog.Default())
	v := &Verifier{
		issuer:            c.Issuer,
		accepted:          slices.Clone(c.Audience),
		algorithms:        set(c.Algorithms, jose.Asymmetric()),
		leeway:            max(0, cmp.Or(c.Leeway, defaultLeeway)),
		maxLifetime:       c.MaxLifetime,
		refuseConstrained: c.RefuseSenderConstrained,
		checks:            slices.Clone(c.Checks),
		keys:              c.Keys,
		now:               c.Now,
		logger:            c.Logger,
		reading: reading{
			audience: cmp.Or(c.AudienceClaim, "aud"),
			scopes:   clone(c.Scopes, defaultScopes),
			roles:    clone(c.Roles, nil),
			claims:   c.claimRules(),
		},
	}
	v.itself = func() any { return v }
	if v.tokens = shared; shared == nil || c.CacheBytes < 0 {
		v.tokens = newTokens(c.CacheBytes)
	}
	if v.now == nil {
		v.now = time.Now
	}
	if c.Types != nil {
		v.types = map[string]bool{}
		for _, typ := range c.Types {
			v.types[mediaType(typ)] = true
		}
	}
	if c.Keys == nil && (c.Issuer != "" || c.JWKS.Issuer != "" || c.JWKS.URL != "") {
		if c.JWKS.Issuer == "" && c.JWKS.URL == "" {
			c.JWKS.Issuer = c.Issuer
		}
		c.JWKS.Logger = cmp.Or(c.JWKS.Logger, c.Logger)
		cache, err := jwks.New(c.JWKS)
		if err != nil {
			faults = append(faults, fmt.Errorf("jwtverify: Config.JWKS: %w", err))
		} else {
			v.keys, v.owned = cache, cache
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(append(faults, v.end())...)
	}
	v.fetched, _ = v.keys.(*jwks.Cache)
	return v, nil
}

// faults lists what is wrong with a Config, and what to write instead.
func (c *Config) faults() (faults []error) {
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("jwtverify: Config."+format, args...))
	}
	if c.Fault != nil {
		return []error{c.Fault} // the rest is as its maker left it
	}
	if c.Issuer == "" {
		fault("Issuer is required: write the issuer identifier, the iss of its tokens")
	}
	if len(c.Audience) == 0 {
		fault("Audience is required: write what the issuer puts in aud for this API")
	}
	if slices.Contains(c.Audience, "") {
		fault("Audience has an empty element: remove it")
	}
	if 0 < c.CacheBytes && c.CacheBytes < minCache {
		fault("CacheBytes is %d: write it in bytes, %d or more, or -1 for no cache", c.CacheBytes, minCache)
	}
	for _, field := range []struct {
		name  string
		empty bool
	}{
		{"Algorithms", empty(c.Algorithms)}, {"Types", empty(c.Types)}, {"Required", empty(c.Required)},
		{"Forbidden", empty(c.Forbidden)}, {"Values", c.Values != nil && len(c.Values) == 0},
		{"Scopes", empty(c.Scopes)}, {"Roles", empty(c.Roles)}, {"Checks", empty(c.Checks)},
	} {
		if field.empty {
			fault("%s is empty but not nil: write nil for the default, or name what is meant", field.name)
		}
	}
	for _, alg := range c.Algorithms {
		symmetric := slices.Contains(jose.Symmetric(), alg)
		switch {
		case alg == "none":
			fault("Algorithms has none: a token without a signature is never accepted, remove it")
		case !symmetric && !slices.Contains(jose.Asymmetric(), alg):
			fault("Algorithms has %q: write some of %q", alg, append(jose.Asymmetric(), jose.Symmetric()...))
		case symmetric && c.Keys == nil:
			fault("Algorithms has %s, which no fetched key serves: set Keys to a jwks.NewSet of a jwks.NewSecret", alg)
		}
	}
	for _, typ := range c.Types {
		if strings.ContainsFunc(typ, func(r rune) bool { return r <= ' ' || r > '~' }) || typ != "" && mediaType(typ) == "" {
			fault("Types has %q: write a media type such as at+jwt", typ)
		}
	}
	for _, names := range []struct {
		field string
		names []string
	}{{"Required", c.Required}, {"Forbidden", c.Forbidden}, {"Values", slices.Sorted(maps.Keys(c.Values))}} {
		if slices.Contains(names.names, "") {
			fault("%s has an empty element: remove it", names.field)
		}
	}
	for name, values := range c.Values {
		if len(values) == 0 || slices.Contains(values, "") {
			fault("Values[%q] is %q: write the values that it may have", name, values)
		}
	}
	for _, name := range c.Forbidden {
		if _, must := c.Values[name]; must || slices.Contains(c.Required, name) || slices.Contains([]string{"iss", "exp", cmp.Or(c.AudienceClaim, "aud")}, name) {
			fault("Forbidden has %q, which must be there: remove it from one of them", name)
		}
		if name == "iat" && c.MaxLifetime > 0 {
			fault("Forbidden has iat, which MaxLifetime needs: remove one of them")
		}
	}
	for _, path := range slices.Concat(c.Scopes, c.Roles) {
		if len(path) == 0 || slices.Contains(path, "") {
			fault("Scopes or Roles has the path %q: write the names of the members that lead to the claim", path)
		}
	}
	if c.Leeway > maxLeeway {
		fault("Leeway is %v: at most %v; clocks that differ more must be set", c.Leeway, maxLeeway)
	}
	if c.MaxLifetime < 0 {
		fault("MaxLifetime is negative: write 0 for no bound")
	}
	for i, check := range c.Checks {
		if check == nil {
			fault("Checks has a nil function at %d: remove it", i)
		}
	}
	if c.Keys != nil {
		if v := reflect.ValueOf(c.Keys); (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil() {
			fault("Keys is a nil %T: check the error of what made it", c.Keys)
		}
		if !reflect.ValueOf(c.JWKS).IsZero() {
			fault("JWKS is set beside Keys, which is used instead: remove one of them")
		}
	} else if c.JWKS.Issuer != "" && c.JWKS.Issuer != c.Issuer {
		fault("JWKS.Issuer is %q and Issuer %q: leave it empty, or set JWKS.URL", c.JWKS.Issuer, c.Issuer)
	}
	return faults
}

// claimRules joins what the Config says of claims by name.
func (c *Config) claimRules() (rules []claimRule) {
	for name, values := range c.Values {
		rules = append(rules, claimRule{name: name, values: slices.Clone(values)})
	}
	for _, name := range c.Required {
		if _, there := c.Values[name]; !there {
			rules = append(rules, claimRule{name: name})
		}
	}
	for _, name := range c.Forbidden {
		rules = append(rules, claimRule{name: name, forbidden: true})
	}
	byName := func(a, b claimRule) int { return cmp.Compare(a.name, b.name) }
	slices.SortFunc(rules, byName)
	return slices.CompactFunc(rules, func(a, b claimRule) bool { return a.name == b.name })
}

func empty[E any](s []E) bool { return s != nil && len(s) == 0 }

func set(names, standard []string) map[string]bool {
	if names == nil {
		names = standard
	}
	m := make(map[string]bool, len(names))
	for _, name := range names {
		m[name] = true
	}
	return m
}

func clone(paths, standard [][]string) [][]string {
	if paths == nil {
		paths = standard
	}
	all := make([][]string, 0, len(paths))
	for _, path := range paths {
		if len(path) > 0 { // one that is empty has been reported
			all = append(all, slices.Clone(path))
		}
	}
	return all
}
