package bearer

import "strings"

// Challenge is the value of a WWW-Authenticate field (RFC 6750 §3, RFC 9110
// §11.6.1).
type Challenge struct {
	Realm  string   // "": DefaultRealm, since a challenge has at least one parameter
	Code   string   // an error code of RFC 6750 §3.1, or ""
	Scopes []string // that the resource asks for; none: no parameter
}

// DefaultRealm names the protected space where nobody named it.
const DefaultRealm = "api"

// The descriptions are fixed: what a token says never comes back in an answer.
var descriptions = map[string]string{
	invalidRequest:    malformed.Detail,
	invalidToken:      invalid.Detail,
	insufficientScope: forbidden.Detail,
}

// String writes the challenge. Whatever the fields hold, it parses, on one line;
// a character that the grammar has no place for is left out.
func (c Challenge) String() string {
	var b strings.Builder
	b.WriteString(`Bearer realm="`)
	realm := keep(c.Realm, func(r byte) bool { return ' ' <= r && r <= '~' })
	if realm == "" {
		realm = DefaultRealm
	}
	for i := range len(realm) {
		if realm[i] == '"' || realm[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(realm[i])
	}
	b.WriteByte('"')
	write := func(name, value string) {
		if value != "" {
			b.WriteString(", " + name + `="` + value + `"`)
		}
	}
	code := keep(c.Code, isScope)
	write("error", code)
	write("error_description", descriptions[code])
	var scopes []string
	for _, s := range c.Scopes {
		if s = keep(s, isScope); s != "" {
			scopes = append(scopes, s)
		}
	}
	write("scope", strings.Join(scopes, " "))
	return b.String()
}

// isScope is the alphabet of a scope-token, and of an error code (RFC 6750 §3):
// no space, no quote, no backslash.
func isScope(c byte) bool { return '!' <= c && c <= '~' && c != '"' && c != '\\' }

func keep(s string, allowed func(byte) bool) string {
	kept := make([]byte, 0, len(s))
	for i := range len(s) {
		if allowed(s[i]) {
			kept = append(kept, s[i])
		}
	}
	return string(kept)
}
