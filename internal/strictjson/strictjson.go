// Package strictjson is the one JSON reader for what comes from the network:
// JOSE headers, claims, JWKs, key sets and metadata documents.
//
// Whole issuers have been impersonated by way of readers that take "Exp" for
// "exp", the last of two "aud" members, or what stands behind the closing
// brace. Here a text is one JSON object and nothing else, in valid UTF-8, with
// exact and unique member names at every level, nested at most [MaxDepth] deep.
package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is the deepest nesting of objects and arrays that is read; the
// outermost object is level 1.
const MaxDepth = 32

var (
	errNotObject = errors.New("not a JSON object")
	errTrailing  = errors.New("something follows the JSON object")
	errSyntax    = errors.New("not valid JSON, or a duplicate member name")
	errDepth     = fmt.Errorf("nested deeper than %d levels", MaxDepth)
)

// reader keeps a decoder and the buffers that it works on together, so that a
// request pays for none of them.
type reader struct {
	buf  bytes.Buffer
	dec  jsontext.Decoder
	name []byte
}

var readers = sync.Pool{New: func() any { return new(reader) }}

func acquire(text []byte) *reader {
	r := readers.Get().(*reader)
	r.buf.Reset()
	r.buf.Write(text)
	r.dec.Reset(&r.buf, jsontext.AllowDuplicateNames(false), jsontext.AllowInvalidUTF8(false))
	return r
}

func (r *reader) release() {
	// One large key set must not stay in memory with every later token.
	if r.buf.Cap() <= 64<<10 {
		readers.Put(r)
	}
}

// Object reads text as one strict JSON object and calls member for each of its
// members, in order. Name and value are valid only until member returns. The
// whole text has been checked only once Object has returned nil: until then a
// caller trusts nothing that member saw. An error of member's ends the reading
// and is returned as it is; no other error holds any part of text.
func Object(text []byte, member func(name []byte, value Value) error) error {
	return object(text, 0, MaxDepth-1, member)
}

// object reads an object that stands at an offset in the whole text. The values
// of its members may nest depth levels deep.
func object(text []byte, at, depth int, member func(name []byte, value Value) error) error {
	r := acquire(text)
	defer r.release()
	if r.dec.PeekKind() != '{' {
		return errNotObject
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return errSyntax
	}
	for r.dec.PeekKind() != '}' {
		quoted, err := r.dec.ReadValue()
		if err != nil {
			return errSyntax
		}
		name, err := unquote(r.name[:0], quoted)
		if err != nil {
			return errSyntax
		}
		// The next read may move what the name is a window into.
		r.name = append(r.name[:0], name...)
		raw, err := r.dec.ReadValue()
		if err != nil {
			return errSyntax
		}
		value := Value{raw, at + int(r.dec.InputOffset()) - len(raw)}
		if value.deeperThan(depth) {
			return errDepth
		}
		if err := member(r.name, value); err != nil {
			return err
		}
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return errSyntax
	}
	if _, err := r.dec.ReadToken(); err != io.EOF {
		return errTrailing
	}
	return nil
}

// Value is one member's value: JSON text that has been checked.
type Value struct {
	raw []byte
	at  int // its offset in the whole text
}

// Kind is 'n' for null, 't' or 'f' for a boolean, '"' for a string, '0' for a
// number, '{' for an object and '[' for an array.
func (v Value) Kind() byte { return byte(jsontext.Value(v.raw).Kind()) }

// Raw is the value's JSON text, valid as long as the Value is.
func (v Value) Raw() []byte { return v.raw }

// Text returns a string's content; ok is false for any other kind.
func (v Value) Text() (s string, ok bool) {
	if v.Kind() != '"' {
		return "", false
	}
	text, err := unquote(nil, v.raw)
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
	text, err := unquote(nil, v.raw)
	return err == nil && string(text) == s
}

// Elements calls element for each element of an array; it does nothing for any
// other kind.
func (v Value) Elements(element func(Value) error) error {
	if v.Kind() != '[' {
		return nil
	}
	r := acquire(v.raw)
	defer r.release()
	if _, err := r.dec.ReadToken(); err != nil {
		return errSyntax
	}
	for r.dec.PeekKind() != ']' {
		raw, err := r.dec.ReadValue()
		if err != nil {
			return errSyntax
		}
		if err := element(Value{raw, v.at + int(r.dec.InputOffset()) - len(raw)}); err != nil {
			return err
		}
	}
	return nil
}

// Members calls member for each member of an object, as [Object] does; it does
// nothing for any other kind.
func (v Value) Members(member func(name []byte, value Value) error) error {
	if v.Kind() != '{' {
		return nil
	}
	return object(v.raw, v.at, MaxDepth, member) // the depth is known to be within bounds
}

// deeperThan reports whether containers nest more than limit levels deep. The
// text is known to be valid JSON, so counting brackets outside strings is all
// that there is to do.
func (v Value) deeperThan(limit int) bool {
	if k := v.Kind(); k != '{' && k != '[' || len(v.raw) <= 2*limit {
		return false // each level takes two brackets
	}
	depth, quoted := 0, false
	for i := 0; i < len(v.raw); i++ {
		switch c := v.raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// unquote returns the content of a JSON string: a window into quoted where
// nothing in it is escaped, which is nearly always, else appended to dst.
func unquote(dst, quoted []byte) ([]byte, error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	return jsontext.AppendUnquote(dst, quoted)
}
