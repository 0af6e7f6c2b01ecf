package grpcauth_test

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/middleware/grpcauth"
)

// profiles answers with who is asking.
type profiles struct {
	testpb.UnimplementedTestServiceServer
}

func (profiles) UnaryCall(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	tok, _ := jwtverify.FromContext(ctx)
	return &testpb.SimpleResponse{Username: tok.Subject}, nil
}

// A method that asks for a scope. The handler finds the token in the context.
func ExampleAuth_ServerOptions() {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	v, err := jwtverify.New(issuer.Config())
	if err != nil {
		panic(err)
	}
	defer v.Close()
	auth, err := grpcauth.New(grpcauth.Config{
		Verifier: v,
		Rules:    map[string]jwtverify.Rule{testpb.TestService_UnaryCall_FullMethodName: jwtverify.Scopes("read:profile")},
		Public:   []string{healthpb.Health_Check_FullMethodName},
	})
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer(auth.ServerOptions()...)
	testpb.RegisterTestServiceServer(server, profiles{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go server.Serve(listener)
	defer server.Stop()

	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	for _, scope := range []string{"read:profile", "read:news"} {
		token := issuer.Token(jwttest.Claims{"sub": "alice", "scope": scope})
		ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+token)
		profile, err := testpb.NewTestServiceClient(conn).UnaryCall(ctx, &testpb.SimpleRequest{})
		fmt.Println(status.Code(err), profile.GetUsername())
	}
	// Output:
	// OK alice
	// PermissionDenied
}

// In a test of a server: every method has been decided about.
func ExampleAuth_Unprotected() {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	v, err := jwtverify.New(issuer.Config())
	if err != nil {
		panic(err)
	}
	defer v.Close()
	auth, err := grpcauth.New(grpcauth.Config{Verifier: v, Public: []string{healthpb.Health_Check_FullMethodName}})
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer(auth.ServerOptions()...)
	healthpb.RegisterHealthServer(server, health.NewServer())

	for _, method := range auth.Unprotected(server) {
		fmt.Println(method)
	}
	// Output:
	// /grpc.health.v1.Health/Check
	// /grpc.health.v1.Health/List
	// /grpc.health.v1.Health/Watch
}
