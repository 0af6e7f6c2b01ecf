package jwtverify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bearerguard/bearerguard/internal/bounded"
	"github.com/bearerguard/bearerguard/internal/jose"
)

// A hint is for those who set an API or an issuer up. It never tells them to check
// less than they do, without saying what to check instead.
func (e *Error) hint(v *Verifier) string {
	if e.mistake != nil {
		return e.mistake.hint
	}
	more := e.circumstances()
	switch e.Reason {
	case ErrIssuer:
		return issuerHint(v.issuer, more.came)
	case ErrAudience:
		client, audience := more.audience()
		return audienceHint(v, audience, client)
	case ErrClaims:
		if e.Detail == "aud"+isMissing && more.came != "" {
			return "have the issuer put this API into aud; if it cannot, as Cognito, set Config.AudienceClaim to client_id and " +
				"Config.Audience to the clients' ids"
		}
	case ErrType:
		return typeHint(e.Detail, v.types)
	case ErrAlgorithm:
		return algorithmHint(e.Detail)
	case ErrExpired, ErrNotYetValid:
		return clockHint(more.now-more.date, v.leeway)
	case ErrUnknownKey:
		return keyHint(e.Detail, v)
	case ErrUnavailable:
		return sourceHint(e.Detail, v)
	}
	return ""
}

// A mistake is what can be said of text that is no JWT without showing any of it.
type mistake struct{ came, hint string }

var (
	theScheme  = mistake{"the scheme in front of the token", `cut "Bearer " off, or let an adapter or bearer.Token read the header`}
	aQuote     = mistake{"a token in quotation marks", "send the token alone, without the quotation marks of JSON or of a shell"}
	whiteSpace = mistake{"white space around the token",
		"cut off the line break or the space that came with it, often from a file or a variable"}
	encrypted = mistake{"five segments",
		"an encrypted token (JWE), which is not supported: have the issuer send this API signed tokens only"}
	opaque = mistake{"no dot at all", "an opaque token, which needs introspection (RFC 7662): have the issuer send JWTs, for which some " +
		"want an audience or a resource to be asked for"}
)

func isQuote(c byte) bool { return c == '"' || c == '\'' }

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// mistakeIn looks at the outside of malformed text. It costs the same however long
// that is, unless dots are counted.
func mistakeIn(token string, count bool) *mistake {
	if token == "" || len(token) > maxToken {
		return nil
	}
	const scheme = "Bearer "
	first, last := token[0], token[len(token)-1]
	switch {
	case first|0x20 == 'b' && len(token) > len(scheme) && strings.EqualFold(token[:len(scheme)], scheme):
		return &theScheme
	case isQuote(first) || isQuote(last):
		return &aQuote
	case isSpace(first) || isSpace(last):
		return &whiteSpace
	}
	if count {
		switch strings.Count(token, ".") {
		case 0:
			return &opaque
		case 4:
			return &encrypted
		}
	}
	return nil
}

// uncut reports whether a word can be compared, since all of it was kept.
func uncut(word string) bool { return len(word) <= maxWord }

func issuerHint(want, came string) string {
	if !uncut(came) {
		return ""
	}
	const write = ": write Config.Issuer exactly as the issuer's metadata has it"
	wantV1, wantTenant := entra(want)
	cameV1, cameTenant := entra(came)
	wantHost, wantTLS := strings.CutPrefix(want, "https://")
	cameHost, cameTLS := strings.CutPrefix(came, "https://")
	switch {
	case wantTenant != "" && wantTenant == cameTenant && wantV1 != cameV1:
		if cameV1 {
			return "a v1.0 token of that Entra tenant: set requestedAccessTokenVersion to 2 in the manifest of this API's registration"
		}
		return "a v2.0 token of that Entra tenant: write Config.Issuer with login.microsoftonline.com and /v2.0"
	case strings.TrimSuffix(want, "/") == strings.TrimSuffix(came, "/"):
		return "they differ in the last slash only" + write
	case strings.EqualFold(want, came):
		return "they differ in upper and lower case only" + write
	case wantTLS && came == "http://"+wantHost:
		return "they differ in http and https only: set the issuer's public URL, which a proxy in front of it may hide from it"
	case cameTLS && want == "http://"+cameHost:
		return "they differ in http and https only: write Config.Issuer with https"
	}
	return ""
}

// entra takes an issuer of Microsoft's apart: which of its two forms it has, and
// whose it is.
func entra(issuer string) (v1 bool, tenant string) {
	for _, form := range []struct {
		before, after string
		v1            bool
	}{{"https://sts.windows.net/", "/", true}, {"https://login.microsoftonline.com/", "/v2.0", false}} {
		rest, ok := strings.CutPrefix(issuer, form.before)
		tenant, end := strings.CutSuffix(rest, form.after)
		if ok && end && !strings.Contains(tenant, "/") {
			return form.v1, tenant
		}
	}
	return false, ""
}

