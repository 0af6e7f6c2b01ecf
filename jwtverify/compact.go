package jwtverify

import (
	"bytes"
	"strings"
	"sync"

	"github.com/bearerguard/bearerguard/internal/jose"
	"github.com/bearerguard/bearerguard/internal/strictjson"
)

const (
	maxToken  = 16 << 10 // bytes of a token
	maxHeader = 4 << 10  // bytes of its first segment, before decoding
)

// compact is a token in the compact form of RFC 7515 §7.1, taken apart. Its
// slices are windows into the scratch that it was split with.
type compact struct {
	header, payload, signature []byte // decoded
	input                      []byte // what the signature covers, as it came
}

// scratch is what splitting a token writes to.
type scratch struct{ token, decoded []byte }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// split takes a token apart and accepts one spelling of it only: a second one
// would slip past everything that knows tokens by their bytes.
func (s *scratch) split(token string) (compact, *Error) {
	var c compact
	if len(token) > maxToken {
		return c, refuse(ErrMalformed, "larger than 16 KiB")
	}
	// The segments are counted by looking for two dots and no third, which
	// costs the same however many there are.
	first := strings.IndexByte(token, '.')
	if first < 0 {
		return c, refuse(ErrMalformed, "no three segments")
	}
	second := first + 1 + strings.IndexByte(token[first+1:], '.')
	if second <= first || strings.IndexByte(token[second+1:], '.') >= 0 {
		return c, refuse(ErrMalformed, "no three segments")
	}
	if first > maxHeader {
		return c, refuse(ErrMalformed, "a header larger than 4 KiB")
	}
	s.token = append(s.token[:0], token...)
	c.input = s.token[:second]

	// Decoded text is shorter than its base64url, so that nothing below makes
	// the buffer move.
	if cap(s.decoded) < len(token) {
		s.decoded = make([]byte, 0, len(token))
	}
	rest := s.decoded[:0]
	for _, segment := range []struct {
		from, to int
		into     *[]byte
		name     string
	}{
		{0, first, &c.header, "the header"},
		{first + 1, second, &c.payload, "the payload"},
		{second + 1, len(token), &c.signature, "the signature"},
	} {
		out, err := jose.AppendBase64(rest, s.token[segment.from:segment.to])
		if err != nil {
			return compact{}, refuse(ErrMalformed, segment.name+" is "+err.Error())
		}
		*segment.into = out
		rest = out[len(out):]
	}
	return c, nil
}

// header is what a JOSE header (RFC 7515 §4) says that decides anything.
type header struct {
	alg, kid, typ  string
	hasKid, hasTyp bool
	accessToken    bool // typ is at+jwt
}

// readHeader reads a header, and refuses what no access token needs: every
// member that would change how the token is to be read.
func readHeader(text []byte) (header, *Error) {
	var h header
	var fault string
	member := func(v strictjson.Value, name string) string {
		s, ok := v.Text()
		if !ok && fault == "" {
			fault = name + " is not a string"
		}
		return s
	}
	err := strictjson.Object(text, func(name []byte, v strictjson.Value) error {
		switch string(name) {
		case "alg":
			h.alg = member(v, "alg")
		case "kid":
			h.kid, h.hasKid = member(v, "kid"), true
		case "typ":
			h.typ, h.hasTyp = member(v, "typ"), true
		case "crit":
			// RFC 7515 §4.1.11: none is understood here, and a list that is
			// empty or no list is not allowed either.
			fault = "crit, which names no extension that is understood"
		case "b64":
			fault = "b64, which no JWT may use (RFC 7797 §7)"
		case "enc":
			fault = "enc, which is of encrypted tokens"
		case "cty":
			if cty := mediaType(member(v, "cty")); cty == "jwt" {
				fault = "cty, which announces a nested JWT"
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return h, refuse(ErrMalformed, "the header: "+err.Error())
	case fault != "":
		return h, refuse(ErrMalformed, "the header: "+fault)
	case h.alg == "":
		return h, refuse(ErrMalformed, "the header: no alg")
	case len(h.kid) > jose.MaxKeyID:
		return h, refuse(ErrMalformed, "the header: kid is longer than 512 bytes")
	}
	return h, nil
}

// mediaType writes a typ or cty the one way in which they are compared (RFC 7515
// §4.1.9): in lower case, and without the "application/" that may be left out
// where no other slash follows.
func mediaType(value string) string {
	lower := []byte(value)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' { // ASCII only: no other letter folds to one of these
			lower[i] = c + 'a' - 'A'
		}
	}
	if rest, ok := bytes.CutPrefix(lower, []byte("application/")); ok && bytes.IndexByte(rest, '/') < 0 {
		return string(rest)
	}
	return string(lower)
}
