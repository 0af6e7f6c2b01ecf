package grpcauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/middleware/bearer"
)

func (a *Auth) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	token, err := a.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	// With no token this hides one that something outer put there.
	return handler(jwtverify.NewContext(ctx, token), request)
}

// errUnnamed is the same with any token and without one: no other token would help,
// so it asks for none. It is not Unimplemented, since the method may well be
// there, and whoever forgot to name it would look in the wrong place.
var errUnnamed = status.Error(codes.PermissionDenied, "grpcauth: the server has no policy for this method")

// admit decides about a call. The token is nil for a public method; the error is
// the call's answer.
func (a *Auth) admit(ctx context.Context, method string) (*jwtverify.Token, error) {
	guard, named := a.guards[method]
	switch {
	case !named:
		level := slog.LevelDebug
		if a.warned.CompareAndSwap(false, true) {
			level = slog.LevelWarn
		}
		a.log.Log(ctx, level, "grpcauth: refused a method that the Config does not name; Auth.Unprotected lists all of them", "method", escape(method, 200))
		return nil, errUnnamed
	case guard == nil:
		return nil, nil
	}
	token, err := a.judge(ctx, guard, method)
	if err != nil {
		return nil, refuse(ctx, guard, err)
	}
	return token, nil
}

var errPanicked = errors.New("grpcauth: the Verifier or a Rule panicked")

// judge asks the guard. Code of the user's own runs in there, over what a stranger
// wrote, and under gRPC a panic ends the process.
func (a *Auth) judge(ctx context.Context, guard *bearer.Guard, method string) (token *jwtverify.Token, err error) {
	defer func() {
		if p := recover(); p != nil {
			a.logPanic(ctx, "grpcauth: the Verifier or a Rule panicked", method, p)
			token, err = nil, errPanicked
		}
	}()
	if metadata.ValueFromIncomingContext(ctx, "authorization-bin") != nil {
		return nil, bearer.ErrMalformedRequest
	}
	credential, fault := bearer.Token(metadata.ValueFromIncomingContext(ctx, "authorization"))
	return guard.Admit(ctx, credential, fault)
}

// refuse says in gRPC's words what the error means.
func refuse(ctx context.Context, guard *bearer.Guard, err error) error {
	decision := bearer.Decide(err)
	if challenge := guard.Challenge(decision); challenge != "" {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("www-authenticate", challenge)) // fails where the client is gone
	}
	var details []protoadapt.MessageV1
	if decision.Reason != "" {
		details = append(details, &errdetails.ErrorInfo{Reason: decision.Reason, Domain: "bearerguard"})
	}
	if decision.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(decision.RetryAfter)})
	}
	answer := status.New(codes.Code(decision.GRPC), decision.Detail)
	if detailed, err := answer.WithDetails(details...); err == nil {
		answer = detailed
	}
	return answer.Err()
}

func (a *Auth) logPanic(ctx context.Context, what, method string, p any) {
	a.log.ErrorContext(ctx, what, "method", escape(method, 200), "panic", escape(fmt.Sprint(p), 1000), "stack", escape(string(debug.Stack()), 10_000))
}

// escape keeps a record one line of bounded length, whoever wrote the text.
func escape(text string, limit int) string { return fmt.Sprintf("%+.*q", limit, text) }
