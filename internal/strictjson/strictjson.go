// Package strictjson is the one JSON reader for what comes from the network:
// JOSE headers, claims, JWKs, key sets and metadata documents.
//
// Whole issuers have been impersonated by way of readers that take "Exp" for
// "exp", the last of two "aud" members, or what stands behind the closing
// brace. Here a text is one JSON object and nothing else, in valid UTF-8, with
// exact and unique member names at every level, nested at most [MaxDepth] deep.
//
// jsontext decides what is valid, in one pass over the whole text, before
// anybody sees a part of it. Texts of the plainest kind (plain.go), which nearly
// all headers and claims are, need not trouble it. What is left to do is to find
// where each member of a text ends that is known to be valid, which a few lines
// do.
package strictjson

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is the deepest nesting of objects and arrays that is read; the
// outermost object is level 1.
const MaxDepth = 32

var (
	errNotObject = errors.New("not a JSON object")
	errSyntax    = errors.New("not valid JSON, a duplicate member name, or something behind the object")
	errDepth     = fmt.Errorf("nested deeper than %d levels", MaxDepth)
)

// Object reads text as one strict JSON object and calls member for each of its
// members, in order. Name and value are windows into text, valid as long as it
// is. Nothing is called unless the whole text is valid. An error of member's ends
// the reading and is returned as it is; no other error holds any part of text.
func Object(text []byte, member func(name []byte, value Value) error) error {
	start := skipSpace(text, 0)
	if start == len(text) || text[start] != '{' {
		return errNotObject
	}
	// Most junk is cut off somewhere, and this says so for nothing.
	end := len(text) - 1
	for isSpace(text[end]) {
		end--
	}
	if text[end] != '}' {
		return errSyntax
	}
	var found members
	if n, ok := plain(text, &found); ok {
		for _, m := range found[:n] {
			if err := member(text[m.name:m.nameEnd], Value{text[m.value:m.valueEnd], int(m.value)}); err != nil {
				return err
			}
		}
		return nil
	}
	// By default IsValid allows neither duplicate names nor invalid UTF-8; naming
	// that anew for each token costs as much as reading a member.
	if !jsontext.Value(text).IsValid() {
		return errSyntax
	}
	if tooDeep(text) {
		return errDepth
	}
	return Value{text[start:], start}.Members(member)
}

// Value is one member's value: JSON text that is valid.
type Value struct {
	raw []byte
	at  int // its offset in the whole text
}

// Kind is 'n' for null, 't' or 'f' for a boolean, '"' for a string, '0' for a
// number, '{' for an object and '[' for an array.
func (v Value) Kind() byte {
	switch c := v.raw[0]; {
	case c == '-' || '0' <= c && c <= '9':
		return '0'
	default:
		return c
	}
}

// Raw is the value's JSON text, valid as long as the Value is.
func (v Value) Raw() []byte { return v.raw }

// Text returns a string's content; ok is false for any other kind.
func (v Value) Text() (s string, ok bool) {
	if v.Kind() != '"' {
		return "", false
	}
	text, err := unquote(v.raw)
	return string(text), err == nil
}

// TextIn is [Value.Text] for a caller who keeps the whole text as a string
// anyway: where nothing is escaped, the result is a part of that string and no
// copy.
func (v Value) TextIn(whole string) (s string, ok bool) {
	if v.Kind() != '"' {
		return "", false
	}
	if bytes.IndexByte(v.raw, '\\') < 0 {
		return whole[v.at+1 : v.at+len(v.raw)-1], true
	}
	return v.Text()
}

// Is reports whether the value is the string s, without making a copy of it.
func (v Value) Is(s string) bool {
	if v.Kind() != '"' {
		return false
	}
	text, err := unquote(v.raw)
	return err == nil && string(text) == s
}

// Elements calls element for each element of an array; it does nothing for any
// other kind.
func (v Value) Elements(element func(Value) error) error {
	if v.Kind() != '[' {
		return nil
	}
	for i := skipSpace(v.raw, 1); v.raw[i] != ']'; {
		e := v.part(i)
		if err := element(e); err != nil {
			return err
		}
		i = v.next(i + len(e.raw))
	}
	return nil
}

// Members calls member for each member of an object, as [Object] does; it does
// nothing for any other kind.
func (v Value) Members(member func(name []byte, value Value) error) error {
	if v.Kind() != '{' {
		return nil
	}
	for i := skipSpace(v.raw, 1); v.raw[i] != '}'; {
		quoted := v.part(i).raw
		name, err := unquote(quoted)
		if err != nil {
			return errSyntax
		}
		colon := skipSpace(v.raw, i+len(quoted))
		i = skipSpace(v.raw, colon+1)
		value := v.part(i)
		if err := member(name, value); err != nil {
			return err
		}
		i = v.next(i + len(value.raw))
	}
	return nil
}

// part is the value that begins at i.
func (v Value) part(i int) Value { return Value{v.raw[i : i+length(v.raw[i:])], v.at + i} }

// next finds the beginning of what comes after the value that ends at i: of
// another one behind a comma, or of the closing bracket.
func (v Value) next(i int) int {
	if i = skipSpace(v.raw, i); v.raw[i] == ',' {
		i = skipSpace(v.raw, i+1)
	}
	return i
}

// length of the value with which a valid text begins.
func length(text []byte) int {
	switch text[0] {
	case '"':
		return quoted(text)
	case '{', '[':
		for i, depth := 0, 0; ; {
			switch text[i] {
			case '"':
				i += quoted(text[i:])
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			if i++; depth == 0 {
				return i
			}
		}
	default: // a number or a word
		i := 1
		for i < len(text) && text[i] != ',' && text[i] != ']' && text[i] != '}' && text[i] > ' ' {
			i++
		}
		return i
	}
}

// quoted is the length of a string, quotes included. Most are so short that
// searching them by a vector's length would take longer.
func quoted(text []byte) int {
	for i := 1; ; i++ {
		switch text[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
}

func skipSpace(text []byte, i int) int {
	for i < len(text) && isSpace(text[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// tooDeep reports whether the containers of a valid text nest more than MaxDepth
// deep. Most texts do not even have so many.
func tooDeep(text []byte) bool {
	if bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) <= MaxDepth {
		return false
	}
	for i, depth := 0, 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i += quoted(text[i:]) - 1
		case '{', '[':
			if depth++; depth > MaxDepth {
				return true
			}
		case '}', ']':
			depth--
		}
	}
	return false
}

// unquote returns the content of a JSON string: a window into quoted where
// nothing in it is escaped, which is nearly always.
func unquote(quoted []byte) ([]byte, error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	return jsontext.AppendUnquote(nil, quoted)
}
