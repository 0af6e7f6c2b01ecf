package jwks

import (
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Status is what an operator may want to know of a Cache. It holds no secret.
type Status struct {
	URL     string       // the jwks_uri that keys were last fetched from
	Keys    []KeyStatus  // the set at hand
	Refused []RefusedKey // entries of it that were left out

	Fetched     time.Time // when the set at hand came; zero if there is none
	NextRefresh time.Time // when the timer will fetch again
	HalfStale   bool      // the set at hand is older than half of MaxStale
	TooStale    bool      // and older than MaxStale: every token is refused

	LastError   string    // of the last fetch; "" if it succeeded
	LastErrorAt time.Time // of the last fetch that failed, since the start

	Fetches           uint64 // that ended, since the start
	Failures          uint64 // of those
	UnknownKeyFetches uint64 // that were begun for an unknown kid
}

// KeyStatus describes a key.
type KeyStatus struct {
	KeyID     string // "" if it has none; the issuer's words, up to 512 bytes
	Algorithm string // "" if it serves every algorithm that fits its type
	Type      string // type and curve, such as "RSA" and "EC P-256"

	Thumbprint string // SHA-256, in base64url (RFC 7638)
	Denied     bool   // by Cache.Deny
}

// Status describes the Cache at this moment.
func (c *Cache) Status() Status {
	if c == nil || c.ctx == nil {
		return Status{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	status, snap := c.status, c.snap.Load()
	status.URL, status.NextRefresh, status.Fetched = c.uri, c.next, snap.fetched
	age := time.Since(snap.fetched)
	status.HalfStale = snap.set != nil && age >= c.config.MaxStale/2
	status.TooStale = snap.set != nil && age >= c.config.MaxStale
	if snap.set != nil {
		status.Refused = slices.Clone(snap.set.refused)
		for _, k := range snap.set.keys {
			print := k.thumbprint()
			status.Keys = append(status.Keys, KeyStatus{
				KeyID: k.id, Algorithm: k.alg, Type: k.key.Type(), Thumbprint: print, Denied: c.denied[k.id] || c.denied[print],
			})
		}
	}
	return status
}

// changes reports what is new in a set, one line for each entry: an operator
// reads once that a key is of no use, not at every refresh.
func (c *Cache) changes(old, now *Set) (logs []func()) {
	var before Set
	if old != nil {
		before = *old
		if added, gone := len(missing(now.keys, before.keys)), len(missing(before.keys, now.keys)); added+gone > 0 {
			logs = append(logs, func() { c.log(slog.LevelInfo, "jwks: the keys changed", "added", added, "withdrawn", gone) })
		}
	}
	for _, r := range now.refused {
		// The place of an entry is no news: some issuers shuffle theirs.
		known := func(b RefusedKey) bool { return b.KeyID == r.KeyID && b.Reason == r.Reason }
		if !slices.ContainsFunc(before.refused, known) {
			logs = append(logs, func() {
				c.log(slog.LevelWarn, "jwks: a key was left out", "index", r.Index, "kid", printable(r.KeyID), "reason", r.Reason)
			})
		}
	}
	return logs
}

// missing lists the keys of a that are not in b.
func missing(a, b []*Key) []*Key {
	return slices.DeleteFunc(slices.Clone(a), func(k *Key) bool {
		return slices.ContainsFunc(b, k.same)
	})
}

// printable bounds and cleans text that may hold a stranger's words.
func printable(text string) string {
	const most = 300
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}
