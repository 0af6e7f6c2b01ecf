package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

// cooldown is how old keys have to be before they cannot deny that a new key
// exists. The default is 30 s; here nobody wants to wait so long.
const cooldown = 100 * time.Millisecond

// A row is one request and the answer that it ought to get.
type row struct {
	sends string
	token func() string // made when its turn comes; "" for none
	want  answer
}

type answer struct {
	status int
	reason string // what Verify said; the client does not learn it
	told   string // the challenge, and what else the client learns
}

func rows(issuer *jwttest.Issuer) []row {
	alice := func(name string, value any) jwttest.Claims {
		claims := jwttest.Claims{"sub": "alice", "scope": ordersScope}
		claims[name] = value
		return claims
	}
	good := alice("scope", ordersScope)
	accepted := answer{200, "valid", "none; body: the orders of alice"}
	refused := func(reason jwtverify.Reason) answer {
		return answer{401, string(reason), `Bearer realm="orders", error="invalid_token"`}
	}
	return []row{
		{"no token",
			func() string { return "" },
			answer{401, "-", `Bearer realm="orders"`}},
		{"a good token",
			func() string { return issuer.Token(good) },
			accepted},
		{"a token for another API",
			func() string { return issuer.Token(alice("aud", "https://other.example.com")) },
			refused(jwtverify.ErrAudience)},
		{"a token that expired an hour ago",
			func() string { return issuer.Token(alice("exp", time.Now().Add(-time.Hour).Unix())) },
			refused(jwtverify.ErrExpired)},
		{"a tampered token: alice made admin",
			func() string { return tamper(issuer.Token(good)) },
			refused(jwtverify.ErrSignature)},
		{"an unsigned token: alg none",
			func() string { return issuer.Mint(jwttest.Header{"alg": "none"}, good) },
			refused(jwtverify.ErrAlgorithm)},
		{"a good token without the scope",
			func() string { return issuer.Token(alice("scope", "read:news")) },
			answer{403, "valid", `Bearer realm="orders", error="insufficient_scope", scope="read:orders"`}},
		{"a token of a key made just now",
			func() string { issuer.Rotate("ES256"); return issuer.Token(good) },
			accepted},
		{"issuer down: a token of a known key",
			func() string { issuer.Close(); return issuer.Token(good) },
			accepted},
		{"issuer down: a token of a newer key",
			func() string { time.Sleep(2 * cooldown); issuer.Rotate("ES256"); return issuer.Token(good) },
			answer{503, string(jwtverify.ErrUnavailable), "none; Retry-After: 1"}},
	}
}

// tamper changes the subject and leaves the signature as it was.
func tamper(token string) string {
	segments := strings.Split(token, ".")
	claims, err := base64.RawURLEncoding.DecodeString(segments[1])
	if err != nil {
		panic(err) // the token is our own
	}
	claims = []byte(strings.Replace(string(claims), "alice", "admin", 1))
	segments[1] = base64.RawURLEncoding.EncodeToString(claims)
	return strings.Join(segments, ".")
}

// demo plays the client, and compares each live answer with the right one.
func demo(ctx context.Context, o options, out io.Writer) error {
	issuer := jwttest.NewIssuer(apiAudience)
	defer issuer.Close()
	config := issuer.Config()
	config.JWKS.Cooldown = cooldown
	config.Logger = slog.New(slog.DiscardHandler) // the table tells it all
	rules := []jwtverify.Rule{jwtverify.Scopes(ordersScope)}
	if o.broken {
		rules = nil
	}
	reasons := make(chan string, 1)
	url, stop, err := start(ctx, o.listen, config, func(reason string) { reasons <- reason }, rules...)
	if err != nil {
		return err
	}
	defer stop()

	fmt.Fprintf(out, "GET %s needs a token of %s,\nfor %s, with the scope %s.\n\n", url, issuer.URL, apiAudience, ordersScope)
	printHeader(out)
	var wrong []string
	all := rows(issuer)
	for i, row := range all {
		got, err := ask(ctx, url, row.token(), reasons)
		if err != nil {
			return err
		}
		printRow(out, i+1, row, got)
		if got != row.want {
			wrong = append(wrong, fmt.Sprintf("row %d (%s)", i+1, row.sends))
		}
	}
	printLegend(out)
	if len(wrong) > 0 {
		return fmt.Errorf("%d of %d answers wrong: %s", len(wrong), len(all), strings.Join(wrong, ", "))
	}
	fmt.Fprintf(out, "All %d answers were as they ought to be.\n", len(all))
	return nil
}

var client = &http.Client{Timeout: 10 * time.Second}

// description is for people, and the same in every challenge with that error.
var description = regexp.MustCompile(`, error_description="[^"]*"`)

// ask sends one request.
func ask(ctx context.Context, url, token string, reasons <-chan string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{}, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, err
	}

	got := answer{status: res.StatusCode, reason: "-", told: "none"}
	select {
	case got.reason = <-reasons:
	default: // Verify was not asked
	}
	if challenges := res.Header.Values("WWW-Authenticate"); len(challenges) > 0 {
		got.told = description.ReplaceAllString(strings.Join(challenges, "; "), "")
	}
	if after := res.Header.Get("Retry-After"); after != "" {
		got.told += "; Retry-After: " + after
	}
	if strings.Contains(string(body), "orders of") { // the handler ran
		got.told += "; body: " + strings.TrimSpace(string(body))
	}
	return got, nil
}
