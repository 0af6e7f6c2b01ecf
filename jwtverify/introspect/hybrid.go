package introspect

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// Verifier decides about one token: a jwtverify.Verifier, a set of Issuers, an
// [Introspector], or what wraps one. It is called concurrently.
type Verifier interface {
	// Verify returns a token that may be trusted, or an error and no token. Each call
	// returns a Token of its own, which the caller may change.
	Verify(ctx context.Context, token string) (*jwtverify.Token, error)
}

// HybridConfig says who decides about which token.
type HybridConfig struct {
	// JWT decides about every token that is shaped like a JWT: its first segment, up to
	// a dot, is base64url for a JSON object with the member alg. No such token is for
	// Opaque alone, whatever JWT says: what it refused stays refused.
	JWT Verifier
	// Opaque decides about all others.
	Opaque Verifier
	// IntrospectJWTs has Opaque decide too about each token that JWT accepts, for
	// routes where a revocation must bite at once. Both must accept it, and what both
	// say of iss, sub, client_id and jti must agree. The Token is that of JWT, good for
	// no longer than either says. Of its scopes those are left that the answer has too,
	// so none if it has a scope that is empty, and all if it has no scope; and so of its
	// roles, which an Introspector finds where Config.Roles says. While the issuer cannot
	// be asked every such token is ErrUnavailable. The endpoint must know JWTs:
	// oidc-provider's, for one, does not and answers 400. And it must tell this client of
	// them: ZITADEL's says that every token is inactive unless it is for the project of
	// the client that asks, so ClientID has to be that of an API in the project that
	// Audience names. An [Introspector] is not shown a JWT of another issuer than its own,
	// which is ErrIssuer; another Verifier that is Opaque, such as one that wraps it, is
	// shown every JWT. False: the Verifier alone decides.
	IntrospectJWTs bool
}

// Hybrid is one [Verifier] for JWTs and opaque tokens. It is safe for concurrent use, and
// closing what it is made of is up to whoever made that.
type Hybrid struct {
	config HybridConfig
	last   atomic.Pointer[string] // first segment of a JWT that was accepted, which most begin with
}

// NewHybrid makes a Hybrid. The error joins every fault in the HybridConfig.
func NewHybrid(c HybridConfig) (*Hybrid, error) {
	var faults []error
	for _, field := range []struct {
		name, write string
		verifier    Verifier
	}{{"JWT", "what jwtverify.New returned", c.JWT}, {"Opaque", "what introspect.New returned", c.Opaque}} {
		v := reflect.ValueOf(field.verifier)
		if !v.IsValid() || (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil() {
			faults = append(faults, fmt.Errorf("introspect: HybridConfig.%s is required: write %s", field.name, field.write))
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return &Hybrid{config: c}, nil
}

// Verify has the token decided about by whom it is for. The error is theirs, or a
// [*jwtverify.Error].
func (h *Hybrid) Verify(ctx context.Context, token string) (*jwtverify.Token, error) {
	if h == nil || h.config.JWT == nil {
		return nil, unavailable("the Hybrid was not made by NewHybrid", 0)
	}
	if err := malformed(token); err != nil {
		return nil, err
	}
	segment, _, dotted := strings.Cut(token, ".")
	last := h.last.Load()
	known := dotted && last != nil && *last == segment
	if !known && !(dotted && isHeader(segment)) {
		return h.config.Opaque.Verify(ctx, token)
	}
	own, err := h.config.JWT.Verify(ctx, token)
	if err != nil || own == nil {
		return nil, err
	}
	if !known {
		segment = strings.Clone(segment)
		h.last.Store(&segment)
	}
	if !h.config.IntrospectJWTs {
		return own, nil
	}
	if i, ok := h.config.Opaque.(*Introspector); ok && own.Issuer != i.issuer {
		return nil, &jwtverify.Error{Reason: jwtverify.ErrIssuer, Detail: "iss is not the issuer that HybridConfig.Opaque asks"}
	}
	said, err := h.config.Opaque.Verify(ctx, token)
	if err != nil || said == nil {
		return nil, err
	}
	for _, claim := range []struct{ name, own, said string }{
		{"iss", own.Issuer, said.Issuer}, {"sub", own.Subject, said.Subject},
		{"client_id", own.ClientID, said.ClientID}, {"jti", own.ID, said.ID},
	} {
		if claim.own != "" && claim.said != "" && claim.own != claim.said {
			return nil, &jwtverify.Error{Reason: jwtverify.ErrClaims, Detail: claim.name + " of the token is not that of the answer"}
		}
	}
	own.Scopes = inBoth(own.Scopes, said.Scopes)
	own.Roles = inBoth(own.Roles, said.Roles)
	if said.ValidUntil.Before(own.ValidUntil) && !said.Expiry.IsZero() {
		own.ValidUntil = said.ValidUntil
	}
	return own, nil
}

// inBoth takes out of own what is not in said. Where said is nil nothing was said.
func inBoth(own, said []string) []string {
	if said == nil {
		return own
	}
	return slices.DeleteFunc(own, func(s string) bool { return !slices.Contains(said, s) })
}

// isHeader reports whether a first segment makes a token one that is shaped like a JWT,
// so that nobody but a Verifier may let it in. Somebody who looks for a way around the
// Verifier would spell a JWT so that it is none here and is one to the issuer; so this
// reads as carelessly as issuers do: either alphabet, any padding, any bits at the end,
// JSON that the strict reader would refuse, alg in any case, and any number of segments
// but one. In what no JSON reader here takes, a backslash may spell any name.
func isHeader(segment string) bool {
	text := careless(segment)
	if len(text) == 0 || text[0] != '{' {
		return false
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return bytes.Contains(bytes.ToLower(text), []byte("alg")) || bytes.IndexByte(text, '\\') >= 0
	}
	for name := range members {
		if strings.EqualFold(name, "alg") {
			return true
		}
	}
	return false
}

// isSignedAnswer reports whether a token is a JWT with the typ of RFC 9701, as
// carelessly.
func isSignedAnswer(token string) bool {
	segment, _, dotted := strings.Cut(token, ".")
	if !dotted {
		return false
	}
	var header struct {
		Typ any `json:"typ"`
	}
	if json.Unmarshal(careless(segment), &header) != nil {
		return false
	}
	typ, _ := header.Typ.(string)
	return strings.EqualFold(typ, signedType) || strings.EqualFold(typ, signedAnswer)
}

// careless decodes a segment in whatever spelling, and takes off what may stand before
// JSON.
func careless(segment string) []byte {
	segment = spellings.Replace(segment)
	if len(segment)%4 == 1 {
		segment = segment[:len(segment)-1]
	}
	text, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		return nil
	}
	return bytes.TrimLeft(text, " \t\r\n\ufeff")
}

var spellings = strings.NewReplacer("+", "-", "/", "_", "=", "", "~", "")
