package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

// play shows what the API answers to the tokens of two tenants, and of others. It
// fails if one answer is not the one that it should be.
func play(out io.Writer) error {
	acme, globex, stranger := jwttest.NewIssuer(audience), jwttest.NewIssuer(audience), jwttest.NewIssuer(audience)
	defer acme.Close()
	defer globex.Close()
	defer stranger.Close()

	table := &tenants{byIssuer: map[string]string{}}
	issuers, err := jwtverify.NewIssuers(jwtverify.IssuersConfig{Resolve: table.resolve})
	if err != nil {
		return err
	}
	defer func() { _ = issuers.Close() }()
	api, err := newAPI(table, issuers)
	if err != nil {
		return err
	}
	server := httptest.NewServer(api)
	defer server.Close()

	table.set(acme.URL, "acme")
	table.set(globex.URL, "globex")
	alice := jwttest.Claims{"sub": "alice", "scope": "read:orders"}
	inTheNameOf := func(victim *jwttest.Issuer) jwttest.Claims {
		return jwttest.Claims{"sub": "alice", "scope": "read:orders", "iss": victim.URL}
	}
	globexToken := globex.Token(alice)
	for _, step := range []struct {
		what   string
		before func()
		token  string
		status int
		body   string
	}{
		{"alice of acme", nil, acme.Token(alice), 200, "the orders of alice at acme\n"},
		{"alice of globex, who is somebody else", nil, globexToken, 200, "the orders of alice at globex\n"},
		{"a stranger's issuer", nil, stranger.Token(alice), 401, ""},
		{"acme's key, in the name of globex", nil, acme.Token(inTheNameOf(globex)), 401, ""},
		{"a stranger's key, in the name of acme", nil, stranger.Token(inTheNameOf(acme)), 401, ""},
		{"globex after it left", func() { table.remove(globex.URL); issuers.Forget(globex.URL) }, globexToken, 401, ""},
		{"acme while the issuer of another is down", func() { stranger.Respond(jwttest.Down) }, acme.Token(alice), 200, "the orders of alice at acme\n"},
		{"a new tenant whose issuer is down", func() { table.set(stranger.URL, "initech"); issuers.Forget(stranger.URL) }, stranger.Token(alice), 503, ""},
	} {
		if step.before != nil {
			step.before()
		}
		status, body, err := get(server.URL+"/orders", step.token)
		if err != nil {
			return err
		}
		if status != step.status || step.status == http.StatusOK && body != step.body {
			return fmt.Errorf("%s: answered %d %q", step.what, status, body)
		}
		fmt.Fprintf(out, "%-42s %d %s ok\n", step.what, status, strings.TrimSpace(step.body))
	}
	return nil
}

func get(url, token string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	return res.StatusCode, string(text), err
}
