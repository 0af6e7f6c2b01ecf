package jwks

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/bearerguard/bearerguard/internal/fetch"
	"github.com/bearerguard/bearerguard/internal/strictjson"
)

// discover asks an issuer's metadata for its jwks_uri. Both places where the
// standards put the document are tried, and the first that holds one of this
// very issuer counts. The reach is that of the connection it came by, which the
// jwks_uri must not leave.
func discover(ctx context.Context, client *fetch.Client, issuer string) (uri string, reach fetch.Reach, err error) {
	var faults []error
	for _, place := range wellKnown(issuer) {
		uri, reach, err := metadata(ctx, client, issuer, place)
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

func metadata(ctx context.Context, client *fetch.Client, issuer, place string) (string, fetch.Reach, error) {
	res, err := client.Get(ctx, fetch.Request{URL: place})
	if err != nil {
		return "", 0, err
	}
	uri, err := readMetadata(res.Body, client, issuer)
	return uri, res.Reach, err
}

// maxURI bounds what an issuer's document puts into Status and the log, in bytes.
const maxURI = 2048

// readMetadata takes the jwks_uri out of a document that is the issuer's own.
func readMetadata(text []byte, client *fetch.Client, issuer string) (string, error) {
	var echo, uri string
	err := strictjson.Object(text, func(member []byte, v strictjson.Value) error {
		switch string(member) {
		case "issuer":
			echo, _ = v.Text()
		case "jwks_uri":
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
		return "", errors.New("it names no jwks_uri")
	case len(uri) > maxURI:
		return "", fmt.Errorf("its jwks_uri is longer than %d bytes", maxURI)
	}
	if err := client.CheckLink(issuer, uri); err != nil {
		return "", fmt.Errorf("its jwks_uri: %w", err)
	}
	return uri, nil
}
