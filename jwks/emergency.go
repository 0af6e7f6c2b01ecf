package jwks

// Deny refuses every token of a key at once, by its kid or by its thumbprint as
// Status shows it: for a key known to be stolen that its issuer still publishes.
// It holds over refreshes until [Cache.Allow], and costs the issuer no fetch. A
// key need not be there to be denied.
func (c *Cache) Deny(key string) { c.deny(key, true) }

// Allow lifts a [Cache.Deny] of the same name.
func (c *Cache) Allow(key string) { c.deny(key, false) }

// refuses reports whether a kid is denied, for when its key is not there to be
// marked: nobody needs to go looking for it.
func (c *Cache) refuses(kid string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.denied[kid] && !c.closed
}

func (c *Cache) deny(key string, denied bool) {
	if c == nil || c.ctx == nil || key == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if denied {
		c.denied[key] = true
	} else {
		delete(c.denied, key)
	}
	if s := c.snap.Load(); s.set != nil {
		c.snap.Store(&snapshot{set: c.full.without(c.denied), fetched: s.fetched})
	}
}
