package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

const (
	apiAudience = "https://api.example.com"
	ordersScope = "read:orders"
)

// newAPI guards GET /orders: only a request whose token verifies and meets the
// rules reaches the handler.
func newAPI(v verifier, rules ...jwtverify.Rule) (http.Handler, error) {
	auth, err := httpauth.New(httpauth.Config{Verifier: v, Realm: "orders"})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /orders", auth.Require(rules...)(http.HandlerFunc(orders)))
	return mux, nil
}

func orders(w http.ResponseWriter, r *http.Request) {
	tok, _ := jwtverify.FromContext(r.Context())
	fmt.Fprintf(w, "the orders of %s\n", tok.Subject)
}

// verifier is all that httpauth asks of a Verifier, so anything may be put
// around one: metrics, tracing or, here, a note of what it said.
type verifier interface {
	Verify(ctx context.Context, token string) (*jwtverify.Token, error)
}

// watched tells saw the reason why a token was refused, or "valid". That is for
// the operator: a client learns no more than the challenge.
type watched struct {
	verifier
	saw func(reason string)
}

func (w watched) Verify(ctx context.Context, token string) (*jwtverify.Token, error) {
	tok, err := w.verifier.Verify(ctx, token)
	if err != nil {
		w.saw(string(jwtverify.ReasonOf(err)))
	} else {
		w.saw("valid")
	}
	return tok, err
}

// start serves the API and returns where. It waits for the issuer's keys, so
// that a mistake in the issuer's URL shows at once.
func start(ctx context.Context, listen string, config jwtverify.Config, saw func(string), rules ...jwtverify.Rule) (url string, stop func(), err error) {
	v, err := jwtverify.New(config)
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			v.Close()
		}
	}()
	ready, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := v.Ready(ready); err != nil {
		return "", nil, fmt.Errorf("no keys from %s: %w", config.Issuer, err)
	}
	api, err := newAPI(watched{v, saw}, rules...)
	if err != nil {
		return "", nil, err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: api, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return "http://" + listener.Addr().String() + "/orders", func() {
		server.Shutdown(context.Background())
		<-served
		v.Close()
	}, nil
}
