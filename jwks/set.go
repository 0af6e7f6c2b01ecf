package jwks

import (
	"context"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/bearerguard/bearerguard/internal/fetch"
	"github.com/bearerguard/bearerguard/internal/jose"
	"github.com/bearerguard/bearerguard/internal/strictjson"
)

// maxKeys is the most entries that a set may have.
const maxKeys = 100

// Key is one key that was admitted, with the kid and the algorithm that its
// owner gave it. It is immutable and safe for concurrent use.
type Key struct {
	id  string
	alg string // "" where any algorithm of the key's type will do
	key *jose.Key
}

// NewKey makes a Key of an *rsa.PublicKey of 2048 to 8192 bits, an
// *ecdsa.PublicKey on P-256, P-384 or P-521, or an ed25519.PublicKey. An empty
// kid serves tokens without one; an empty alg serves every algorithm that fits
// the key.
func NewKey(kid, alg string, key crypto.PublicKey) (*Key, error) {
	admitted, err := jose.FromPublic(key)
	if err != nil {
		return nil, fmt.Errorf("jwks: NewKey: %w", err)
	}
	return newKey("NewKey", kid, alg, admitted)
}

// NewSecret makes a Key of a secret that is shared with the issuer, for one of
// HS256, HS384 and HS512. The secret is at least as long as the algorithm's
// hash, 32, 48 or 64 bytes (RFC 7518 §3.2), and comes from a random generator,
// not from a person. No Key of this kind ever comes from a key set.
func NewSecret(kid, alg string, secret []byte) (*Key, error) {
	least, ok := map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}[alg]
	if !ok {
		return nil, fmt.Errorf("jwks: NewSecret: alg is %q; write HS256, HS384 or HS512", alg)
	}
	if len(secret) < least {
		return nil, fmt.Errorf("jwks: NewSecret: a secret of %d bytes is too short; %s wants %d or more", len(secret), alg, least)
	}
	admitted, err := jose.FromSecret(secret)
	if err != nil {
		return nil, fmt.Errorf("jwks: NewSecret: %w", err)
	}
	return newKey("NewSecret", kid, alg, admitted)
}

func newKey(constructor, kid, alg string, key *jose.Key) (*Key, error) {
	if len(kid) > jose.MaxKeyID {
		return nil, fmt.Errorf("jwks: %s: kid is longer than %d bytes", constructor, jose.MaxKeyID)
	}
	if alg != "" && !slices.Contains(key.Algorithms(), alg) {
		return nil, fmt.Errorf("jwks: %s: %q is no algorithm for a key of type %s; write one of %q, or \"\" for all of them",
			constructor, alg, key.Type(), key.Algorithms())
	}
	return &Key{id: kid, alg: alg, key: key}, nil
}

// Verify checks one signature over input, made with exactly the algorithm that
// is named. An algorithm that the key is not meant for is refused before
// anything is computed (RFC 8725 §3.1).
func (k *Key) Verify(alg string, input, signature []byte) error {
	if k == nil || k.key == nil {
		return errors.New("jwks: a nil Key verifies nothing")
	}
	if k.alg != "" && k.alg != alg {
		return errors.New("jwks: the algorithm is not the key's")
	}
	if err := k.key.Verify(alg, input, signature); err != nil {
		return fmt.Errorf("jwks: %w", err)
	}
	return nil
}

func (k *Key) algorithms() []string {
	if k.alg != "" {
		return []string{k.alg}
	}
	return k.key.Algorithms()
}

// Equal reports whether two Keys are the same in kid, algorithm and key
// material.
func (k *Key) Equal(other *Key) bool {
	return k == other && k != nil || k != nil && other != nil && k.key != nil && other.key != nil && k.same(other)
}

func (k *Key) same(other *Key) bool {
	return k.id == other.id && k.alg == other.alg && k.sameMaterial(other)
}

func (k *Key) sameMaterial(other *Key) bool { return k.key.Thumbprint() == other.key.Thumbprint() }

// Set is a fixed set of keys. It is immutable and safe for concurrent use; the
// zero Set has no keys.
type Set struct {
	keys    []*Key
	refused []RefusedKey

	// What any (kid, alg) finds, worked out once. A nil value: two different
	// keys fit, so neither serves.
	byID  map[name]*Key
	byAlg map[string]*Key // for tokens without a kid
}

type name struct{ kid, alg string }

// RefusedKey is an entry of a key set that was left out, and why.
type RefusedKey struct {
	Index  int    // its place in the set, from 0
	KeyID  string // its kid, where that could be read; the issuer's words, up to 512 bytes
	Reason string // in this library's words
}

// Parse reads a JWK Set (RFC 7517 §5) that will not change: for keys that are
// shipped with a program, and for tests. Entries that may not be used are left
// out. It is an error if none is left, if the set has more than 100 entries or
// 256 KiB, or if it is not strictly valid JSON.
func Parse(jwks []byte) (*Set, error) {
	s, err := parse(jwks)
	if err != nil {
		return nil, fmt.Errorf("jwks: Parse: %w", err)
	}
	return s, nil
}

// NewSet makes a Set of keys from [NewKey] and [NewSecret]. Two different keys
// that fit the same kid and algorithm are an error.
func NewSet(keys ...*Key) (*Set, error) {
	if len(keys) == 0 {
		return nil, errors.New("jwks: NewSet: no keys; give at least one")
	}
	indexed := make([]entry, len(keys))
	for i, k := range keys {
		if k == nil || k.key == nil {
			return nil, fmt.Errorf("jwks: NewSet: key %d is nil", i)
		}
		indexed[i] = entry{i, k}
	}
	s := build(indexed)
	if len(s.refused) > 0 {
		return nil, fmt.Errorf("jwks: NewSet: key %d: %s", s.refused[0].Index, s.refused[0].Reason)
	}
	return s, nil
}

