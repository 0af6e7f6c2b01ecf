package jwtverify_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

// The usual Verifier: an issuer, whose keys are found by discovery, and an
// audience.
func ExampleNew() {
	issuer := jwttest.NewIssuer("https://api.example.com") // yours is a real one
	defer issuer.Close()

	v, err := jwtverify.New(jwtverify.Config{
		Issuer:   issuer.URL,
		Audience: []string{"https://api.example.com"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()
	fmt.Println(v.Ready(context.Background()))
	// Output: <nil>
}

// A Config with faults: all of them are named at once.
func ExampleNew_faults() {
	_, err := jwtverify.New(jwtverify.Config{
		Issuer: "https://issuer.example.com/",
		Leeway: time.Hour,
	})
	fmt.Println(err)
	// Output:
	// jwtverify: Config.Audience is required: write what the issuer puts in aud for this API
	// jwtverify: Config.Leeway is 1h0m0s: at most 5m0s; clocks that differ more must be set
}

// Calling Verify directly, for a token that did not come by an HTTP header.
func ExampleVerifier_Verify() {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	v, err := jwtverify.New(issuer.Config())
	if err != nil {
		panic(err)
	}
	defer v.Close()

	token := issuer.Token(jwttest.Claims{"sub": "alice", "exp": time.Now().Add(-time.Hour).Unix()})
	switch tok, err := v.Verify(context.Background(), token); {
	case errors.Is(err, jwtverify.ErrUnavailable):
		fmt.Println("try again later")
	case err != nil:
		fmt.Println("refused:", string(jwtverify.ReasonOf(err)))
	default:
		fmt.Println("welcome", tok.Subject)
	}
	// Output: refused: expired
}

// A token is refused and should not be: the log says what to change, while the
// client learns nothing of it.
func ExampleExplain() {
	issuer := jwttest.NewIssuer("https://api.example.com/")
	defer issuer.Close()
	config := issuer.Config()
	config.Audience = []string{"https://api.example.com"}
	v, err := jwtverify.New(config)
	if err != nil {
		panic(err)
	}
	defer v.Close()

	_, err = v.Verify(context.Background(), issuer.Token(nil))
	for part := range strings.SplitSeq(jwtverify.Explain(err), "; ") {
		fmt.Println(part)
	}
	// Output:
	// audience: aud names no audience of ours
	// expected "https://api.example.com"
	// came "https://api.example.com/", for the client "test-client"
	// hint: they differ in the last slash only: write Config.Audience exactly as the issuer writes aud
}

// Claims that have no field of their own.
func ExampleClaims() {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	v, err := jwtverify.New(issuer.Config())
	if err != nil {
		panic(err)
	}
	defer v.Close()

	tok, err := v.Verify(context.Background(), issuer.Token(jwttest.Claims{"tenant": "acme", "quota": int64(12345678901234567)}))
	if err != nil {
		panic(err)
	}
	claims, err := jwtverify.Claims[struct {
		Tenant string `json:"tenant"`
		Quota  int64  `json:"quota"`
	}](tok)
	fmt.Println(claims.Tenant, claims.Quota, err)
	// Output: acme 12345678901234567 <nil>
}

// A policy of the program's own has the last word, with a reason of its own.
func ExampleConfig_checks() {
	const errTenant jwtverify.Reason = "tenant"

	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	config := issuer.Config()
	config.Required = []string{"tenant"}
	config.Checks = []func(context.Context, *jwtverify.Token) error{
		func(_ context.Context, tok *jwtverify.Token) error {
			claims, err := jwtverify.Claims[struct {
				Tenant string `json:"tenant"`
			}](tok)
			if err != nil || claims.Tenant != "acme" {
				return errTenant
			}
			return nil
		},
	}
	v, err := jwtverify.New(config)
	if err != nil {
		panic(err)
	}
	defer v.Close()
	_, err = v.Verify(context.Background(), issuer.Token(jwttest.Claims{"tenant": "globex"}))
	fmt.Println(errors.Is(err, errTenant), errors.Is(err, jwtverify.ErrInvalidToken))
	// Output: true true
}

// A secret shared with the issuer must be asked for in so many words.
func ExampleConfig_secret() {
	secret := make([]byte, 32) // from a random generator
	key, err := jwks.NewSecret("", "HS256", secret)
	if err != nil {
		panic(err)
	}
	keys, err := jwks.NewSet(key)
	if err != nil {
		panic(err)
	}
	v, err := jwtverify.New(jwtverify.Config{
		Issuer:     "https://issuer.example.com/",
		Audience:   []string{"https://api.example.com"},
		Keys:       keys,
		Algorithms: []string{"HS256"},
	})
	if err != nil {
		panic(err)
	}
	defer v.Close()
	// Output:
}

// One rule, for every adapter.
func ExampleAny() {
	rule := jwtverify.Any(jwtverify.Scopes("orders:read"), jwtverify.Roles("admin"))
	fmt.Println(rule.Allows(context.Background(), &jwtverify.Token{Roles: []string{"admin"}}))
	fmt.Println(rule)
	// Output:
	// true
	// any of (all of the scopes ["orders:read"]; all of the roles ["admin"])
}
