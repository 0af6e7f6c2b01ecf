package introspect

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bearerguard/bearerguard/internal/foreign"
	"github.com/bearerguard/bearerguard/internal/strictjson"
	"github.com/bearerguard/bearerguard/jwtverify"
)

// answer is what an introspection response (RFC 7662 §2.2) says that a Token does not.
type answer struct {
	active            byte // its kind of JSON value; 0 if there is none
	issuer, audience  bool // are there
	senderConstrained bool
	foreign           string // the member that shows another kind of token, or ""
	nonce, bearer     bool   // there is a nonce, and a typ that speaks for an access token
	scopes, roles     []string
	fault             string // in the places of Config.Scopes and Config.Roles
}

// judge decides about a token by what was answered about it. The error means that it
// was no answer.
func (i *Introspector) judge(text []byte, now time.Time) (verdict, *trouble) {
	var a answer
	err := strictjson.Object(text, func(name []byte, v strictjson.Value) error {
		i.member(&a, name, v)
		return nil
	})
	if a.nonce && !a.bearer && a.foreign == "" {
		a.foreign = "nonce"
	}
	switch {
	case err != nil:
		return verdict{}, noAnswer("it is " + err.Error())
	case a.active == 0:
		return verdict{}, noAnswer("it has no active")
	case a.active == 'f':
		return i.refusal(jwtverify.ErrInactive, "the issuer says that it is not active", now), nil
	case a.active != 't':
		// "true" and 1 are no booleans, and nobody knows what else such a server
		// gets wrong.
		return verdict{}, noAnswer("its active is no boolean")
	}
	t, err := jwtverify.TrustedToken(jwtverify.Header{}, text)
	if err != nil {
		// One token's claims are that token's fault, not an outage of the endpoint's.
		return i.refusal(jwtverify.ErrClaims, "the answer: "+detailOf(err), now), nil
	}
	switch {
	case !a.issuer && i.issuerRequired:
		return i.refusal(jwtverify.ErrClaims, "iss is missing from the answer", now), nil
	case a.issuer && t.Issuer != i.issuer:
		return i.refusal(jwtverify.ErrIssuer, "iss of the answer is not the issuer", now), nil
	case a.foreign != "":
		return i.refusal(jwtverify.ErrType, a.foreign+" of the answer is not that of a bearer access token", now), nil
	case !a.audience && !i.audienceOptional:
		return i.refusal(jwtverify.ErrClaims, "aud is missing from the answer; if the endpoint tells this client of no token of others', set Config.AudienceOptional", now), nil
	case a.audience && !slices.ContainsFunc(i.audience, func(own string) bool { return slices.Contains(t.Audience, own) }):
		return i.refusal(jwtverify.ErrAudience, "aud of the answer names no audience of ours", now), nil
	case i.refuseConstrained && a.senderConstrained:
		return i.refusal(jwtverify.ErrClaims, "the answer has cnf: the token is bound to a key and no bearer token", now), nil
	case a.fault != "":
		return i.refusal(jwtverify.ErrClaims, a.fault, now), nil
	case !t.Expiry.IsZero() && !now.Before(t.Expiry.Add(i.leeway)):
		return i.refusal(jwtverify.ErrExpired, "exp of the answer has passed", now), nil
	case now.Add(i.leeway).Before(t.NotBefore):
		return i.early("nbf", t.NotBefore, now), nil
	case now.Add(i.leeway).Before(t.IssuedAt):
		return i.early("iat", t.IssuedAt, now), nil
	}
	t.Issuer = i.issuer
	if i.scopes != nil {
		t.Scopes = a.scopes
	}
	t.Roles = a.roles
	v := verdict{token: t, until: now.Add(i.ttl), bytes: size(t, len(text))}
	// A token that has no end is good as long as an answer is.
	t.ValidUntil = v.until
	if !t.Expiry.IsZero() {
		t.ValidUntil = t.Expiry.Add(i.leeway)
		if t.Expiry.Before(v.until) {
			v.until = t.Expiry // RFC 7662 §4: no answer is kept for longer
		}
	}
	return v, nil
}

