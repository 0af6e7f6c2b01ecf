package jwtverify

import (
	"reflect"
	"time"

	"github.com/bearerguard/bearerguard/jwks"
)

// verified is what the cache keeps of a token. It settles what depends on the
// token's bytes and the Config alone: time, the key and the Checks are asked anew
// each time (see Verifier.again).
type verified struct {
	token *Token // the cache's own; callers get copies
	key   *jwks.Key
	from  time.Time // before which allowTime refuses the token, as it does from ValidUntil on
}

func (v *Verifier) verified(t *Token, key *jwks.Key) verified {
	from := t.NotBefore
	if t.IssuedAt.After(from) {
		from = t.IssuedAt
	}
	return verified{t, key, from.Add(-v.leeway)}
}

// CacheStatus describes the cache of verified tokens.
type CacheStatus struct {
	Entries int   // tokens that are kept
	Bytes   int64 // that they and the cache itself take, never above Config.CacheBytes

	Hits      uint64 // tokens that were decided about without their signature, since the start
	Misses    uint64 // tokens that were looked for in vain, whatever came of them
	Evictions uint64 // tokens that made room for others before they expired
}

var roomSize = int64(reflect.TypeFor[tokenRoom]().Size())

// size is what a Token takes in memory: its own struct, the claims, of which
// nearly all of its strings are parts, and what else its strings take.
func size(t *Token, strings int64) int64 {
	bytes := roomSize + allocated(int64(len(t.claims))) + strings
	if lists := len(t.Audience) + len(t.Scopes) + len(t.Roles); lists > roomFor {
		bytes += allocated(int64(lists) * 16)
	}
	return bytes
}

// allocated is roughly what the runtime takes for n bytes: nothing more, or up to
// a fifth, since so far apart are its size classes; above 32 KiB it counts pages.
func allocated(n int64) int64 {
	if n > 32<<10 {
		return (n + 8191) &^ 8191
	}
	return n + n/12
}
