package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	grpcpeer "github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/auth"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/bearerguard/bearerguard/middleware/grpcauth"
)

const (
	grpcServer   = "gRPC"
	grpcPeerName = "go-grpc-middleware-v2+keyfunc-v3" // which calls golang-jwt, as keyfuncName does
	ordersMethod = "/bench.Orders/List"
)

// ordersService is what generated code would be.
var ordersService = grpc.ServiceDesc{
	ServiceName: "bench.Orders",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "List", Handler: func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		in := new(emptypb.Empty)
		if err := decode(in); err != nil {
			return nil, err
		}
		handler := func(context.Context, any) (any, error) { return new(emptypb.Empty), nil }
		if interceptor == nil {
			return handler(ctx, in)
		}
		return interceptor(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: ordersMethod}, handler)
	}}},
}

// openGRPC opens a server of grpc-go without a guard, one for each of ours, and one
// for keyfunc behind go-grpc-middleware, which brings no verification of its own.
func openGRPC(ctx context.Context, iss *issuer, alg string) (bare *stand, guarded []*stand, err error) {
	for _, c := range contestants {
		if c.peer {
			continue
		}
		v, err := newVerifier(ctx, iss, alg, cacheBytes(c.kind))
		if err != nil {
			return nil, nil, err
		}
		auth, err := grpcauth.New(grpcauth.Config{Verifier: v, AnyToken: []string{ordersMethod}})
		if err != nil {
			return nil, nil, err
		}
		s, err := serveGRPC(ctx, c.name, auth.ServerOptions()...)
		if err != nil {
			return nil, nil, err
		}
		guarded = append(guarded, s)
	}
	verify, err := openKeyfunc(ctx, iss, alg)
	if err != nil {
		return nil, nil, err
	}
	peer, err := serveGRPC(ctx, grpcPeerName, intercept(verify)...)
	if err != nil {
		return nil, nil, err
	}
	bare, err = serveGRPC(ctx, bareName)
	return bare, append(guarded, peer), err
}

// intercept is what a user of go-grpc-middleware writes around verify.
func intercept(verify verifyFunc) []grpc.ServerOption {
	authenticate := func(ctx context.Context) (context.Context, error) {
		token, err := grpcpeer.AuthFromMD(ctx, "bearer")
		if err != nil {
			return nil, err
		}
		if err := verify(token); err != nil {
			return nil, status.Error(codes.Unauthenticated, "invalid token")
		}
		return ctx, nil
	}
	return []grpc.ServerOption{
		grpc.UnaryInterceptor(grpcpeer.UnaryServerInterceptor(authenticate)),
		grpc.StreamInterceptor(grpcpeer.StreamServerInterceptor(authenticate)),
	}
}

func serveGRPC(ctx context.Context, name string, opts ...grpc.ServerOption) (*stand, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer(opts...)
	server.RegisterService(&ordersService, new(any))
	go func() { _ = server.Serve(listener) }() // if it ends too early, calls fail
	context.AfterFunc(ctx, server.Stop)
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	return &stand{
		name: name,
		ask:  func(token string) error { return call(bearing(context.Background(), token), conn) },
		load: func(tokens []string, slot time.Duration) (float64, error) { return loadGRPC(conn, tokens, slot) },
	}, nil
}

func bearing(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

func call(ctx context.Context, conn *grpc.ClientConn) error {
	return conn.Invoke(ctx, ordersMethod, new(emptypb.Empty), new(emptypb.Empty), grpc.StaticMethod())
}

// loadGRPC has all callers share one connection, as grpc-go's users do: it writes the
// frames of several calls at once, so that a call costs the processors less than with
// a connection for each caller.
func loadGRPC(conn *grpc.ClientConn, tokens []string, slot time.Duration) (float64, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// The calls have no deadline, which each would carry along and both sides would time.
	defer time.AfterFunc(slot+10*time.Second, cancel).Stop()
	calls := make([]context.Context, len(tokens))
	for i, token := range tokens {
		calls[i] = bearing(ctx, token)
	}
	var count atomic.Int64
	var work sync.WaitGroup
	errs := make([]error, connections)
	start := time.Now()
	for n := range connections {
		work.Go(func() {
			// Far from each other: what has just been sent is shorter to send again (HPACK).
			first := n * len(calls) / connections
			for i := first; i == first || time.Since(start) < slot; i++ {
				if errs[n] = call(calls[i%len(calls)], conn); errs[n] != nil {
					return
				}
				count.Add(1)
			}
		})
	}
	work.Wait()
	return float64(count.Load()) / time.Since(start).Seconds(), errors.Join(errs...)
}
