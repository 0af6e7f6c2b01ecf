// Quickstart shows an API that takes access tokens, and what it answers to good
// and bad ones. It needs nothing but Go:
//
//	go -C examples run ./quickstart
//
// Read api.go first: it is what a service of yours would have. The client that
// tries it is in demo.go, and this file chooses what to run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

const usage = `Quickstart starts a test issuer and an API protected by bearerguard, both on
loopback, sends the API good and bad access tokens, and prints what it answers.
It exits 0 if every answer was right, and 1 if one was wrong.

  quickstart                          play the client
  quickstart -break                   the same with a mistake in the API, to see exit 1
  quickstart -serve                   keep API and issuer up, with curl commands to try
  quickstart -issuer URL -audience A  protect the API with a real issuer's tokens

Flags:
`

type options struct {
	listen, issuer, audience, scope string
	serve, broken                   bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit code.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	o, err := parse(args, errs)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case o.issuer != "":
		err = serveReal(ctx, o, out)
	case o.serve:
		err = serveTest(ctx, o, out)
	default:
		err = demo(ctx, o, out)
	}
	if err != nil {
		fmt.Fprintln(errs, "quickstart:", err)
		return 1
	}
	return 0
}

func parse(args []string, errs io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.BoolVar(&o.broken, "break", false, "forget the scope rule on the route: one row must go wrong")
	flags.BoolVar(&o.serve, "serve", false, "stay up and print curl commands instead of playing the client")
	flags.StringVar(&o.issuer, "issuer", "", "a real issuer's `URL`, exactly as its tokens have it in iss")
	flags.StringVar(&o.audience, "audience", "", "with -issuer: the `aud` of its tokens for this API")
	flags.StringVar(&o.scope, "scope", ordersScope, "with -issuer: the `scopes` that GET /orders needs; empty for none")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "the API's `address`; port 0 takes a free one")
	flags.Usage = func() {
		fmt.Fprint(errs, usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case (o.issuer == "") != (o.audience == ""):
		err = errors.New("-issuer and -audience belong together")
	case o.broken && (o.serve || o.issuer != ""):
		err = errors.New("-break is for playing the client")
	}
	if err != nil {
		fmt.Fprintf(errs, "quickstart: %v; see quickstart -h\n", err)
	}
	return o, err
}

// serveReal protects the API with the tokens of an issuer that is not ours.
func serveReal(ctx context.Context, o options, out io.Writer) error {
	config := jwtverify.Config{Issuer: o.issuer, Audience: []string{o.audience}}
	var rules []jwtverify.Rule
	if scopes := strings.Fields(o.scope); len(scopes) > 0 {
		rules = append(rules, jwtverify.Scopes(scopes...))
	}
	url, stop, err := start(ctx, o.listen, config, logTo(out), rules...)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Fprintf(out, "The API at %s takes tokens of %s\nwith aud %q and scope %q. Get one from the issuer, and try:\n\n", url, o.issuer, o.audience, o.scope)
	fmt.Fprintf(out, "curl -i -H \"Authorization: Bearer $TOKEN\" %s\n\n", url)
	return waitForSignal(ctx, out)
}

// serveTest keeps the API up, with a test issuer and tokens to play with.
func serveTest(ctx context.Context, o options, out io.Writer) error {
	issuer := jwttest.NewIssuer(apiAudience)
	defer issuer.Close()
	url, stop, err := start(ctx, o.listen, issuer.Config(), logTo(out), jwtverify.Scopes(ordersScope))
	if err != nil {
		return err
	}
	defer stop()

	alice := jwttest.Claims{"sub": "alice", "exp": time.Now().Add(time.Hour).Unix()}
	noScope := issuer.Token(alice)
	alice["scope"] = ordersScope
	good := issuer.Token(alice)
	fmt.Fprintf(out, "The API is at %s, its issuer at %s. Try, within an hour:\n", url, issuer.URL)
	for _, try := range []struct{ what, token string }{
		{"a good token", good}, {"a tampered one", tamper(good)}, {"a good one without the scope", noScope},
	} {
		fmt.Fprintf(out, "\n# %s\ncurl -i -H 'Authorization: Bearer %s' %s\n", try.what, try.token, url)
	}
	fmt.Fprintf(out, "\n# no token\ncurl -i %s\n\n# the issuer's public keys\ncurl %s/jwks.json\n\n", url, issuer.URL)
	return waitForSignal(ctx, out)
}

// logTo prints what Verify said of each token, as a service would log it.
func logTo(out io.Writer) func(reason string) {
	return func(reason string) { fmt.Fprintln(out, "a token came:", reason) }
}

func waitForSignal(ctx context.Context, out io.Writer) error {
	fmt.Fprintln(out, "Ctrl-C ends it.")
	<-ctx.Done()
	return nil
}
