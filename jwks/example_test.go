package jwks_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

// Keys that are fetched and kept fresh.
func ExampleNew() {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()

	keys, err := jwks.New(jwks.Config{Issuer: issuer.URL, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	defer keys.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := keys.Ready(ctx); err != nil {
		panic(err)
	}
	for _, key := range keys.Status().Keys {
		fmt.Println(key.KeyID, key.Algorithm, key.Type)
	}
	// Output: key-1 ES256 EC P-256
}

// Keys that never change, such as ones shipped with a program.
func ExampleParse() {
	keys, err := jwks.Parse([]byte(`{"keys":[
		{"kid":"a","kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
		{"kid":"b","kty":"oct","k":"c2VjcmV0"}
	]}`))
	if err != nil {
		panic(err)
	}
	_, err = keys.Key(context.Background(), "a", "EdDSA")
	fmt.Println(err)
	_, err = keys.Key(context.Background(), "b", "HS256")
	fmt.Println(err)
	// Output:
	// <nil>
	// jwks: no such key
}
