package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

// play sends requests through a gateway to a service that answers with what it was
// told, and compares.
func play(out io.Writer) error {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s may %s as %s%s", r.Header.Get("Identity-Subject"), r.Header.Get("Identity-Scopes"),
			r.Header.Get("Identity-Roles"), r.Header.Get("Authorization")+strings.Join(r.Header["Identity_subject"], ""))
	}))
	defer service.Close()
	config := issuer.Config()
	config.Roles = [][]string{{"roles"}}
	v, err := jwtverify.New(config)
	if err != nil {
		return err
	}
	defer v.Close()
	to, err := url.Parse(service.URL)
	if err != nil {
		return err
	}
	handler, err := newGateway(v, to)
	if err != nil {
		return err
	}
	gateway := httptest.NewServer(handler)
	defer gateway.Close()
	alice := issuer.Token(jwttest.Claims{"sub": "alice", "scope": "read:orders", "roles": []string{"clerk"}})
	root := issuer.Token(jwttest.Claims{"sub": "root\r\nX: y", "roles": []string{"admin", "on call"}})
	wrong := 0
	for _, c := range []struct{ sends, method, path, token, want string }{
		{"no token", "GET", "/orders", "", "401"},
		{"alice's token", "GET", "/orders", alice, "200 alice may read%3Aorders as clerk"},
		{"alice's token, to delete", "DELETE", "/orders", alice, "403"},
		{"an administrator's, with a name to break headers with", "DELETE", "/orders", root, "200 root%0D%0AX%3A+y may  as admin on+call"},
		{"alice's token, for what has no route", "GET", "/internal", alice, "404"},
	} {
		got, err := ask(c.method, gateway.URL+c.path, c.token)
		if err != nil {
			return err
		}
		verdict := "ok"
		if got != c.want {
			verdict, wrong = fmt.Sprintf("WRONG, should be %q", c.want), wrong+1
		}
		fmt.Fprintf(out, "%-54s %-45q %s\n", c.sends, got, verdict)
	}
	if wrong > 0 {
		return fmt.Errorf("%d answers are not as they ought to be", wrong)
	}
	return nil
}

// ask asks as mallory does, who sends along whom he would like to be.
func ask(method, at, token string) (string, error) {
	r, err := http.NewRequest(method, at, nil)
	if err != nil {
		return "", err
	}
	r.Header = http.Header{"Identity-Subject": {"mallory"}, "Identity_subject": {"mallory"}, "Connection": {"Identity-Subject"}}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if res.StatusCode == http.StatusOK {
		return fmt.Sprintf("%d %s", res.StatusCode, body), err
	}
	return fmt.Sprint(res.StatusCode), err
}
