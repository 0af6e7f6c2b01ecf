//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/middleware/bearer"
	"github.com/bearerguard/bearerguard/middleware/chiauth"
	"github.com/bearerguard/bearerguard/middleware/grpcauth"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

// seen is what the handler learnt of the caller, and what the API answers with.
type seen struct {
	Issuer, Subject, ClientID string
	Audience, Scopes, Roles   []string
	Header                    jwtverify.Header
	Tenant                    string
	JTI                       string
}

// The ways in which the same API is served.
var kinds = []string{"net/http", "chi", "gRPC"}

// What the methods of the API need. Some servers send scopes, some roles.
var (
	readOrders  = jwtverify.Any(jwtverify.Scopes("read:orders"), jwtverify.Roles("orders.reader"))
	writeOrders = jwtverify.Scopes("write:orders")
)

// api makes one call of an API, with the token, or without one if it is empty. The
// method is GET, which needs readOrders, or POST, which needs writeOrders.
type api func(ctx context.Context, method, token string) (response, error)

func (a api) must(t *testing.T, method, token string) response {
	t.Helper()
	res, err := a(t.Context(), method, token)
	require.NoError(t, err)
	return res
}

// startAPI serves orders on loopback.
func startAPI(t *testing.T, v bearer.Verifier, kind string) api {
	t.Helper()
	if kind == "gRPC" {
		return startGRPC(t, v)
	}
	auth, err := httpauth.New(httpauth.Config{Verifier: v})
	require.NoError(t, err)
	read, write := auth.Require(readOrders), auth.Require(writeOrders)
	var handler http.Handler
	if kind == "chi" {
		r := chi.NewRouter()
		r.Use(auth.Handler)
		r.With(read).Get("/orders", tellSeen)
		r.With(write).Post("/orders", tellSeen)
		require.Empty(t, chiauth.Unprotected(r))
		handler = r
	} else {
		mux := http.NewServeMux()
		mux.Handle("GET /orders", read(http.HandlerFunc(tellSeen)))
		mux.Handle("POST /orders", write(http.HandlerFunc(tellSeen)))
		handler = mux
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: handler}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		// The test's own context has ended by now.
		require.NoError(t, server.Shutdown(context.Background()))
		require.ErrorIs(t, <-ended, http.ErrServerClosed)
	})
	url := "http://" + listener.Addr().String() + "/orders"
	return func(ctx context.Context, method, token string) (response, error) {
		return call(ctx, method, url, token)
	}
}

// startGRPC serves the same over gRPC. Its answers are told in HTTP's terms.
func startGRPC(t *testing.T, v bearer.Verifier) api {
	t.Helper()
	methods := map[string]string{http.MethodGet: "/shop.Orders/List", http.MethodPost: "/shop.Orders/Place"}
	auth, err := grpcauth.New(grpcauth.Config{Verifier: v, Rules: map[string]jwtverify.Rule{
		methods[http.MethodGet]: readOrders, methods[http.MethodPost]: writeOrders,
	}})
	require.NoError(t, err)
	server := grpc.NewServer(auth.ServerOptions()...)
	service := grpc.ServiceDesc{ServiceName: "shop.Orders", HandlerType: (*any)(nil)}
	for _, full := range methods {
		service.Methods = append(service.Methods, grpc.MethodDesc{MethodName: path.Base(full),
			Handler: func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
				in := new(emptypb.Empty)
				if err := decode(in); err != nil {
					return nil, err
				}
				return interceptor(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: full}, func(ctx context.Context, _ any) (any, error) {
					body, err := whatIsSeen(ctx)
					return wrapperspb.Bytes(body), err
				})
			}})
	}
	server.RegisterService(&service, new(any))
	require.Empty(t, auth.Unprotected(server))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		server.GracefulStop()
		require.NoError(t, <-ended)
	})
	return func(ctx context.Context, method, token string) (response, error) {
		if token != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
		}
		var trailer metadata.MD
		out := new(wrapperspb.BytesValue)
		err := conn.Invoke(ctx, methods[method], new(emptypb.Empty), out, grpc.Trailer(&trailer))
		code, ok := map[codes.Code]int{codes.OK: 200, codes.Unauthenticated: 401, codes.PermissionDenied: 403, codes.Unavailable: 503}[status.Code(err)]
		if !ok {
			return response{}, err
		}
		return response{code, strings.Join(trailer.Get("www-authenticate"), ", "), out.Value}, nil
	}
}

func tellSeen(w http.ResponseWriter, r *http.Request) {
	body, err := whatIsSeen(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(body)
}

func whatIsSeen(ctx context.Context) ([]byte, error) {
	token, ok := jwtverify.FromContext(ctx)
	if !ok {
		return nil, errors.New("no token in the context")
	}
	claims, err := jwtverify.Claims[struct {
		Tenant string `json:"https://example.test/tenant"`
		JTI    string `json:"jti"`
	}](token)
	if err != nil {
		return nil, err
	}
	return json.Marshal(seen{
		Issuer: token.Issuer, Subject: token.Subject, ClientID: token.ClientID,
		Audience: token.Audience, Scopes: token.Scopes, Roles: token.Roles, Header: token.Header,
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

func newVerifier(t *testing.T, config jwtverify.Config) *jwtverify.Verifier {
	t.Helper()
	v, err := jwtverify.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	require.NoError(t, v.Ready(t.Context()))
	return v
}
