package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// ring is the keys, where the package's own example has one that never changes.
type ring struct {
	mu      sync.Mutex
	made    int
	all     []*key // published, the newest last
	signing *key
	ttl     time.Duration // of access tokens
}

// key is the private half and, as half tells, the public one.
type key struct {
	id      string
	private *rsa.PrivateKey
}

type half struct {
	*key
	part any
}

func (k *key) ID() string                                  { return k.id }
func (h half) Key() any                                    { return h.part }
func (h half) Use() string                                 { return "sig" }
func (h half) Algorithm() jose.SignatureAlgorithm          { return jose.RS256 }
func (h half) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }

func (r *ring) publish() error {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made++
	r.all = append(r.all, &key{fmt.Sprintf("rsa-%d", r.made), private})
	return nil
}

func (r *ring) activate() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.signing = r.all[len(r.all)-1]
	return nil
}

func (r *ring) retire() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = slices.DeleteFunc(r.all, func(k *key) bool { return k != r.signing })
	return nil
}

// live sets the lifetime of access tokens, in seconds.
func (r *ring) live(seconds string) error {
	n, err := strconv.Atoi(seconds)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ttl = time.Duration(n) * time.Second
	return nil
}

func (r *ring) expiry() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Add(r.ttl)
}

// SigningKey is what the next token is signed with.
func (r *ring) SigningKey(context.Context) (op.SigningKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return half{r.signing, r.signing.private}, nil
}

// SignatureAlgorithms is what the metadata says of ID tokens.
func (r *ring) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

// KeySet is what is published.
func (r *ring) KeySet(context.Context) (set []op.Key, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.all {
		set = append(set, half{k, &k.private.PublicKey})
	}
	return set, nil
}
