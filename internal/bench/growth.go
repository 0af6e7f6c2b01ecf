package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// dimension is something that grows, while the cost of a check should not, or
// not faster.
type dimension struct {
	name  string
	sizes []int // the first is what the others are compared with
	open  func(ctx context.Context, size, cacheBytes int) (verifyFunc, error)
}

// grown is one line of the table of growth.
type grown struct {
	Dimension string  `json:"dimension"`
	Size      int     `json:"size"`
	First     float64 `json:"first_ratio"` // to the first size of the dimension
	Again     float64 `json:"again_ratio"`
	FirstNs   float64 `json:"first_ns"`
	AgainNs   float64 `json:"again_ns"`
}

var dimensions = []dimension{
	{"keys in the set", []int{1, 10, 100}, func(ctx context.Context, size, cacheBytes int) (verifyFunc, error) {
		return openFleet(ctx, 1, size, 0, cacheBytes)
	}},
	{"issuers", []int{1, 100, 10_000}, func(ctx context.Context, size, cacheBytes int) (verifyFunc, error) {
		if cacheBytes == 0 {
			cacheBytes = manyBytes
		}
		return openFleet(ctx, size, 1, 0, cacheBytes)
	}},
	{"bytes of the token", []int{512, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16<<10 - 64}, func(ctx context.Context, size, cacheBytes int) (verifyFunc, error) {
		return openFleet(ctx, 1, 1, size, cacheBytes)
	}},
}

// manyBytes is room for a token of each of 10,000 issuers.
const manyBytes = 32 << 20

// openFleet makes Issuers of so many, with so many keys each, and verifies a token
// under each key of each issuer in turns.
func openFleet(ctx context.Context, issuers, keys, tokenSize, cacheBytes int) (verifyFunc, error) {
	var configs []jwtverify.Config
	var tokens []string
	for n := range issuers {
		name := issuerName + strconv.Itoa(n)
		var set []*jwks.Key
		for m := range keys {
			public, private, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				return nil, err
			}
			kid := strconv.Itoa(m)
			key, keyErr := jwks.NewKey(kid, "EdDSA", public)
			token, tokenErr := tokenOfSize(name, kid, private, tokenSize)
			if err := errors.Join(keyErr, tokenErr); err != nil {
				return nil, err
			}
			set = append(set, key)
			tokens = append(tokens, token)
		}
		source, err := jwks.NewSet(set...)
		if err != nil {
			return nil, err
		}
		configs = append(configs, jwtverify.Config{Issuer: name, Audience: []string{audience}, Keys: source})
	}
	all, err := jwtverify.NewIssuers(jwtverify.IssuersConfig{Configs: configs, CacheBytes: cacheBytes, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = all.Close() })
	turn := 0
	return func(string) error {
		token := tokens[turn]
		if turn++; turn == len(tokens) {
			turn = 0
		}
		_, err := all.Verify(ctx, token)
		return err
	}, nil
}

// tokenOfSize pads a small token with a claim that nobody asks for; 0: not at
// all.
func tokenOfSize(issuer, kid string, key ed25519.PrivateKey, size int) (string, error) {
	sign := func(padding int) (string, error) {
		claims := fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":"65f1c0ffee65f1c0ffee65f1","scope":"read:orders write:orders","exp":%d,"pad":%q}`,
			issuer, audience, time.Now().Add(time.Hour).Unix(), strings.Repeat("x", padding))
		header := jws.NewHeaders()
		if err := errors.Join(header.Set(jws.KeyIDKey, kid), header.Set(jws.TypeKey, "at+jwt")); err != nil {
			return "", err
		}
		token, err := jws.Sign([]byte(claims), jws.WithKey(jwa.EdDSA, key, jws.WithProtectedHeaders(header)))
		return string(token), err
	}
	token, err := sign(0)
	if err != nil || len(token) >= size {
		return token, err
	}
	return sign((size - len(token)) * 3 / 4)
}

// grow measures a dimension: each size in turns with the first.
func (d *dimension) grow(ctx context.Context, rounds int, slot time.Duration) ([]grown, error) {
	rows := make([]grown, len(d.sizes))
	for _, cacheBytes := range []int{-1, 0} {
		var lanes []*lane
		for _, size := range d.sizes {
			verify, err := d.open(ctx, size, cacheBytes)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", d.name, err)
			}
			lanes = append(lanes, &lane{name: d.name + " " + strconv.Itoa(size), verify: verify})
			for range size { // every token of the smaller dimensions was seen before
				if err := verify(""); err != nil {
					return nil, fmt.Errorf("%s: %w", d.name, err)
				}
			}
		}
		h := &heat{lanes: lanes[1:], floor: lanes[0]}
		if err := h.race(rounds, slot); err != nil {
			return nil, err
		}
		for i, l := range lanes {
			rows[i].Dimension, rows[i].Size = d.name, d.sizes[i]
			if cacheBytes < 0 {
				rows[i].First, rows[i].FirstNs = median(l.ratios), median(l.ns)
			} else {
				rows[i].Again, rows[i].AgainNs = median(l.ratios), median(l.ns)
			}
		}
	}
	return rows, nil
}

func printGrowth(w io.Writer, rows []grown) error {
	var out strings.Builder
	out.WriteString("\nGrowth (EdDSA), as a multiple of the first line of each part. Through Issuers, whose cache is of 32 MiB where there are many.\n")
	for i, r := range rows {
		if i == 0 || r.Dimension != rows[i-1].Dimension {
			fmt.Fprintf(&out, "\n%-32s %9s %9s %10s %10s\n", r.Dimension, "first", "again", "first ns", "again ns")
		}
		fmt.Fprintf(&out, "%-32d %9.2f %9.2f %10.0f %10.0f\n", r.Size, r.First, r.Again, r.FirstNs, r.AgainNs)
	}
	_, err := io.WriteString(w, out.String())
	return err
}
