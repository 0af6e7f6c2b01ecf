// Command zitadel-op is an authorization server of the end-to-end tests: the
// OpenID Provider of github.com/zitadel/oidc on loopback, with what a resource
// server cares about and nothing else. The protocol, the shape of its tokens and
// the store of logins are the package's; this program configures them, and adds
// the claims that ZITADEL adds.
//
//	zitadel-op [-path /tenant/] [-rp http://127.0.0.1:4000]
//
// It listens on a port of the system's choice and prints "READY <issuer>". Then
// each line on stdin is an order, answered by one line, "OK" or "FAILED <why>":
//
//	publish     make a new key and publish it beside those that are there
//	activate    sign with the newest key from now on
//	retire      take every key out that does not sign
//	ttl 1       seconds that access tokens live from now on
//
// It ends when stdin ends, so it cannot outlive the test that started it, however
// that test ended.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

func main() {
	path := flag.String("path", "/", "the issuer's path, which ends in a slash")
	relyingParty := flag.String("rp", "", "where the user's client is; its redirect URI is this and /cb")
	flag.Parse()
	log.SetFlags(0)
	slog.SetLogLoggerLevel(slog.LevelError) // the package tells of each request

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	issuer := "http://" + listener.Addr().String() + *path
	keys := &ring{ttl: 5 * time.Minute}
	check(keys.publish())
	check(keys.activate())
	store := newStore(issuer, *relyingParty, keys)
	handler, err := serve(issuer, *path, store)
	check(err)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	go func() { check(server.Serve(listener)) }()
	fmt.Println("READY", issuer)

	orders := map[string]func(operand string) error{
		"publish":  func(string) error { return keys.publish() },
		"activate": func(string) error { return keys.activate() },
		"retire":   func(string) error { return keys.retire() },
		"ttl":      keys.live,
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		name, operand, _ := strings.Cut(lines.Text(), " ")
		err := fmt.Errorf("there is no order %q", name)
		if order := orders[name]; order != nil {
			err = order(operand)
		}
		if err != nil {
			fmt.Println("FAILED", err)
		} else {
			fmt.Println("OK")
		}
	}
}

// serve is the package's provider, and a login that asks nothing: whoever comes
// is its test user.
func serve(issuer, path string, store *store) (http.Handler, error) {
	var secret [32]byte
	_, _ = rand.Read(secret[:])
	provider, err := op.NewProvider(&op.Config{
		CryptoKey:                secret,
		CodeMethodS256:           true,
		GrantTypeRefreshToken:    true,
		DefaultLogoutRedirectURI: "/logged-out",
	}, store, op.StaticIssuer(issuer), op.WithAllowInsecure())
	if err != nil {
		return nil, err
	}
	users := storage.NewUserStore(issuer)
	back := op.AuthCallbackURL(provider)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login/username", func(w http.ResponseWriter, r *http.Request) {
		id, user := r.FormValue("authRequestID"), users.GetUserByID("id1")
		if err := store.CheckUsernamePassword(user.Username, user.Password, id); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		http.Redirect(w, r, back(op.ContextWithIssuer(context.Background(), issuer), id), http.StatusFound)
	})
	mux.HandleFunc("GET /logged-out", func(http.ResponseWriter, *http.Request) {})
	mux.Handle(path, http.StripPrefix(strings.TrimSuffix(path, "/"), provider))
	return mux, nil
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
