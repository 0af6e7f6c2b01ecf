package jwtverify

import (
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/bearerguard/bearerguard/internal/jose"
	"github.com/bearerguard/bearerguard/internal/strictjson"
)

const (
	maxToken  = 16 << 10 // bytes of a token
	maxHeader = 4 << 10  // bytes of its first segment, before decoding
)

// compact is a token in the compact form of RFC 7515 §7.1, taken apart. Its parts are
// windows into the token, as it came.
type compact struct {
	token                      string
	header, payload, signature string
}

// signed is what the signature covers.
func (c compact) signed() string { return c.token[:len(c.header)+1+len(c.payload)] }

// split finds the three segments of a token.
func split(token string) (compact, *Error) {
	if len(token) > maxToken {
		return compact{}, refuse(ErrMalformed, "larger than 16 KiB")
	}
	// The segments are counted by looking for two dots and no third, which
	// costs the same however many there are.
	first := strings.IndexByte(token, '.')
	if first < 0 {
		return compact{}, refuse(ErrMalformed, noThreeSegments)
	}
	second := first + 1 + strings.IndexByte(token[first+1:], '.')
	if second <= first || strings.IndexByte(token[second+1:], '.') >= 0 {
		return compact{}, refuse(ErrMalformed, noThreeSegments)
	}
	if first > maxHeader {
		return compact{}, refuse(ErrMalformed, "a header larger than 4 KiB")
	}
	return compact{token, token[:first], token[first+1 : second], token[second+1:]}, nil
}

// scratch is what reading a token writes to. Its pool keeps one for each processor, as
// far as it can, and so the lane in which that one counts.
type scratch struct {
	copied, decoded []byte
	room            tokenRoom // for a token that is not verified yet
	used            bool      // is the room
	lane            uint32
}

var scratches = sync.Pool{New: func() any { return &scratch{lane: rand.Uint32()} }}

// scratchFor is one with room for what a token decodes to, so that what is decoded never
// moves and leaves a part of a token behind.
func scratchFor(token string) *scratch {
	s := scratches.Get().(*scratch)
	if cap(s.decoded) < len(token) {
		s.decoded = make([]byte, 0, len(token))
	}
	return s
}

func (s *scratch) release() {
	s.empty()
	scratches.Put(s)
}

// empty takes out what was read. The room is often empty: a flood of junk does not get
// so far.
func (s *scratch) empty() {
	clear(s.copied) // or the pool would keep tokens
	clear(s.decoded)
	s.copied, s.decoded = s.copied[:0], s.decoded[:0]
	if s.used {
		s.room, s.used = tokenRoom{}, false
	}
}

// bytes copies text for what hashes it. It is good until the next call.
func (s *scratch) bytes(text string) []byte {
	clear(s.copied)
	s.copied = append(s.copied[:0], text...)
	return s.copied
}

// decode decodes a segment. It accepts one spelling only: a second one would slip
// past everything that knows tokens by their bytes.
func (s *scratch) decode(segment, name string) ([]byte, *Error) {
	start := len(s.decoded)
	out, err := jose.AppendBase64(s.decoded, segment)
	if err != nil {
		room := s.decoded[start:cap(s.decoded)]
		clear(room[:min(len(room), len(segment))]) // of what came before the fault
		return nil, refuse(ErrMalformed, name+" is "+err.Error())
	}
	s.decoded = out
	return out[start:], nil
}

// header is what a JOSE header (RFC 7515 §4) says that decides anything.
type header struct {
	alg, kid, typ  string
	hasKid, hasTyp bool
	accessToken    bool // typ is at+jwt
}

const inHeader = "the header: "

// readHeader reads a header, and refuses what no access token needs: every
// member that would change how the token is to be read.
func readHeader(text []byte) (header, *Error) {
	var h header
	var fault string
	whole := string(text) // which alg, kid and typ are parts of
	member := func(v strictjson.Value, name string) string {
		s, ok := v.TextIn(whole)
		if !ok && fault == "" {
			fault = inHeader + name + " is not a string"
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
			fault = inHeader + "crit, which names no extension that is understood"
		case "b64":
			fault = inHeader + "b64, which no JWT may use (RFC 7797 §7)"
		case "enc":
			fault = inHeader + "enc, which is of encrypted tokens"
		case "cty":
			if cty := mediaType(member(v, "cty")); cty == "jwt" {
				fault = inHeader + "cty, which announces a nested JWT"
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return h, refuse(ErrMalformed, inHeader+err.Error())
	case fault != "":
		return h, refuse(ErrMalformed, fault)
	case h.alg == "":
		return h, refuse(ErrMalformed, inHeader+"no alg")
	case len(h.kid) > jose.MaxKeyID:
		return h, refuse(ErrMalformed, inHeader+"kid is longer than 512 bytes")
	}
	return h, nil
}

// mediaType writes a typ or cty the one way in which they are compared (RFC 7515
// §4.1.9): in lower case, and without the "application/" that may be left out
// where no other slash follows.
func mediaType(value string) string {
	if strings.ContainsFunc(value, isUpper) {
		lower := []byte(value)
		for i, c := range lower {
			if isUpper(rune(c)) {
				lower[i] = c + 'a' - 'A'
			}
		}
		value = string(lower)
	}
	if rest, ok := strings.CutPrefix(value, "application/"); ok && !strings.Contains(rest, "/") {
		return rest
	}
	return value
}

// isUpper is about ASCII only: no other letter may fold to one of these.
func isUpper(r rune) bool { return 'A' <= r && r <= 'Z' }
