package redisrevoke

import (
	"errors"
	"net"
	"strconv"
	"sync/atomic"
)

// guard is a connection from which no reply comes that was not asked for, or that is
// larger than any that we ask for. The client makes room for as much as a reply
// announces, and would panic at lengths that make no sense and at one reply too many;
// here they end the connection before it sees them.
type guard struct {
	net.Conn
	sent, received replies
	err            error
}

var errReply = errors.New("redisrevoke: a reply is not RESP, was not asked for, or is larger than any that was")

// Write counts commands, which are arrays as replies are.
func (g *guard) Write(p []byte) (int, error) {
	if !g.sent.accept(p) {
		return 0, errors.New("redisrevoke: a command is larger than any of ours")
	}
	return g.Conn.Write(p)
}

// Read reads what is within the bounds.
func (g *guard) Read(p []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	n, err := g.Conn.Read(p)
	if !g.received.accept(p[:n]) || g.received.count.Load() > g.sent.count.Load() {
		g.err = errReply
		_ = g.Conn.Close()
		return 0, g.err
	}
	return n, err
}

const (
	maxLine     = 4 << 10  // bytes of a line, such as an error
	maxBulk     = 64 << 10 // bytes of a string
	maxBytes    = 32 << 20 // of the strings and lines of a reply
	maxElements = 1 << 17  // of a reply, those of arrays in arrays included
	maxDepth    = 8
)

// replies follows a stream of RESP 2 or 3.
type replies struct {
	line     []byte // so far, without its end
	skip     int    // bytes of a string that are still to come, with its end
	open     []int  // how many elements are missing in each array that we are in
	elements int    // of the reply so far
	bytes    int
	count    atomic.Int64 // of replies that are complete
}

// accept tells whether a piece of the stream is within the bounds.
func (r *replies) accept(piece []byte) bool {
	for len(piece) > 0 {
		if r.skip > 0 {
			n := min(r.skip, len(piece))
			piece = piece[n:]
			if r.skip -= n; r.skip == 0 {
				r.complete()
			}
			continue
		}
		b := piece[0]
		piece = piece[1:]
		if b != '\n' {
			if len(r.line) == maxLine {
				return false
			}
			r.line = append(r.line, b)
			continue
		}
		n := len(r.line)
		if r.bytes += n; r.bytes > maxBytes {
			return false
		}
		if n < 2 || r.line[n-1] != '\r' || !r.header(r.line[0], string(r.line[1:n-1])) {
			return false
		}
		r.line = r.line[:0]
	}
	return true
}

// header judges a line, which begins an element.
func (r *replies) header(kind byte, text string) bool {
	switch kind {
	case '+', '-', ':', ',', '(':
		r.complete()
		return true
	case '#', '_': // of which the client counts the bytes, and takes what is behind them for a reply
		r.complete()
		return kind == '_' && text == "" || kind == '#' && (text == "t" || text == "f")
	case '$', '!', '=', '*', '~', '%':
	default: // attributes, pushes and streamed strings come to those who ask for them
		return false
	}
	length, err := strconv.Atoi(text)
	switch {
	case err != nil || length < -1 || length > maxElements:
		return false
	case length == -1: // null, of the two kinds that may be, or the client panics
		if kind != '$' && kind != '*' {
			return false
		}
		r.complete()
	case kind == '$' || kind == '!' || kind == '=':
		r.bytes += length
		r.skip = length + 2
		return length <= maxBulk && r.bytes <= maxBytes
	default:
		if kind == '%' {
			length *= 2
		}
		r.elements += length
		if r.elements > maxElements || len(r.open) == maxDepth {
			return false
		}
		if length == 0 {
			r.complete()
			return true
		}
		r.open = append(r.open, length)
	}
	return true
}

// complete ends an element, and what it was the last one of.
func (r *replies) complete() {
	for i := len(r.open) - 1; i >= 0; i-- {
		if r.open[i]--; r.open[i] > 0 {
			return
		}
		r.open = r.open[:i]
	}
	r.elements, r.bytes = 0, 0
	r.count.Add(1)
}
