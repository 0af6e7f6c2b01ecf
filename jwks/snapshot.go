package jwks

import (
	stdjson "encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/bearerguard/bearerguard/internal/strictjson"
)

// saved is a key set (RFC 7517 §5) that says whose it is and how old.
type saved struct {
	Issuer  string               `json:"issuer,omitzero"`
	URL     string               `json:"url,omitzero"`
	Fetched int64                `json:"fetched"` // in seconds since 1970
	Keys    []stdjson.RawMessage `json:"keys"`
}

// Snapshot returns the set at hand for Config.Snapshot of a later process; nil
// if there is none. It holds public keys only.
func (c *Cache) Snapshot() []byte {
	if c == nil || c.ctx == nil {
		return nil
	}
	c.mu.Lock()
	set, fetched := c.full, c.snap.Load().fetched
	c.mu.Unlock()
	if set == nil || fetched.IsZero() {
		return nil
	}
	s := saved{Issuer: c.config.Issuer, URL: c.config.URL, Fetched: fetched.Unix()}
	for _, k := range set.keys {
		key, err := k.key.JWK(k.id, k.alg)
		if err != nil {
			return nil
		}
		s.Keys = append(s.Keys, key)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil
	}
	return text
}

// restore puts a snapshot in place before the first fetch.
func (c *Cache) restore(text []byte) error {
	set, err := parse(text)
	if err != nil {
		return err
	}
	var issuer, url string
	var fetched int64
	err = strictjson.Object(text, func(name []byte, v strictjson.Value) error {
		switch string(name) {
		case "issuer":
			issuer, _ = v.Text()
		case "url":
			url, _ = v.Text()
		case "fetched":
			fetched, _ = strconv.ParseInt(string(v.Raw()), 10, 64)
		}
		return nil
	})
	now := time.Now()
	age := now.Sub(time.Unix(fetched, 0))
	switch {
	case err != nil:
		return err
	case issuer != c.config.Issuer || url != c.config.URL:
		return errors.New("it is of another issuer or URL")
	case age < 0:
		return errors.New("it is of the future")
	case age >= c.config.MaxStale:
		return errors.New("it is older than MaxStale")
	}
	c.full = set
	c.snap.Store(&snapshot{set: set, fetched: now.Add(-age)}) // a clock that is set later changes no age
	after(&c.ageing, c.config.MaxStale/2-age, c.grow)
	return nil
}
