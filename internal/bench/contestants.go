package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/url"
	"strings"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	auth0jwks "github.com/auth0/go-jwt-middleware/v3/jwks"
	"github.com/auth0/go-jwt-middleware/v3/validator"
	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v2/jwk"
	jwxjwt "github.com/lestrrat-go/jwx/v2/jwt"
)

// verifyFunc checks one token: signature, algorithm, issuer, audience and
// expiry.
type verifyFunc func(token string) error

// contestant is one way to verify a token. open fetches the issuer's keys, so
// that no call of what it returns has to; ctx ends what it leaves running.
type contestant struct {
	name string // fit for the name of a Go benchmark
	kind kind
	peer bool // not ours
	open func(ctx context.Context, iss *issuer, alg string) (verifyFunc, error)
}

const (
	oursName    = "bearerguard"
	againName   = "bearerguard-again"
	keyfuncName = "keyfunc-v3+golang-jwt-v5"
)

var contestants = []contestant{
	{oursName, first, false, openFirst},
	{againName, again, false, openAgain},
	{keyfuncName, first, true, openKeyfunc},
	{"go-oidc-v3", first, true, openGoOIDC},
	{"auth0-go-jwt-middleware-v3", first, true, openAuth0},
	{"jwx-v2", first, true, openJWX},
}

// floor is what every contestant is measured against: what nobody can leave
// out.
var floor = contestant{"floor", "", true, openFloor}

// cacheBytes turns the cache of verified tokens off where every call is to be a
// first verification; else it is the one that everybody has by default.
func cacheBytes(k kind) int {
	if k == first {
		return -1
	}
	return 0
}

func openFirst(ctx context.Context, iss *issuer, alg string) (verifyFunc, error) {
	return openOurs(ctx, iss, alg, first)
}

func openAgain(ctx context.Context, iss *issuer, alg string) (verifyFunc, error) {
	return openOurs(ctx, iss, alg, again)
}

func openOurs(ctx context.Context, iss *issuer, alg string, k kind) (verifyFunc, error) {
	v, err := newVerifier(ctx, iss, alg, cacheBytes(k))
	return func(token string) error {
		_, err := v.Verify(ctx, token)
		return err
	}, err
}

func newVerifier(ctx context.Context, iss *issuer, alg string, cacheBytes int) (*jwtverify.Verifier, error) {
	v, err := jwtverify.New(jwtverify.Config{
		Issuer:     issuerName,
		Audience:   []string{audience},
		Algorithms: []string{alg},
		JWKS:       jwks.Config{URL: iss.URL, Cooldown: time.Hour}, // longer than any race of junk
		CacheBytes: cacheBytes,
		Logger:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = v.Close() })
	return v, v.Ready(ctx)
}

func openKeyfunc(ctx context.Context, iss *issuer, alg string) (verifyFunc, error) {
	keys, err := keyfunc.NewDefaultCtx(ctx, []string{iss.URL})
	if err != nil {
		return nil, err
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{alg}),
		jwt.WithIssuer(issuerName),
		jwt.WithAudience(audience),
		jwt.WithExpirationRequired())
	return func(token string) error {
		_, err := parser.Parse(token, keys.Keyfunc)
		return err
	}, nil
}

func openGoOIDC(ctx context.Context, iss *issuer, alg string) (verifyFunc, error) {
	verifier := oidc.NewVerifier(issuerName, oidc.NewRemoteKeySet(ctx, iss.URL),
		&oidc.Config{ClientID: audience, SupportedSigningAlgs: []string{alg}})
	return func(token string) error {
		_, err := verifier.Verify(ctx, token)
		return err
	}, nil
}

func openAuth0(ctx context.Context, iss *issuer, alg string) (verifyFunc, error) {
	issuerURL, err := url.Parse(issuerName)
	if err != nil {
		return nil, err
	}
	keysURL, err := url.Parse(iss.URL)
	if err != nil {
		return nil, err
	}
	provider, err := auth0jwks.NewCachingProvider(auth0jwks.WithIssuerURL(issuerURL), auth0jwks.WithCustomJWKSURI(keysURL))
	if err != nil {
		return nil, err
	}
	v, err := validator.New(
		validator.WithKeyFunc(provider.KeyFunc),
		validator.WithAlgorithm(validator.SignatureAlgorithm(alg)),
		validator.WithIssuer(issuerName),
		validator.WithAudience(audience))
	if err != nil {
		return nil, err
	}
	return func(token string) error {
		_, err := v.ValidateToken(ctx, token)
		return err
	}, nil
}

func openJWX(ctx context.Context, iss *issuer, alg string) (verifyFunc, error) {
	cache := jwk.NewCache(ctx)
	// jwt.Parse takes no list of algorithms: each key brings its own. So the
	// set is the list.
	onlyAlg := func(_ string, all jwk.Set) (jwk.Set, error) {
		kept := jwk.NewSet()
		for i := range all.Len() {
			if key, ok := all.Key(i); ok && key.Algorithm().String() == alg {
				if err := kept.AddKey(key); err != nil {
					return nil, err
				}
			}
		}
		return kept, nil
	}
	if err := cache.Register(iss.URL, jwk.WithPostFetcher(jwk.PostFetchFunc(onlyAlg))); err != nil {
		return nil, err
	}
	if _, err := cache.Refresh(ctx, iss.URL); err != nil {
		return nil, err
	}
	options := []jwxjwt.ParseOption{
		jwxjwt.WithKeySet(jwk.NewCachedSet(cache, iss.URL)),
		jwxjwt.WithIssuer(issuerName),
		jwxjwt.WithAudience(audience),
		jwxjwt.WithRequiredClaim("exp"),
	}
	return func(token string) error {
		_, err := jwxjwt.ParseString(token, options...)
		return err
	}, nil
}

// openFloor decodes the three segments and checks the signature under a key in
// hand. It reads no JSON.
func openFloor(_ context.Context, iss *issuer, alg string) (verifyFunc, error) {
	var check func(input, signature []byte) error
	switch key := iss.keys[alg].Public().(type) {
	case *rsa.PublicKey:
		check = func(input, signature []byte) error {
			digest := sha256.Sum256(input)
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature)
		}
	case *ecdsa.PublicKey:
		check = func(input, signature []byte) error {
			digest := sha256.Sum256(input)
			if len(signature) != 64 {
				return errSignature
			}
			r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
			return verdict(ecdsa.Verify(key, digest[:], r, s))
		}
	case ed25519.PublicKey:
		check = func(input, signature []byte) error {
			return verdict(ed25519.Verify(key, input, signature))
		}
	default:
		return nil, fmt.Errorf("no floor for a %T", key)
	}
	return func(token string) error {
		first, last := strings.IndexByte(token, '.'), strings.LastIndexByte(token, '.')
		if first == last {
			return errors.New("not three segments")
		}
		raw, decoded := []byte(token), make([]byte, len(token))
		if _, err := base64.RawURLEncoding.Decode(decoded, raw[:first]); err != nil {
			return err
		}
		if _, err := base64.RawURLEncoding.Decode(decoded, raw[first+1:last]); err != nil {
			return err
		}
		n, err := base64.RawURLEncoding.Decode(decoded, raw[last+1:])
		if err != nil {
			return err
		}
		return check(raw[:last], decoded[:n])
	}, nil
}

var errSignature = errors.New("bad signature")

func verdict(ok bool) error {
	if ok {
		return nil
	}
	return errSignature
}
