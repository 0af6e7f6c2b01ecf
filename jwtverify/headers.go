package jwtverify

import (
	"maps"
	"math/rand/v2"
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

const maxHeaders = 128 // more than keys in a set

func (m *headers) get(segment string) (header, bool) {
	known := m.known.Load()
	if known == nil {
		return header{}, false
	}
	h, ok := (*known)[segment]
	return h, ok
}

// put may lose against another put, which costs one more reading later. It copies
// what is there, and the more there is the more seldom, so that it costs the same
// where no header comes twice; one that comes often has its turn soon.
func (m *headers) put(segment string, h header) {
	next := map[string]header{}
	if known := m.known.Load(); known != nil {
		if rand.IntN(len(*known)) > 0 {
			return
		}
		if len(*known) < maxHeaders {
			next = maps.Clone(*known)
		}
	}
	next[strings.Clone(segment)] = h
	m.known.Store(&next)
}
