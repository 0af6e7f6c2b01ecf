package jwtverify

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bearerguard/bearerguard/internal/foreign"
	"github.com/bearerguard/bearerguard/internal/strictjson"
)

// reading says where in the claims to find what has no fixed place.
type reading struct {
	audience      string
	scopes, roles [][]string
	claims        []claimRule
}

// claimRule is what the Config says of a claim by name: that it is there, perhaps
// with one of some values, or that it is not.
type claimRule struct {
	name      string
	values    []string // nil: any
	forbidden bool
}

// facts is what the claims of a token say, read once.
type facts struct {
	token                 *Token
	whole                 string   // the claims; what the Token says is made of parts of it
	lists                 []string // room for the elements of the Token's lists
	copied                int64    // bytes of strings that are no part of whole, since they were escaped
	issuer, audience, exp bool     // are there
	azp, cid, appid       string   // stand in for client_id
	foreign               string   // the claim that shows another kind of token, or ""
	forbidden             string   // the claim that the Config forbids, or ""
	unlike                string   // the claim that has none of the Config's Values, or ""
	found                 int      // of the claims that must be there
	senderConstrained     bool
	fault                 string // the first claim that is not what it should be
}

// readClaims reads claims. They are as yet unverified: what it returns may be
// used to refuse the token, and for nothing else. The Token is made in room, which
// is empty.
func readClaims(text []byte, from *reading, room *tokenRoom) (facts, *Error) {
	f := facts{token: &room.token, whole: string(text), lists: room.lists[:0]}
	err := strictjson.Object(text, func(name []byte, v strictjson.Value) error {
		f.member(name, v, from)
		return nil
	})
	if err != nil {
		return f, refuse(ErrMalformed, "the claims: "+err.Error())
	}
	if f.fault != "" {
		return f, refuse(ErrClaims, f.fault)
	}
	for _, id := range []string{f.azp, f.cid, f.appid} {
		if f.token.ClientID == "" {
			f.token.ClientID = id
		}
	}
	return f, nil
}

func (f *facts) member(name []byte, v strictjson.Value, from *reading) {
	t := f.token
	switch string(name) {
	case "iss":
		t.Issuer, f.issuer = f.text(v, "iss"), true
	case "sub":
		t.Subject = f.identifier(v, "sub")
	case "jti":
		t.ID = f.identifier(v, "jti")
	case "exp":
		t.Expiry, f.exp = f.date(v, "exp"), true
	case "nbf":
		t.NotBefore = f.date(v, "nbf")
	case "iat":
		t.IssuedAt = f.date(v, "iat")
	case "sid":
		t.SessionID = f.text(v, "sid")
	case "client_id":
		t.ClientID = f.text(v, "client_id")
	case "azp":
		f.azp = f.text(v, "azp")
	case "cid": // Okta's; no registered name, so elsewhere it may be anything
		f.cid, _ = f.string(v)
	case "appid": // Entra's, likewise
		f.appid, _ = f.string(v)
	case "cnf":
		f.senderConstrained = true
	case "token_use":
		if !v.Is("access") {
			f.foreign = "token_use"
		}
	default:
		if foreign.Claim(name, v) {
			f.foreign = string(name)
		}
	}
	if string(name) == from.audience {
		t.Audience, f.audience = f.list(v, from.audience, whole), true
	}
	for _, path := range from.scopes {
		if path[0] == string(name) {
			t.Scopes = united(t.Scopes, f.listAt(v, path, spaceSeparated))
		}
	}
	for _, path := range from.roles {
		if path[0] == string(name) {
			t.Roles = united(t.Roles, f.listAt(v, path, wholeOrNames))
		}
	}
	for i := range from.claims {
		rule := &from.claims[i]
		if rule.name != string(name) {
			continue
		}
		switch {
		case rule.forbidden:
			f.forbidden = rule.name
			return
		case rule.values != nil && !slices.ContainsFunc(rule.values, v.Is):
			f.unlike = rule.name
		case v.Kind() == 'n':
			f.complain(rule.name, "is null")
		}
		f.found++
	}
}

// complain notes the first fault and lets the reading go on, so that the rest of
// the text is checked too. The name is one of the Config's or of this package's,
// never a stranger's.
func (f *facts) complain(name, what string) {
	if f.fault == "" {
		f.fault = name + " " + what
	}
}

