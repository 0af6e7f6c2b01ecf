// Grpc guards a gRPC server and is its client too. Its stream ends when its token does.
//
//	go -C examples run ./grpc
package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/middleware/grpcauth"
)

// newServer serves gRPC's health service, in place of one of yours.
func newServer(v *jwtverify.Verifier) *grpc.Server {
	auth := must(grpcauth.New(grpcauth.Config{
		Verifier: v,
		Rules:    map[string]jwtverify.Rule{healthpb.Health_List_FullMethodName: jwtverify.Scopes("read:health")},
		AnyToken: []string{healthpb.Health_Watch_FullMethodName}, // its handler has it from jwtverify.FromContext
		Public:   []string{healthpb.Health_Check_FullMethodName},
	}))
	server := grpc.NewServer(auth.ServerOptions()...)
	healthpb.RegisterHealthServer(server, health.NewServer())
	return server
}

func main() {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	config := issuer.Config()
	config.Leeway = -1 // none, so that the stream ends sooner
	v, listener := must(jwtverify.New(config)), must(net.Listen("tcp", "127.0.0.1:0"))
	defer v.Close()
	server := newServer(v)
	go server.Serve(listener)
	defer server.Stop()
	conn := must(grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())))
	defer conn.Close()
	client, none := healthpb.NewHealthClient(conn), context.Background()
	with := func(c jwttest.Claims) context.Context {
		return metadata.AppendToOutgoingContext(none, "authorization", "Bearer "+issuer.Token(c))
	}
	_, public := client.Check(none, &healthpb.HealthCheckRequest{})
	_, nobody := client.List(none, &healthpb.HealthListRequest{})
	_, unscoped := client.List(with(nil), &healthpb.HealthListRequest{})
	_, scoped := client.List(with(jwttest.Claims{"scope": "read:health"}), &healthpb.HealthListRequest{})
	stream, end := client.Watch(with(jwttest.Claims{"exp": time.Now().Unix() + 2}), &healthpb.HealthCheckRequest{})
	for end == nil {
		_, end = stream.Recv()
	}
	fmt.Printf("public: %v\nno token: %v\nwithout the scope: %v\nwith the scope: %v\na stream, after a while: %v\n",
		public, nobody, unscoped, scoped, end)
}

func must[T any](v T, err error) T {
	if err == nil {
		return v
	}
	panic(err)
}
