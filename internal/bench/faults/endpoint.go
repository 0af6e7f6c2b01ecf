package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"
)

const (
	issuerID = "https://issuer.example.com/"
	audience = "https://api.example.com"
)

// key signs by RS256.
type key struct {
	kid     string
	private *rsa.PrivateKey
}

// jwk is the public key; changes add and override members.
func (k *key) jwk(changes entry) entry {
	members := entry{
		"kty": "RSA", "kid": k.kid, "alg": "RS256", "use": "sig",
		"n": encode(k.private.N.Bytes()),
		"e": encode(big.NewInt(int64(k.private.E)).Bytes()),
	}
	for name, value := range changes {
		if value == nil {
			delete(members, name)
		} else {
			members[name] = value
		}
	}
	return members
}

// entry is one key of a set.
type entry map[string]any

// token is an access token that is good in every respect but, for a forgery, its
// kid.
func (k *key) token(kid string) (string, error) {
	now := time.Now()
	header, err := json.Marshal(map[string]any{"alg": "RS256", "kid": kid, "typ": "JWT"})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{
		"iss": issuerID, "aud": audience, "sub": "subject", "client_id": "client", "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})
	if err != nil {
		return "", err
	}
	input := encode(header) + "." + encode(claims)
	digest := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(rand.Reader, k.private, crypto.SHA256, digest[:])
	return input + "." + encode(signature), err
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// endpoint is a jwks_uri on loopback that answers as it is told.
type endpoint struct {
	*httptest.Server
	requests atomic.Int64
	over     context.Context // hanging answers return when it ends
	release  context.CancelFunc

	mu     sync.Mutex
	answer http.HandlerFunc
}

func newEndpoint(answer http.HandlerFunc) *endpoint {
	e := &endpoint{answer: answer}
	e.over, e.release = context.WithCancel(context.Background())
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.requests.Add(1)
		e.mu.Lock()
		answer := e.answer
		e.mu.Unlock()
		answer(w, r)
	}))
	return e
}

func (e *endpoint) respond(answer http.HandlerFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = answer
}

func (e *endpoint) close() {
	e.release()
	e.CloseClientConnections()
	e.Close()
}

// publish answers with a key set. It says that it is good for a second, which
// is as long as the contestants are told to keep it where they can be told.
func publish(keys ...entry) http.HandlerFunc {
	if keys == nil {
		keys = []entry{}
	}
	return document(map[string]any{"keys": keys})
}

func document(v any) http.HandlerFunc {
	body, err := json.Marshal(v)
	return func(w http.ResponseWriter, _ *http.Request) {
		if err != nil {
			panic(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "max-age=1")
		_, _ = w.Write(body)
	}
}

func down(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "the issuer is down", http.StatusServiceUnavailable)
}

func html(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = w.Write([]byte("<!doctype html><title>Sign in</title>"))
}

// hang answers nothing until it is released.
func (e *endpoint) hang(_ http.ResponseWriter, r *http.Request) {
	select {
	case <-e.over.Done():
	case <-r.Context().Done():
	}
	panic(http.ErrAbortHandler)
}

// flood answers with a good key set behind that many bytes of padding.
func flood(size int, keys ...entry) http.HandlerFunc {
	set, err := json.Marshal(keys)
	padding := make([]byte, 64<<10)
	for i := range padding {
		padding[i] = 'A'
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		if err != nil {
			panic(err)
		}
		w.Header().Set("Content-Type", "application/json")
		_, err := w.Write([]byte(`{"padding":"`))
		for sent := 0; sent < size && err == nil; sent += len(padding) {
			_, err = w.Write(padding)
		}
		_, _ = w.Write([]byte(`","keys":` + string(set) + `}`))
	}
}
