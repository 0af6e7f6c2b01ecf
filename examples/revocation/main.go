// Revocation is an API of two processes that hands out nothing after a logout: who logs
// out at one of them is refused by the other a moment later, though the token has not
// expired and nobody asks anybody about it. It plays itself through, with an issuer,
// two APIs and a client:
//
//	go -C examples run ./revocation
//	go -C examples run ./revocation -redis redis://127.0.0.1:6379
//
// With Redis the two APIs are processes of their own, each with its own follower.
// Without, they are two servers of one process, which share a list in memory.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/revoke"
	"github.com/bearerguard/bearerguard/jwtverify/revoke/redisrevoke"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

const (
	audience = "https://api.example.com"
	// longest is how long the issuer lets a token live at most: after that, nothing
	// that was revoked has to be remembered.
	longest = time.Hour
)

func main() {
	redis := flag.String("redis", "", "`URL` of a Redis, rediss://user:password@host:port")
	issuer := flag.String("api", "", "be an API that trusts this issuer, with the Redis of REDIS_URL; ends with its stdin")
	flag.Parse()
	var err error
	if *issuer != "" {
		err = serve(*issuer, os.Getenv("REDIS_URL"))
	} else {
		err = play(os.Stdout, *redis)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// revocations are where an API asks, and where it tells.
type revocations struct {
	check  func(context.Context, *jwtverify.Token) error
	revoke func(context.Context, ...revoke.Entry) error
	close  func()
}

// inMemory is good for an API that is one process, and forgets when it ends.
func inMemory() (*revocations, error) {
	list, err := revoke.New(revoke.Config{})
	if err != nil {
		return nil, err
	}
	return &revocations{
		check:  list.Check,
		revoke: func(_ context.Context, entries ...revoke.Entry) error { return list.Revoke(entries...) },
		close:  func() {},
	}, nil
}

// inRedis is good for any number of processes.
func inRedis(url string) (*revocations, error) {
	redis := redisrevoke.Redis{URL: url, Namespace: "bearerguard-example"}
	follower, err := redisrevoke.NewFollower(redisrevoke.FollowerConfig{Redis: redis, WhenBehind: redisrevoke.FailClosed})
	if err != nil {
		return nil, err
	}
	publisher, err := redisrevoke.NewPublisher(redisrevoke.PublisherConfig{Redis: redis})
	if err != nil {
		_ = follower.Close()
		return nil, err
	}
	r := &revocations{check: follower.Check, revoke: publisher.Revoke, close: func() {
		_ = publisher.Close()
		_ = follower.Close()
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := follower.Ready(ctx); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// newAPI serves orders to whoever is logged in, and logs them out.
func newAPI(config jwtverify.Config, r *revocations) (http.Handler, error) {
	config.MaxLifetime = longest // an issuer that lets tokens live longer is not believed
	config.Checks = append(config.Checks, r.check)
	verifier, err := jwtverify.New(config)
	if err != nil {
		return nil, err
	}
	auth, err := httpauth.New(httpauth.Config{Verifier: verifier})
	if err != nil {
		return nil, err
	}
	// done answers a logout: only what the revocations have taken is over.
	done := func(w http.ResponseWriter, req *http.Request, entry revoke.Entry) {
		if err := r.revoke(req.Context(), entry); err != nil {
			http.Error(w, "not logged out: try again", http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
	everywhere := func(w http.ResponseWriter, req *http.Request) {
		tok, _ := jwtverify.FromContext(req.Context())
		now := time.Now()
		done(w, req, revoke.Subject(tok.Issuer, tok.Subject, now, now.Add(longest)))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders", func(w http.ResponseWriter, req *http.Request) {
		tok, _ := jwtverify.FromContext(req.Context()) // always there, behind the guard
		fmt.Fprintf(w, "the orders of %s\n", tok.Subject)
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, req *http.Request) {
		tok, _ := jwtverify.FromContext(req.Context())
		if tok.SessionID == "" { // of an issuer that tells no sessions
			everywhere(w, req)
			return
		}
		done(w, req, revoke.Session(tok.Issuer, tok.SessionID, time.Now().Add(longest)))
	})
	mux.HandleFunc("POST /logout-everywhere", everywhere)
	return auth.Handler(mux), nil
}

// serve is one process of the API, from the line that tells its address to the end of
// its stdin.
func serve(issuer, redis string) error {
	r, err := inRedis(redis)
	if err != nil {
		return err
	}
	defer r.close()
	api, err := newAPI(jwtverify.Config{Issuer: issuer, Audience: []string{audience}}, r)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: api, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	fmt.Println("http://" + listener.Addr().String())
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}