// repeats reports whether the token stands in a text that is known to be valid, however
// it is spelt: in a name, a string or a number.
func repeats(text []byte, token string) bool {
	found := false
	var look func(strictjson.Value) error
	member := func(name []byte, v strictjson.Value) error {
		found = found || strings.Contains(string(name), token)
		return look(v)
	}
	look = func(v strictjson.Value) error {
		s, ok := v.Text()
		if !ok && v.Kind() == '0' {
			s = string(v.Raw())
		}
		found = found || strings.Contains(s, token)
		_ = v.Members(member)
		return v.Elements(look)
	}
	_ = strictjson.Object(text, member)
	return found
}

func (i *Introspector) member(a *answer, name []byte, v strictjson.Value) {
	switch string(name) {
	case "active":
		a.active = v.Kind()
	case "iss":
		a.issuer = true
	case "aud":
		a.audience = true
	case "cnf":
		a.senderConstrained = true
	case "token_type": // RFC 6749 §5.1: whatever its case
		if s, ok := v.Text(); !ok || !strings.EqualFold(s, "Bearer") {
			a.foreign = "token_type"
		}
	case "token_use": // access_token is Hydra's and Dex's way
		if !v.Is("access") && !v.Is("access_token") {
			a.foreign = "token_use"
		}
	case "nonce": // which Keycloak's access tokens have too, before 25
		a.nonce = true
	default:
		a.bearer = a.bearer || string(name) == "typ" && v.Is("Bearer")
		if foreign.Claim(name, v) {
			a.foreign = string(name)
		}
	}
	for _, path := range i.scopes {
		if path[0] == string(name) {
			a.scopes = united(a.scopes, a.listAt(v, path, spaceSeparated))
		}
	}
	for _, path := range i.roles {
		if path[0] == string(name) {
			a.roles = united(a.roles, a.listAt(v, path, wholeOrNames))
		}
	}
}

// united is nil only if neither list is there: an empty one allows nothing, and none says
// nothing.
func united(a, b []string) []string {
	if a == nil {
		return b
	}
	return append(a, b...)
}

// How a string stands for a list: as names with spaces between (RFC 6749 §3.3), or as its
// one element. There an object does too, by the names of its members.
const (
	spaceSeparated = iota
	wholeOrNames
)

// listAt follows a path to a list of strings, or to what stands for one. Where the path
// ends early there is none: it is nil.
func (a *answer) listAt(v strictjson.Value, path []string, form int) (all []string) {
	if len(path) > 1 {
		_ = v.Members(func(name []byte, member strictjson.Value) error {
			if string(name) == path[1] {
				all = a.listAt(member, path[1:], form)
			}
			return nil
		})
		return all
	}
	s, ok := v.Text()
	switch {
	case ok && form == spaceSeparated: // and by nothing but spaces
		return slices.DeleteFunc(strings.Split(s, " "), func(name string) bool { return name == "" })
	case ok:
		return []string{s}
	case v.Kind() == '{' && form == wholeOrNames:
		all = []string{}
		_ = v.Members(func(name []byte, _ strictjson.Value) error {
			all = append(all, string(name))
			return nil
		})
		return all
	case v.Kind() != '[':
		a.fault = path[0] + " of the answer is neither a string nor an array"
	}
	all = []string{}
	_ = v.Elements(func(e strictjson.Value) error {
		s, ok := e.Text()
		if !ok {
			a.fault = path[0] + " of the answer has an element that is not a string"
		}
		all = append(all, s)
		return nil
	})
	return all
}

// refusal is a verdict that keeps for NegativeTTL.
func (i *Introspector) refusal(reason jwtverify.Reason, detail string, now time.Time) verdict {
	return verdict{
		err:   &jwtverify.Error{Reason: reason, Detail: detail},
		until: now.Add(i.negative), bytes: refusalSize + int64(len(detail)),
	}
}

// early refuses a token until its time comes, if that is sooner.
func (i *Introspector) early(name string, begins, now time.Time) verdict {
	v := i.refusal(jwtverify.ErrNotYetValid, name+" of the answer is ahead", now)
	if begins = begins.Add(-i.leeway); begins.Before(v.until) {
		v.until = begins
	}
	return v
}

const refusalSize = 128 // bytes of an Error

func detailOf(err error) string {
	if e, ok := err.(*jwtverify.Error); ok {
		return e.Detail
	}
	return fmt.Sprintf("%T", err)
}
