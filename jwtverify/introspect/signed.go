package introspect

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bearerguard/bearerguard/internal/jose"
	"github.com/bearerguard/bearerguard/internal/strictjson"
)

// Media types of answers (RFC 7662 §2.2, RFC 9701 §5).
const (
	plainAnswer  = "application/json"
	signedAnswer = "application/token-introspection+jwt"
	signedType   = "token-introspection+jwt"
)

const (
	maxHeader = 4 << 10     // bytes of a JWT's first segment
	maxAge    = time.Minute // of a signed answer: it was made for this very request
)

// open takes the answer out of a signed one (RFC 9701 §5), after every check that is
// to be made of it.
func (i *Introspector) open(ctx context.Context, text []byte, now time.Time) ([]byte, error) {
	head, rest, _ := strings.Cut(string(text), ".")
	payload, end, ok := strings.Cut(rest, ".")
	switch {
	case !ok || strings.Contains(end, "."):
		return nil, errors.New("no three segments")
	case len(head) > maxHeader:
		return nil, errors.New("a header larger than 4 KiB")
	case len(end) == 0:
		return nil, errors.New("an empty signature")
	}
	header, err := jose.AppendBase64(nil, head)
	if err != nil {
		return nil, errors.New("the header is " + err.Error())
	}
	h, err := readHeader(header)
	if err != nil {
		return nil, errors.New("the header: " + err.Error())
	}
	claims, err := jose.AppendBase64(nil, payload)
	if err != nil {
		return nil, errors.New("the payload is " + err.Error())
	}
	inner, err := i.readSigned(claims, now)
	if err != nil {
		return nil, err
	}
	signature, err := jose.AppendBase64(nil, end)
	if err != nil {
		return nil, errors.New("the signature is " + err.Error())
	}
	key, err := i.keys.Key(ctx, h.kid, h.alg)
	if err != nil || key == nil {
		return nil, errors.New("no key of the issuer's for it can be had")
	}
	if err := key.Verify(h.alg, text[:len(head)+1+len(payload)], signature); err != nil {
		return nil, err
	}
	return inner, nil
}

type header struct{ alg, kid, typ string }

// readHeader reads a JOSE header, and refuses whatever would change how the JWT is to
// be read.
func readHeader(text []byte) (h header, err error) {
	fault := ""
	err = strictjson.Object(text, func(name []byte, v strictjson.Value) error {
		member := func(into *string) {
			var ok bool
			if *into, ok = v.Text(); !ok {
				fault = string(name) + " is not a string"
			}
		}
		switch string(name) {
		case "alg":
			member(&h.alg)
		case "kid":
			if member(&h.kid); h.kid == "" || len(h.kid) > jose.MaxKeyID {
				fault = "kid is empty or too long"
			}
		case "typ":
			member(&h.typ)
		case "crit", "b64", "enc", "cty":
			fault = string(name) + ", which no answer needs"
		}
		return nil
	})
	switch {
	case err != nil:
		return h, err
	case fault != "":
		return h, errors.New(fault)
	case !slices.Contains(jose.Asymmetric(), h.alg):
		return h, errors.New("alg is not one of those with a public key")
	case !strings.EqualFold(h.typ, signedType) && !strings.EqualFold(h.typ, signedAnswer):
		return h, errors.New("typ is not " + signedType) // or any JWT of the issuer's would do
	}
	return h, nil
}

// readSigned checks the claims of a signed answer, and returns the one that is the
// answer proper.
func (i *Introspector) readSigned(text []byte, now time.Time) (inner []byte, err error) {
	issuer, audience := false, false
	issued, expires := time.Time{}, time.Time{}
	fault := ""
	date := func(v strictjson.Value, name string) time.Time {
		n, err := strconv.ParseFloat(string(v.Raw()), 64)
		if v.Kind() != '0' || err != nil || n < 0 || n > latest {
			fault = name + " is no date"
			return time.Time{}
		}
		return time.Unix(int64(n), 0)
	}
	err = strictjson.Object(text, func(name []byte, v strictjson.Value) error {
		switch string(name) {
		case "iss":
			issuer = v.Is(i.issuer)
		case "aud":
			audience = v.Is(i.clientID)
			_ = v.Elements(func(e strictjson.Value) error {
				audience = audience || e.Is(i.clientID)
				return nil
			})
		case "iat":
			issued = date(v, "iat")
		case "exp":
			expires = date(v, "exp")
		case "token_introspection":
			if v.Kind() == '{' {
				inner = v.Raw()
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, errors.New("the claims: " + err.Error())
	case fault != "":
		return nil, errors.New(fault)
	case !issuer:
		return nil, errors.New("iss is not the issuer")
	case !audience:
		return nil, errors.New("aud is not this client")
	case issued.IsZero():
		return nil, errors.New("iat is missing")
	case now.Sub(issued) > maxAge+i.leeway:
		return nil, errors.New("iat is long ago")
	case issued.Sub(now) > i.leeway:
		return nil, errors.New("iat is ahead")
	case !expires.IsZero() && !now.Before(expires.Add(i.leeway)):
		return nil, errors.New("exp has passed")
	case inner == nil:
		return nil, errors.New("token_introspection is no object")
	}
	return inner, nil
}

const latest = 253402300799 // the last second of the year 9999
