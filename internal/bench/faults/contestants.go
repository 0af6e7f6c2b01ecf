package main

import (
	"context"
	"log/slog"
	"net/url"
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

// lifetime is how long the contestants are told to keep a set, those that can be
// told. All else is their default. jwx allows no less.
const lifetime = time.Second

// verifyFunc checks one token.
type verifyFunc func(token string) error

// contestant verifies tokens under the keys of one jwks_uri. ctx ends what open
// leaves running.
type contestant struct {
	name string
	open func(ctx context.Context, url string) (verifyFunc, error)
}

const oursName = "bearerguard"

var contestants = []contestant{
	{oursName, openOurs},
	{"auth0 v3", openAuth0},
	{"go-oidc v3", openGoOIDC},
	{"jwx v2", openJWX},
	{"keyfunc v3", openKeyfunc},
}

func openOurs(ctx context.Context, url string) (verifyFunc, error) {
	v, err := jwtverify.New(jwtverify.Config{
		Issuer:     issuerID,
		Audience:   []string{audience},
		JWKS:       jwks.Config{URL: url, Refresh: lifetime},
		CacheBytes: -1, // like the others
		Logger:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = v.Close() })
	return func(token string) error {
		_, err := v.Verify(ctx, token)
		return err
	}, nil
}

func openAuth0(ctx context.Context, uri string) (verifyFunc, error) {
	issuerURL, err := url.Parse(issuerID)
	if err != nil {
		return nil, err
	}
	keysURL, err := url.Parse(uri)
	if err != nil {
		return nil, err
	}
	provider, err := auth0jwks.NewCachingProvider(
		auth0jwks.WithIssuerURL(issuerURL), auth0jwks.WithCustomJWKSURI(keysURL), auth0jwks.WithCacheTTL(lifetime))
	if err != nil {
		return nil, err
	}
	v, err := validator.New(
		validator.WithKeyFunc(provider.KeyFunc), validator.WithAlgorithm(validator.RS256),
		validator.WithIssuer(issuerID), validator.WithAudience(audience))
	if err != nil {
		return nil, err
	}
	return func(token string) error {
		_, err := v.ValidateToken(ctx, token)
		return err
	}, nil
}

func openGoOIDC(ctx context.Context, url string) (verifyFunc, error) {
	verifier := oidc.NewVerifier(issuerID, oidc.NewRemoteKeySet(ctx, url),
		&oidc.Config{ClientID: audience, SupportedSigningAlgs: []string{"RS256"}})
	return func(token string) error {
		_, err := verifier.Verify(ctx, token)
		return err
	}, nil
}

func openJWX(ctx context.Context, url string) (verifyFunc, error) {
	cache := jwk.NewCache(ctx, jwk.WithRefreshWindow(lifetime))
	if err := cache.Register(url, jwk.WithRefreshInterval(lifetime)); err != nil {
		return nil, err
	}
	options := []jwxjwt.ParseOption{
		jwxjwt.WithKeySet(jwk.NewCachedSet(cache, url)),
		jwxjwt.WithIssuer(issuerID), jwxjwt.WithAudience(audience), jwxjwt.WithRequiredClaim("exp"),
	}
	return func(token string) error {
		_, err := jwxjwt.ParseString(token, options...)
		return err
	}, nil
}

func openKeyfunc(ctx context.Context, url string) (verifyFunc, error) {
	quiet := func(string) func(context.Context, error) { return func(context.Context, error) {} }
	keys, err := keyfunc.NewDefaultOverrideCtx(ctx, []string{url},
		keyfunc.Override{RefreshInterval: lifetime, RefreshErrorHandlerFunc: quiet})
	if err != nil {
		return nil, err
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}),
		jwt.WithIssuer(issuerID), jwt.WithAudience(audience), jwt.WithExpirationRequired())
	return func(token string) error {
		_, err := parser.Parse(token, keys.Keyfunc)
		return err
	}, nil
}
