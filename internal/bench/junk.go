package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// junk is a token that is refused before its signature is looked at: what a
// stranger can send as often as he likes.
type junk struct {
	name   string
	kind   kind
	reason jwtverify.Reason
	forge  func(f *forge) (string, error)
}

// forge makes junk out of a good token.
type forge struct {
	iss                        *issuer
	alg                        string
	header, payload, signature string // of a good token
}

func (f *forge) claims(changes map[string]any) (string, error) { return f.iss.token(f.alg, changes) }

// headed is the good token with another header, which its signature does not
// cover.
func (f *forge) headed(changes map[string]any) (string, error) {
	header := map[string]any{"alg": f.alg, "kid": f.alg, "typ": "at+jwt"}
	maps.Copy(header, changes)
	text, err := json.Marshal(header)
	return base64.RawURLEncoding.EncodeToString(text) + "." + f.payload + "." + f.signature, err
}

var allJunk = []junk{
	{"another audience", late, jwtverify.ErrAudience, func(f *forge) (string, error) {
		return f.claims(map[string]any{"aud": "https://other-api.example.com"})
	}},
	{"another issuer", late, jwtverify.ErrIssuer, func(f *forge) (string, error) {
		return f.claims(map[string]any{"iss": "https://other.example.com/"})
	}},
	{"expired", late, jwtverify.ErrExpired, func(f *forge) (string, error) {
		return f.claims(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})
	}},
	{"an unknown kid", late, jwtverify.ErrUnknownKey, func(f *forge) (string, error) {
		return f.headed(map[string]any{"kid": "unknown"})
	}},
	{"claims that are no JSON", late, jwtverify.ErrMalformed, func(f *forge) (string, error) {
		return f.header + "." + f.payload[:len(f.payload)/4*3] + "." + f.signature, nil
	}},
	{"a character outside base64url", late, jwtverify.ErrMalformed, func(f *forge) (string, error) {
		return f.header + ".!" + f.payload[1:] + "." + f.signature, nil
	}},
	{"the same, where it is found last", late, jwtverify.ErrMalformed, func(f *forge) (string, error) {
		return f.header + "." + f.payload + "." + f.signature[:len(f.signature)-1] + "!", nil
	}},

	{"larger than 16 KiB", early, jwtverify.ErrMalformed, func(f *forge) (string, error) {
		return f.header + "." + strings.Repeat(f.payload, 32) + "." + f.signature, nil
	}},
	{"two segments", early, jwtverify.ErrMalformed, func(f *forge) (string, error) {
		return f.header + "." + f.payload, nil
	}},
	{"four segments", early, jwtverify.ErrMalformed, func(f *forge) (string, error) {
		return f.header + "." + f.payload + "." + f.signature + ".", nil
	}},
	{"alg none", early, jwtverify.ErrAlgorithm, func(f *forge) (string, error) {
		return f.headed(map[string]any{"alg": "none"})
	}},
	{"an alg that is not listed", early, jwtverify.ErrAlgorithm, func(f *forge) (string, error) {
		return f.headed(map[string]any{"alg": "ES512"})
	}},
	{"crit", early, jwtverify.ErrMalformed, func(f *forge) (string, error) {
		return f.headed(map[string]any{"crit": []string{"exp"}})
	}},
	{"another typ", early, jwtverify.ErrType, func(f *forge) (string, error) {
		return f.headed(map[string]any{"typ": "dpop+jwt"})
	}},
	{"a header that is no JSON", early, jwtverify.ErrMalformed, func(f *forge) (string, error) {
		return f.header[:len(f.header)/2/4*4] + "." + f.payload + "." + f.signature, nil
	}},
}

// junkLanes opens a lane for each kind of junk, on one Verifier with its default
// cache.
func junkLanes(ctx context.Context, iss *issuer, alg string) ([]*lane, error) {
	v, err := newVerifier(ctx, iss, alg, cacheBytes(again))
	if err != nil {
		return nil, err
	}
	good, err := iss.token(alg, nil)
	if err == nil {
		_, err = v.Verify(ctx, good) // its header is known from now on, as in every day's work
	}
	if err != nil {
		return nil, err
	}
	part := strings.Split(good, ".")
	f := &forge{iss, alg, part[0], part[1], part[2]}
	var lanes []*lane
	for _, j := range allJunk {
		token, err := j.forge(f)
		if err != nil {
			return nil, err
		}
		l := &lane{name: j.name, kind: j.kind, verify: func(string) error {
			_, err := v.Verify(ctx, token)
			// ReasonOf would do, but allocates.
			if e, ok := err.(*jwtverify.Error); !ok || e.Reason != j.reason {
				return fmt.Errorf("%w where the reason should be %q", cause(err), j.reason)
			}
			return nil
		}}
		if err := l.verify(""); err != nil {
			return nil, fmt.Errorf("%s, %s: %w", alg, j.name, err)
		}
		lanes = append(lanes, l)
	}
	return lanes, nil
}

func cause(err error) error {
	if err == nil {
		return errors.New("nothing")
	}
	return err
}