// Key finds the key for a token's kid and alg; an empty kid stands for a token
// without one, which is served only if exactly one key fits its alg. The error
// is [ErrKeyNotFound]. The context is not used.
func (s *Set) Key(_ context.Context, kid, alg string) (*Key, error) {
	if k := s.find(kid, alg); k != nil {
		return k, nil
	}
	return nil, ErrKeyNotFound
}

func (s *Set) find(kid, alg string) *Key {
	if s == nil {
		return nil
	}
	if kid == "" {
		return s.byAlg[alg]
	}
	return s.byID[name{kid, alg}]
}

// entry is a key and its place in the document that it came from.
type entry struct {
	index int
	key   *Key
}

func parse(text []byte) (*Set, error) {
	if len(text) > fetch.MaxBody {
		return nil, fmt.Errorf("larger than %d KiB", fetch.MaxBody>>10)
	}
	var entries []entry
	var refused []RefusedKey
	found := false
	err := strictjson.Object(text, func(member []byte, v strictjson.Value) error {
		if string(member) != "keys" {
			return nil // RFC 7517 §5: other members are ignored
		}
		if found = v.Kind() == '['; !found {
			return errors.New("keys is not an array")
		}
		index := -1
		return v.Elements(func(e strictjson.Value) error {
			if index++; index >= maxKeys {
				return fmt.Errorf("more than %d keys", maxKeys)
			}
			jwk, err := jose.ParseJWK(e)
			if err != nil {
				// RFC 7517 §5: what cannot be understood is ignored.
				refused = append(refused, RefusedKey{index, jwk.KeyID, err.Error()})
				return nil
			}
			entries = append(entries, entry{index, &Key{jwk.KeyID, jwk.Algorithm, jwk.Key}})
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errors.New("it has no member keys")
	}
	s := build(entries)
	s.refused = append(refused, s.refused...)
	if !s.usable() {
		if len(s.refused) == 0 {
			return nil, errors.New("the set is empty")
		}
		return nil, fmt.Errorf("none of its keys may be used; number %d: %s", s.refused[0].Index, s.refused[0].Reason)
	}
	return s, nil
}

func build(entries []entry) *Set {
	s := &Set{byID: map[name]*Key{}, byAlg: map[string]*Key{}}
	clash := map[name]bool{}
	for _, e := range entries {
		if slices.ContainsFunc(s.keys, e.key.same) {
			continue
		}
		s.keys = append(s.keys, e.key)
		for _, alg := range e.key.algorithms() {
			at := name{e.key.id, alg}
			switch other, taken := s.byID[at]; {
			case !taken:
				s.byID[at] = e.key
			case other == nil || !other.sameMaterial(e.key):
				s.byID[at], clash[at] = nil, true
			}
			switch other, taken := s.byAlg[alg]; {
			case !taken:
				s.byAlg[alg] = e.key
			case other == nil || !other.sameMaterial(e.key):
				s.byAlg[alg] = nil
			}
		}
	}
	for _, e := range entries {
		for _, alg := range e.key.algorithms() {
			if clash[name{e.key.id, alg}] {
				reason := "another key has the same kid for " + alg
				if e.key.id == "" {
					reason = "another key has no kid either, for " + alg
				}
				s.refused = append(s.refused, RefusedKey{e.index, e.key.id, reason})
				break
			}
		}
	}
	return s
}

// reuse takes over the *Key of every key that is in old too, so that a key's
// identity outlives a refresh that did not change it.
func (s *Set) reuse(old *Set) {
	if old == nil {
		return
	}
	kept := map[*Key]*Key{}
	for i, k := range s.keys {
		if at := slices.IndexFunc(old.keys, k.same); at >= 0 {
			s.keys[i] = old.keys[at]
			kept[k] = old.keys[at]
		}
	}
	for at, k := range s.byID {
		if old := kept[k]; old != nil {
			s.byID[at] = old
		}
	}
	for alg, k := range s.byAlg {
		if old := kept[k]; old != nil {
			s.byAlg[alg] = old
		}
	}
}

// deniedKey stands where a key is that an operator denied: found, so that
// nobody goes looking for it, and of no use.
var deniedKey = &Key{}

// allowed is the answer for a key that was found.
func (k *Key) allowed() (*Key, error) {
	if k == deniedKey {
		return nil, ErrKeyNotFound
	}
	return k, nil
}

// without is the set with the denied keys, by kid or thumbprint, marked.
func (s *Set) without(denied map[string]bool) *Set {
	gone := func(k *Key) bool { return k != nil && (denied[k.id] || denied[k.thumbprint()]) }
	if !slices.ContainsFunc(s.keys, gone) {
		return s
	}
	marked := &Set{keys: s.keys, refused: s.refused, byID: maps.Clone(s.byID), byAlg: maps.Clone(s.byAlg)}
	for at, k := range marked.byID {
		if gone(k) {
			marked.byID[at] = deniedKey
		}
	}
	for alg, k := range marked.byAlg {
		if gone(k) {
			marked.byAlg[alg] = deniedKey
		}
	}
	return marked
}

func (k *Key) thumbprint() string {
	sum := k.key.Thumbprint()
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (s *Set) usable() bool {
	for _, k := range s.byID {
		if k != nil {
			return true
		}
	}
	return false
}