func audienceHint(v *Verifier, came []string, client string) string {
	differ := func(by func(want, came string) bool) bool {
		return slices.ContainsFunc(v.accepted, func(w string) bool {
			return slices.ContainsFunc(came, func(c string) bool { return uncut(c) && by(w, c) })
		})
	}
	switch {
	case v.reading.audience != "aud":
		return ""
	case client != "" && uncut(client) && slices.Contains(came, client):
		return "aud is the client itself: either it sent its ID token, and has to send the access token; or it has to ask for a token " +
			"for this API, by audience or resource (RFC 8707) or by one of its scopes"
	case differ(func(w, c string) bool { return strings.TrimSuffix(w, "/") == strings.TrimSuffix(c, "/") }):
		return "they differ in the last slash only: write Config.Audience exactly as the issuer writes aud"
	case differ(func(w, c string) bool { return w == "api://"+c || c == "api://"+w }):
		return "they differ in api:// only, which Entra's v2.0 tokens do not have: write Config.Audience exactly as the issuer writes aud"
	case slices.Contains(came, "account"):
		return "account is what Keycloak writes by itself: add a mapper for this API's audience to a client scope of the client's"
	}
	return ""
}

func typeHint(detail string, types map[string]bool) string {
	if rest, ok := strings.CutPrefix(detail, typIs); ok {
		if len(types) == 1 && types[accessToken] && slices.ContainsFunc([]string{"", "JWT", "application/JWT"}, func(typ string) bool {
			return strings.EqualFold(rest, shown(typ))
		}) {
			return "if it is an access token, its issuer does not type them (RFC 9068 §2.1): have it do so; if its operator cannot, leave " +
				"Config.Types nil, and tell its access tokens from its others by Config.Values or Config.Forbidden"
		}
		return ""
	}
	rest, _ := strings.CutPrefix(detail, itHas)
	claim, _, shape := strings.Cut(rest, asNoToken)
	if !shape {
		return ""
	}
	switch claim {
	case "nonce", "at_hash", "c_hash":
		return "an ID token was sent: have the client send the access token"
	case "token_use", "typ":
		return "it says itself that it is an ID token or another kind: have the client send the access token"
	case "htm", "htu", "ath":
		return "a DPoP proof was sent: have the client send the access token"
	}
	return ""
}

func algorithmHint(detail string) string {
	for _, alg := range jose.Symmetric() {
		if detail == quote(alg, algIs) {
			return "the issuer signs with a secret that it shares: have it sign with a key pair, such as by RS256 or ES256; if it cannot, " +
				"name " + alg + " in Config.Algorithms and set Config.Keys to a jwks.NewSet of a jwks.NewSecret"
		}
	}
	for _, alg := range jose.Asymmetric() {
		if detail == quote(alg, algIs) {
			return "if the issuer is to sign with it, name it in Config.Algorithms"
		}
	}
	if detail == quote("none", algIs) {
		return "it is not signed, and never accepted: have the issuer sign, such as by RS256 or ES256"
	}
	return ""
}

// clockHint is about dates that are so near that it may be the clocks.
func clockHint(past int64, leeway time.Duration) string {
	const near = 10 * 60
	switch {
	case 0 <= past && past < near:
		return fmt.Sprintf("Leeway is %v: if the token was new, the clocks are %d s or more apart, and the one that is wrong has to be set "+
			"(NTP); else the client has to get its next token in time", leeway, past)
	case -near < past && past < 0:
		return fmt.Sprintf("Leeway is %v, and the clocks are %d s or more apart: set the one that is wrong (NTP)", leeway, -past)
	}
	return ""
}

func keyHint(detail string, v *Verifier) string {
	status := v.Status().Keys
	if status.Fetched.IsZero() {
		return ""
	}
	is := func(kid string) bool { return kid != "" && strings.HasSuffix(detail, quote(kid, kidIs)) }
	for _, k := range status.Keys {
		switch {
		case is(k.KeyID) && k.Denied:
			return "that key was denied, by Deny"
		case is(k.KeyID):
			return "there is a key of that kid, but not for that alg"
		}
	}
	for _, k := range status.Refused {
		if is(k.KeyID) {
			return "the issuer has a key of that kid, but it was left out: " + shown(k.Reason)
		}
	}
	if strings.HasSuffix(detail, noKid) && len(status.Keys) > 1 {
		return "with several keys a token has to name its own: have the issuer set kid"
	}
	return fmt.Sprintf("the issuer had %s at %s: a token of another issuer or environment, or of a key that is not published any more",
		count(len(status.Keys), "key"), date(status.Fetched))
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}

func sourceHint(detail string, v *Verifier) string {
	status := v.Status().Keys
	if !strings.HasPrefix(detail, theKeySource) || status.LastError == "" || strings.Contains(detail, bounded.Text(status.LastError)) {
		return ""
	}
	return "the last fetch of keys failed at " + date(status.LastErrorAt) + ": " + cut(status.LastError, 300)
}
