package jwtverify

import (
	"maps"
	"strings"
	"sync/atomic"
)

// headers remembers what header segments say, letter by letter: an issuer's
// tokens come with one or a few, and reading them anew each time is a good part
// of what a verification costs beside the signature. Only a segment of a token
// whose signature held gets in, so nobody but the issuer decides how many there
// are. What it says depends on the segment and the Config alone; the key is
// asked for anew each time.
type headers struct {
	known atomic.Pointer[map[string]header]
}

const maxHeaders = 64

func (m *headers) get(segment string) (header, bool) {
	known := m.known.Load()
	if known == nil {
		return header{}, false
	}
	h, ok := (*known)[segment]
	return h, ok
}

// put may lose against another put, which costs one more reading later.
func (m *headers) put(segment string, h header) {
	next := map[string]header{}
	if known := m.known.Load(); known != nil && len(*known) < maxHeaders {
		next = maps.Clone(*known)
	}
	next[strings.Clone(segment)] = h
	m.known.Store(&next)
}
