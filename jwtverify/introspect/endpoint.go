package introspect

import (
	"context"
	"time"

	"github.com/bearerguard/bearerguard/internal/bounded"
	"github.com/bearerguard/bearerguard/internal/discover"
	"github.com/bearerguard/bearerguard/internal/fetch"
)

const maxFind = 2 * time.Second // how long the endpoint is looked for

// place is where the endpoint is.
type place struct {
	url    string
	within fetch.Reach
}

func (i *Introspector) found() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.place.url != ""
}

// find finds the endpoint. One that has moved is looked for anew; while that fails the
// old one is asked.
func (i *Introspector) find(ctx context.Context) (place, *trouble) {
	i.mu.Lock()
	at, known := i.place, i.place.url != "" && !i.lost
	i.mu.Unlock()
	if known {
		return at, nil
	}
	nowhere := func(err error) *trouble {
		return &trouble{detail: "no endpoint: " + bounded.Text(err.Error()), retryAfter: fetch.RetryAfter(err)}
	}
	select {
	case i.finding <- struct{}{}:
	case <-ctx.Done():
		return place{}, nowhere(ctx.Err())
	}
	defer func() { <-i.finding }()
	i.mu.Lock()
	at, known = i.place, i.place.url != "" && !i.lost
	i.mu.Unlock()
	if known { // somebody else found it meanwhile
		return at, nil
	}
	// Where no metadata can be had there must be time left to ask the old endpoint.
	ctx, cancel := context.WithTimeout(ctx, maxFind)
	defer cancel()
	url, reach, err := discover.Find(ctx, i.finder, i.issuer, "introspection_endpoint")
	if err != nil && at.url == "" {
		return place{}, nowhere(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err == nil {
		i.place = place{url, reach}
	}
	i.lost = false
	return i.place, nil
}
