// Package discover finds an issuer's endpoints in its metadata (OpenID Connect
// Discovery §4, RFC 8414).
package discover

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/bearerguard/bearerguard/internal/fetch"
	"github.com/bearerguard/bearerguard/internal/strictjson"
)

// Find asks an issuer's metadata for one of its endpoints, by the name of the
// member, such as jwks_uri. Both places where the standards put the document are
// tried, and the first that holds one of this very issuer with that member counts.
// The reach is that of the connection it came by, which the endpoint must not
// leave.
func Find(ctx context.Context, client *fetch.Client, issuer, member string) (uri string, reach fetch.Reach, err error) {
	var faults []error
	for _, place := range wellKnown(issuer) {
		uri, reach, err := metadata(ctx, client, issuer, member, place)
		if err == nil {
			return uri, reach, nil
		}
		faults = append(faults, fmt.Errorf("metadata at %s: %w", place, err))
		if fetch.RetryAfter(err) > 0 {
			break // the other place is the same server's
		}
	}
	return "", 0, errors.Join(faults...)
}

// wellKnown lists where an issuer's metadata may be. OpenID Connect Discovery
// §4 appends to the issuer; RFC 8414 §3.1 inserts between host and path.
func wellKnown(issuer string) []string {
	base := strings.TrimSuffix(issuer, "/")
	places := []string{base + "/.well-known/openid-configuration"}
	if u, err := url.Parse(base); err == nil {
		places = append(places, u.Scheme+"://"+u.Host+"/.well-known/oauth-authorization-server"+u.EscapedPath())
	}
	return places
}

func metadata(ctx context.Context, client *fetch.Client, issuer, member, place string) (string, fetch.Reach, error) {
	res, err := client.Get(ctx, fetch.Request{URL: place})
	if err != nil {
		return "", 0, err
	}
	uri, err := read(res.Body, client, issuer, member)
	return uri, res.Reach, err
}

// maxURI bounds what an issuer's document puts into Status and the log, in bytes.
const maxURI = 2048

// read takes an endpoint out of a document that is the issuer's own.
func read(text []byte, client *fetch.Client, issuer, member string) (string, error) {
	var echo, uri string
	err := strictjson.Object(text, func(name []byte, v strictjson.Value) error {
		switch string(name) {
		case "issuer":
			echo, _ = v.Text()
		case member:
			uri, _ = v.Text()
		}
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case echo != issuer && strings.TrimSuffix(echo, "/") == strings.TrimSuffix(issuer, "/"):
		return "", errors.New("its issuer is not the one that was asked for: they differ in the last slash only, so write the issuer as the document has it")
	case echo != issuer:
		// RFC 8414 §3.3: identical, or the document must not be used.
		return "", errors.New("its issuer is not the one that was asked for")
	case uri == "":
		return "", errors.New("it names no " + member)
	case len(uri) > maxURI:
		return "", fmt.Errorf("its %s is longer than %d bytes", member, maxURI)
	}
	if err := client.CheckLink(issuer, uri); err != nil {
		return "", fmt.Errorf("its %s: %w", member, err)
	}
	return uri, nil
}
