package jwtverify_test

import (
	"context"
	"fmt"
	"log"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

// Two issuers that are known from the start. A token is judged by the Config of the
// issuer that it names, and by no other.
func ExampleNewIssuers() {
	staff, customers := jwttest.NewIssuer("https://api.example.com"), jwttest.NewIssuer("https://api.example.com")
	defer staff.Close()
	defer customers.Close()

	ofStaff := staff.Config()
	ofStaff.Required = []string{"employee"}
	issuers, err := jwtverify.NewIssuers(jwtverify.IssuersConfig{Configs: []jwtverify.Config{ofStaff, customers.Config()}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = issuers.Close() }()

	_, err = issuers.Verify(context.Background(), customers.Token(nil))
	fmt.Println(err)
	_, err = issuers.Verify(context.Background(), staff.Token(nil))
	fmt.Println(err)
	// Output:
	// <nil>
	// jwtverify: claims: employee is missing
}

// Tenants, each with an issuer of its own, that a table knows by name.
func ExampleIssuersConfig_resolve() {
	acme := jwttest.NewIssuer("https://api.example.com")
	defer acme.Close()
	table := map[string]string{acme.URL: "acme"}

	issuers, err := jwtverify.NewIssuers(jwtverify.IssuersConfig{
		Resolve: func(_ context.Context, issuer string) (jwtverify.Config, error) {
			if _, ok := table[issuer]; !ok {
				return jwtverify.Config{}, jwtverify.ErrIssuer // no tenant of ours
			}
			return jwtverify.Config{Issuer: issuer, Audience: []string{"https://api.example.com"}}, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = issuers.Close() }()

	token, err := issuers.Verify(context.Background(), acme.Token(nil))
	fmt.Println(table[token.Issuer], err)
	_, err = issuers.Verify(context.Background(), acme.Token(jwttest.Claims{"iss": "https://unknown.example.com"}))
	fmt.Println(err)
	// Output:
	// acme <nil>
	// jwtverify: issuer: iss is none of the issuers
}
