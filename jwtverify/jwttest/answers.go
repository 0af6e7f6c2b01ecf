package jwttest

import (
	"io"
	"net/http"
)

// Down answers 503 Service Unavailable, as what stands before a dead issuer
// does. For [Issuer.Respond].
func Down(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "the issuer is down", http.StatusServiceUnavailable)
}

// Hang takes the request and never answers, until the caller gives up or the
// issuer closes. For [Issuer.Respond].
func Hang(_ http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler) // to return would answer 200
}

// Garbage answers 200 OK with a page that is not the document asked for, as a
// captive portal or a misrouted load balancer does. For [Issuer.Respond].
func Garbage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, "<!DOCTYPE html><title>Welcome</title>")
}
