package jwtverify

import (
	"cmp"
	"crypto/sha256"
	"hash/maphash"
	"reflect"
	"time"

	"github.com/bearerguard/bearerguard/internal/cache"
	"github.com/bearerguard/bearerguard/jwks"
)

// tokens remembers verified tokens, those of one Verifier or of many.
type tokens struct {
	*cache.Cache[verified]
	seed maphash.Seed // of tags
}

// newTokens makes one of that many bytes, as Config.CacheBytes says; nil for none.
func newTokens(bytes int) *tokens {
	if bytes < 0 {
		return nil
	}
	c := cache.New[verified](cmp.Or(bytes, defaultCache), roomSize)
	if c == nil {
		return nil
	}
	return &tokens{c, maphash.MakeSeed()}
}

// verified is what is kept of a token. It settles what depends on the token's bytes
// and the Config alone: time, the key and the Checks are asked anew each time (see
// Verifier.recall).
type verified struct {
	by    *Verifier // whose Config settled it
	token *Token    // the cache's own; callers get copies
	key   *jwks.Key
	from  time.Time // before which allowTime refuses the token, as it does from ValidUntil on
}

func (v *Verifier) verified(t *Token, key *jwks.Key) verified {
	from := t.NotBefore
	if t.IssuedAt.After(from) {
		from = t.IssuedAt
	}
	return verified{v, t, key, from.Add(-v.leeway)}
}

// tag is where a token is: by its header and the end of its signature, which nobody
// can choose who cannot sign. So a token that was not seen before is not hashed
// whole in vain.
func (m *tokens) tag(c compact) cache.Tag {
	end := c.signature[max(0, len(c.signature)-16):]
	return cache.Tag(maphash.String(m.seed, c.header) ^ maphash.String(m.seed, end))
}

// find finds a token that was kept; nil if it was not.
func (m *tokens) find(s *scratch, c compact) *cache.Entry[verified] {
	if m == nil {
		return nil
	}
	if e := m.Get(m.tag(c)); e != nil {
		if sum := sha256.Sum256(s.bytes(c.token)); m.Is(e, &sum) {
			return e
		}
	}
	m.Count(s.lane, false)
	return nil
}

// keep keeps a token, whose strings take some bytes beside its claims.
func (m *tokens) keep(s *scratch, c compact, kept verified, strings int64, now time.Time) {
	sum := sha256.Sum256(s.bytes(c.token))
	m.Put(m.tag(c), &sum, kept, size(kept.token, strings), kept.token.ValidUntil, now)
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
