package strictjson

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// members is where those of a plain object are.
type members [32]struct{ name, nameEnd, value, valueEnd uint32 }

// plain reports whether jsontext would find text valid, and at most MaxDepth deep,
// for an object that leaves nothing to doubt: ASCII without escapes, whole numbers, few
// members in an object. Its no says nothing. Junk must cost next to nothing, and
// jsontext's check was a third of what a junk header cost. FuzzPlain holds every yes
// against jsontext. It says how many members there are, and where in found.
func plain(text []byte, found *members) (n int, ok bool) {
	i := skipSpace(text, 0)
	if uint64(len(text)) > math.MaxUint32 || i == len(text) || text[i] != '{' {
		return 0, false
	}
	n, end := plainObject(text, i, 1, found)
	return n, end > 0 && skipSpace(text, end) == len(text)
}

// plainValue returns where the value that begins at i ends, and 0 if it is not plain.
func plainValue(text []byte, i, depth int) int {
	if i >= len(text) || depth > MaxDepth {
		return 0
	}
	switch text[i] {
	case '"':
		return plainString(text, i)
	case '{':
		return plainInner(text, i, depth)
	case '[':
		return plainArray(text, i, depth)
	case 't':
		return plainWord(text, i, "true")
	case 'f':
		return plainWord(text, i, "false")
	case 'n':
		return plainWord(text, i, "null")
	default:
		return plainNumber(text, i)
	}
}

func plainInner(text []byte, i, depth int) int {
	var found members
	_, end := plainObject(text, i, depth, &found)
	return end
}

func plainObject(text []byte, i, depth int, found *members) (n, end int) {
	var seen uint64 // a bit for the names of a length and last letter
	if i = skipSpace(text, i+1); i < len(text) && text[i] == '}' {
		return 0, i + 1
	}
	for n := range found {
		if i >= len(text) || text[i] != '"' {
			return 0, 0
		}
		end := plainString(text, i)
		if end == 0 {
			return 0, 0
		}
		name := text[i+1 : end-1]
		bit := uint64(1) << ((uint(text[end-2])*8 + uint(len(name))) % 64)
		if seen&bit != 0 {
			for _, other := range found[:n] {
				if string(text[other.name:other.nameEnd]) == string(name) {
					return 0, 0
				}
			}
		}
		seen |= bit
		m := &found[n]
		m.name, m.nameEnd = uint32(i+1), uint32(end-1)
		if i = skipSpace(text, end); i >= len(text) || text[i] != ':' {
			return 0, 0
		}
		i = skipSpace(text, i+1)
		m.value = uint32(i)
		if i = plainValue(text, i, depth+1); i == 0 {
			return 0, 0
		}
		m.valueEnd = uint32(i)
		if i = skipSpace(text, i); i >= len(text) {
			return 0, 0
		}
		if text[i] == '}' {
			return n + 1, i + 1
		}
		if text[i] != ',' {
			return 0, 0
		}
		i = skipSpace(text, i+1)
	}
	return 0, 0 // too many to compare each with each
}

func plainArray(text []byte, i, depth int) int {
	if i = skipSpace(text, i+1); i < len(text) && text[i] == ']' {
		return i + 1
	}
	for {
		if i = plainValue(text, i, depth+1); i == 0 {
			return 0
		}
		if i = skipSpace(text, i); i >= len(text) {
			return 0
		}
		if text[i] == ']' {
			return i + 1
		}
		if text[i] != ',' {
			return 0
		}
		i = skipSpace(text, i+1)
	}
}

func plainString(text []byte, i int) int {
	i++
	for i < len(text) {
		if len(text)-i >= 8 {
			doubt := notInString(binary.LittleEndian.Uint64(text[i:]))
			if doubt == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(doubt) / 8
		} else if notInString(uint64(text[i])|spaces&^0xff) == 0 {
			i++
			continue
		}
		if text[i] == '"' {
			return i + 1
		}
		return 0
	}
	return 0
}

const (
	each   = 0x0101010101010101
	spaces = ' ' * each
)

// notInString looks at eight characters at once, since most of a text is strings. The
// lowest bit that it sets is in the first of them that ends a plain string or is not
// allowed in one: a control character, a quotation mark, a backslash, DEL, or beyond
// ASCII.
func notInString(c uint64) uint64 {
	const top = 0x80 * each
	quote, backslash, del := c^'"'*each, c^'\\'*each, c^0x7f*each
	// What is subtracted sets the highest bit of a character that is too small, or whose
	// highest bit is in c anyway.
	return ((c - spaces) | (quote - each) | (backslash - each) | (del - each) | c) & top
}

func plainWord(text []byte, i int, word string) int {
	if len(text)-i < len(word) || string(text[i:i+len(word)]) != word {
		return 0
	}
	return i + len(word)
}

// plainNumber knows no fraction and no exponent: what follows the digits is for
// whoever called to judge.
func plainNumber(text []byte, i int) int {
	if text[i] == '-' {
		i++
	}
	start := i
	for i < len(text) && '0' <= text[i] && text[i] <= '9' {
		i++
	}
	if i == start || text[start] == '0' && i > start+1 {
		return 0
	}
	return i
}
