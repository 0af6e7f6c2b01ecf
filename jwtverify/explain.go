package jwtverify

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Together they leave room for a hint, whatever a stranger sends.
const (
	maxExplained = 2 << 10 // bytes of what Explain returns
	maxDetail    = 400
	maxWord      = 200 // bytes of a word, as it came and as it is shown
	maxWords     = 3   // elements of aud that are kept and shown
	maxList      = 400 // bytes of a list
)

// Explain says in one line, for an operator's log or for support, why Verify or
// Ready refused: the Reason and the Detail, what was expected, what came, and for
// a frequent mistake a hint that says what to change. It is at most 2 KiB of
// printable ASCII and "…", and quotes what comes from outside. It is "" for nil,
// and the text of err in that form where err has no [*Error] in it.
//
// Of a token it shows no more than iss, aud, the client's id, alg, kid, typ and
// the date in question. Those are the words of whoever sent it, since nearly all
// refusals come before the signature is looked at; so a hint supposes that the
// token is one that ought to be taken.
//
// It is not for clients, which would learn the Config. It asks for the Status of
// the keys, which is too much work for each token of a flood.
func Explain(err error) string {
	if err == nil {
		return ""
	}
	var e *Error
	if !errors.As(err, &e) || e == nil {
		return printable(err.Error(), maxExplained)
	}
	text := printable(string(e.Reason), maxWord)
	if e.Detail != "" {
		text += ": " + printable(e.Detail, maxDetail)
	}
	var expected, came, hint string
	switch asked := e.whoWasAsked().(type) {
	case *Verifier:
		expected, came = e.sides(asked)
		hint = e.hint(asked)
	case *Issuers:
		expected, came, hint = e.amongIssuers(asked.known())
	}
	for _, part := range [][2]string{{"expected ", expected}, {"came ", came}, {"hint: ", hint}} {
		if part[1] != "" {
			text += "; " + part[0] + part[1]
		}
	}
	return printable(text, maxExplained)
}

func (e *Error) whoWasAsked() any {
	if e.asked == nil || strings.HasPrefix(e.Detail, aCheck) { // of whose reasons the Detail is all that is known
		return nil
	}
	return e.asked()
}

// amongIssuers is what can be said where none of them was asked.
func (e *Error) amongIssuers(issuers []string) (expected, came, hint string) {
	if e.mistake != nil {
		return "", e.mistake.came, e.mistake.hint
	}
	if e.Reason != ErrIssuer {
		return "", "", ""
	}
	iss := e.circumstances().came
	for _, issuer := range issuers {
		hint = cmp.Or(hint, issuerHint(issuer, iss))
	}
	return oneOf(issuers), shown(iss), hint
}

// sides says what was expected and what came, where the Detail does not.
func (e *Error) sides(v *Verifier) (expected, came string) {
	if e.mistake != nil {
		return "", e.mistake.came
	}
	more := e.circumstances()
	client, audience := more.audience()
	switch e.Reason {
	case ErrIssuer:
		return shown(v.issuer), shown(more.came)
	case ErrAudience:
		return oneOf(v.accepted), listed(audience[:min(len(audience), maxWords)], len(audience) > maxWords) + ofClient(client)
	case ErrClaims:
		if e.Detail == v.reading.audience+isMissing {
			return oneOf(v.accepted), "none" + ofClient(client)
		}
	case ErrType:
		if strings.HasPrefix(e.Detail, typIs) && v.types != nil {
			return oneOf(slices.Sorted(maps.Keys(v.types))), ""
		}
	case ErrAlgorithm:
		return oneOf(slices.Sorted(maps.Keys(v.algorithms))), ""
	case ErrExpired:
		return "later than " + at(more.now, -v.leeway) + ", which is now less Leeway", at(more.date, 0)
	case ErrNotYetValid:
		return "no later than " + at(more.now, v.leeway) + ", which is now and Leeway", at(more.date, 0)
	case ErrUnknownKey:
		var kids []string
		for _, k := range v.Status().Keys.Keys {
			kids = append(kids, k.KeyID)
		}
		if kids != nil {
			return oneOf(kids), ""
		}
	}
	for _, rule := range v.reading.claims {
		if e.Detail == rule.name+noneOfValues {
			return oneOf(rule.values), ""
		}
	}
	return "", ""
}

func ofClient(id string) string {
	if id == "" {
		return ""
	}
	return ", for the client " + shown(id)
}

func oneOf(words []string) string {
	if len(words) == 1 {
		return shown(words[0])
	}
	return "one of " + listed(words, false)
}

func listed(words []string, more bool) string {
	if len(words) == 0 {
		return "none"
	}
	list := shown(words[0])
	for _, w := range words[1:] {
		next := ", " + shown(w)
		if len(list)+len(next) > maxList {
			more = true
			break
		}
		list += next
	}
	if more {
		list += ", …"
	}
	return list
}

func shown(word string) string { return cut(word, maxWord) }

// cut quotes as much of what comes from outside as may be shown, which is less of
// what has to be escaped.
func cut(word string, most int) string {
	n := min(len(word), most)
	quoted := strconv.QuoteToASCII(word[:n])
	for len(quoted) > most+len(`""`) {
		n /= 2
		quoted = strconv.QuoteToASCII(word[:n])
	}
	if n < len(word) {
		quoted += "…"
	}
	return quoted
}

func at(seconds int64, more time.Duration) string { return date(time.Unix(seconds, 0).Add(more)) }

func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// printable makes ASCII of text, with "…" where it is cut. It leaves what is
// escaped already as it is.
func printable(text string, most int) string {
	out := make([]byte, 0, min(len(text), most))
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		next := text[:size]
		if (r < ' ' || r > '~') && r != '…' {
			next = strconv.QuoteToASCII(next)
			next = next[1 : len(next)-1]
		}
		text = text[size:]
		left := most - len(out)
		if len(next) > left || text != "" && len(next) > left-len("…") {
			return string(out) + "…"
		}
		out = append(out, next...)
	}
	return string(out)
}

// between stands between words of a token that are kept. It is in no UTF-8 and so
// in no string of a token's.
const between = "\xff"

// joined keeps a few words of a token, in a single allocation and nothing else of
// the token with them: one byte and one word more than are shown, so that it shows
// that there was more.
func joined(first string, more ...string) string {
	all := [maxWords + 2]string{first}
	words := all[:1+copy(all[1:], more)]
	size := len(words) * len(between)
	for i, word := range words {
		words[i] = word[:min(len(word), maxWord+1)]
		size += len(words[i])
	}
	var out strings.Builder
	out.Grow(size)
	for i, word := range words {
		if i > 0 {
			out.WriteString(between)
		}
		out.WriteString(word)
	}
	return out.String()
}

// audience is the client and the aud that joined made one.
func (c circumstances) audience() (client string, audience []string) {
	words := strings.Split(c.came, between)
	return words[0], words[1:]
}
