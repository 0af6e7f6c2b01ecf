// Package grpcauth guards gRPC servers with bearer tokens (RFC 6750), unary calls
// and streams.
//
// Whoever uses it decides three things: which methods a [jwtverify.Rule] guards,
// which take any valid token, and which anybody may call. What no list names is
// refused.
//
//	auth, err := grpcauth.New(grpcauth.Config{
//		Verifier: verifier, // of jwtverify.New
//		Rules: map[string]jwtverify.Rule{
//			orderspb.Orders_List_FullMethodName:  jwtverify.Scopes("read:orders"),
//			orderspb.Orders_Place_FullMethodName: jwtverify.Scopes("write:orders"),
//		},
//		AnyToken: []string{orderspb.Orders_Ping_FullMethodName},
//		Public:   []string{healthpb.Health_Check_FullMethodName, reflectionpb.ServerReflection_ServerReflectionInfo_FullMethodName},
//	})
//	server := grpc.NewServer(auth.ServerOptions()...)
//
// Methods have the full names that generated code has constants for, such as
// "/shop.v1.Orders/List". There are no patterns: a method that is added to a
// service is refused until somebody has decided about it. One line in a test keeps
// the decisions complete, see [Auth.Unprotected].
//
// A call is let in with a token that verifies, which the handler finds with
// jwtverify.FromContext, or it is answered here and the handler is not called:
//
//	no bearer credentials       Unauthenticated, a challenge that names no error
//	malformed credentials       Unauthenticated, INVALID_TOKEN
//	a token that is not valid   Unauthenticated, INVALID_TOKEN
//	a Rule that does not hold   PermissionDenied, INSUFFICIENT_SCOPE
//	tokens cannot be judged     Unavailable, UNAVAILABLE, with a google.rpc.RetryInfo
//	a token's end in a stream   Unauthenticated, TOKEN_EXPIRED
//	a method that nobody named  PermissionDenied, nothing else
//
// The words in capitals are the reason of a google.rpc.ErrorInfo in the status's
// details, whose domain is "bearerguard". The challenge of RFC 6750 §3 stands in
// the trailer www-authenticate, except with Unavailable. All texts are fixed; why a
// token was refused is for logs and metrics, never for clients.
//
// # Credentials
//
// A token is taken from the metadata entry authorization alone, of which there must
// be exactly one value; authorization-bin makes the call malformed, and what a
// gateway puts under another name is no credential. How large a token may be is
// the Verifier's to say; how large all metadata may be, grpc.MaxHeaderListSize.
// grpc-go decodes the request of a unary call before any interceptor sees the call:
// grpc.MaxRecvMsgSize bounds what that costs.
//
// # Streams
//
// A stream's token is verified once, when the stream begins, and the stream ends
// with the token, at Token.ValidUntil. The handler's context ends with the cause
// jwtverify.ErrExpired; the client gets TOKEN_EXPIRED whatever the handler returns
// after that, and comes back with a new token. A handler that is blocked in Recv or
// Send is woken by that too: it runs on a goroutine of its own, which may outlive
// the call for as long as the handler takes to return. Sending and receiving fail
// from then on. grpc.WaitForHandlers and Server.GracefulStop do not wait for such a
// handler.
//
// Behind net/http (Server.ServeHTTP) a handler that is blocked in Send is woken when
// its client reads or goes, and the challenge is lost: net/http lets no such trailer
// pass, and writes so to its log.
//
// A unary call is judged when it begins and may run on.
//
// # Panics
//
// A handler's panic goes on where grpc-go and a recovering interceptor look for it.
// A stream handler's is logged too, since its stack would be lost; and only logged
// if its stream has ended already. A panic of the Verifier or of a Rule is logged,
// and the call is answered with Unavailable: nothing that a token can say ends the
// process.
package grpcauth
