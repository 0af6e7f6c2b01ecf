//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

// seen is what the handler learnt of the caller, and what the API answers with.
type seen struct {
	Issuer, Subject, ClientID string
	Audience, Scopes          []string
	Header                    jwtverify.Header
	Tenant                    string
	JTI                       string
}

// startAPI serves orders on loopback: GET needs read:orders, POST write:orders.
func startAPI(t *testing.T, v *jwtverify.Verifier) (url string) {
	t.Helper()
	auth, err := httpauth.New(httpauth.Config{Verifier: v})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("GET /orders", auth.Require(jwtverify.Scopes("read:orders"))(http.HandlerFunc(tellSeen)))
	mux.Handle("POST /orders", auth.Require(jwtverify.Scopes("write:orders"))(http.HandlerFunc(tellSeen)))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: mux}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		// The test's own context has ended by now.
		require.NoError(t, server.Shutdown(context.Background()))
		require.ErrorIs(t, <-ended, http.ErrServerClosed)
	})
	return "http://" + listener.Addr().String() + "/orders"
}

func tellSeen(w http.ResponseWriter, r *http.Request) {
	token, ok := jwtverify.FromContext(r.Context())
	if !ok {
		http.Error(w, "no token in the context", http.StatusInternalServerError)
		return
	}
	claims, err := jwtverify.Claims[struct {
		Tenant string `json:"https://example.test/tenant"`
		JTI    string `json:"jti"`
	}](token)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(seen{
		Issuer: token.Issuer, Subject: token.Subject, ClientID: token.ClientID,
		Audience: token.Audience, Scopes: token.Scopes, Header: token.Header,
		Tenant: claims.Tenant, JTI: claims.JTI,
	})
}

// response is an answer of the API, read to its end.
type response struct {
	status    int
	challenge string
	body      []byte
}

// call sends a request with the token, or without one if it is empty.
func call(ctx context.Context, method, url, token string) (response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return response{}, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return response{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return response{res.StatusCode, res.Header.Get("WWW-Authenticate"), body}, err
}

func mustCall(t *testing.T, method, url, token string) response {
	t.Helper()
	res, err := call(t.Context(), method, url, token)
	require.NoError(t, err)
	return res
}

func newVerifier(t *testing.T, config jwtverify.Config) *jwtverify.Verifier {
	t.Helper()
	v, err := jwtverify.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	require.NoError(t, v.Ready(t.Context()))
	return v
}