func (f *facts) string(v strictjson.Value) (string, bool) {
	s, ok := v.TextIn(f.whole)
	if len(s) < len(v.Raw())-len(`""`) {
		f.copied += allocated(int64(len(s)) + 8)
	}
	return s, ok
}

func (f *facts) text(v strictjson.Value, name string) string {
	s, ok := f.string(v)
	if !ok {
		f.complain(name, "is not a string")
	}
	return s
}

// identifier reads the name of somebody or something, which an empty one is not.
func (f *facts) identifier(v strictjson.Value, name string) string {
	s := f.text(v, name)
	if s == "" {
		f.complain(name, "is empty")
	}
	return s
}

// latest is the last second of the year 9999. A later date is no date: most
// often it is one in milliseconds, and for some readers one that wraps around.
const latest = 253402300799

// date reads a NumericDate (RFC 7519 §2). The bounds are checked before anything
// is converted, and a fraction is kept.
func (f *facts) date(v strictjson.Value, name string) time.Time {
	if v.Kind() != '0' {
		f.complain(name, "is not a number")
		return time.Time{}
	}
	if n, ok := wholeNumber(v.Raw()); ok && n <= latest {
		return time.Unix(n, 0)
	}
	n, err := strconv.ParseFloat(string(v.Raw()), 64)
	if err != nil || n < 0 || n > latest {
		f.complain(name, "is no date from 1970 to 9999 in seconds")
		return time.Time{}
	}
	seconds, fraction := math.Modf(n)
	return time.Unix(int64(seconds), int64(fraction*1e9))
}

// wholeNumber reads digits, as nearly all dates are written. It leaves more than twelve, which
// are no date, to whoever reads fractions.
func wholeNumber(digits []byte) (n int64, ok bool) {
	if len(digits) > 12 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// How a string stands for a list: as its one element, or as names separated by
// single spaces (RFC 6749 §3.3). And how an object does: by its members' names.
const (
	whole = iota
	spaceSeparated
	wholeOrNames
)

// list reads a list of strings, or the string that stands for one.
func (f *facts) list(v strictjson.Value, name string, form int) []string {
	start := len(f.lists)
	switch kind := v.Kind(); {
	case kind == '"':
		s, _ := f.string(v)
		if form != spaceSeparated {
			f.lists = append(f.lists, s)
			break
		}
		for element := range strings.SplitSeq(s, " ") {
			if element != "" {
				f.lists = append(f.lists, element)
			}
		}
	case kind == '{' && form == wholeOrNames:
		_ = v.Members(func(name []byte, _ strictjson.Value) error {
			f.copied += allocated(int64(len(name)) + 8)
			f.lists = append(f.lists, string(name))
			return nil
		})
	case kind == '[':
		_ = v.Elements(func(e strictjson.Value) error {
			s, ok := f.string(e)
			if !ok {
				f.complain(name, "has an element that is not a string")
			}
			f.lists = append(f.lists, s)
			return nil
		})
	default:
		f.complain(name, "is neither a string nor an array")
	}
	return slices.Clip(f.lists[start:]) // so that appending to one list spares the next
}

func united(a, b []string) []string {
	if len(a) == 0 {
		return b
	}
	return append(a, b...)
}

// listAt follows the rest of a path through nested objects to a list. Where the
// path ends early there is none.
func (f *facts) listAt(v strictjson.Value, path []string, form int) []string {
	if len(path) == 1 {
		return f.list(v, path[0], form)
	}
	var all []string
	_ = v.Members(func(name []byte, member strictjson.Value) error {
		if string(name) == path[1] {
			all = f.listAt(member, path[1:], form)
		}
		return nil
	})
	return all
}

// missingClaims lists the claims that must be there and are not. It reads the
// claims a second time, which only a refused token pays for.
func missingClaims(text []byte, rules []claimRule) string {
	var missing []string
	for _, rule := range rules {
		if !rule.forbidden {
			missing = append(missing, rule.name)
		}
	}
	_ = strictjson.Object(text, func(name []byte, _ strictjson.Value) error {
		missing = slices.DeleteFunc(missing, func(m string) bool { return m == string(name) })
		return nil
	})
	return strings.Join(missing, ", ")
}

// needed counts the claims that must be there.
func (r *reading) needed() (n int) {
	for i := range r.claims {
		if !r.claims[i].forbidden {
			n++
		}
	}
	return n
}
