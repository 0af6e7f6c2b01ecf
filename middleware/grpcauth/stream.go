package grpcauth

import (
	"context"
	"errors"
	"runtime"

	"google.golang.org/grpc"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/middleware/bearer"
)

// serverStream is a stream with a context of ours.
type serverStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *serverStream) Context() context.Context { return s.ctx }

// stream ends what it lets in when its token ends. To return is the only way for an
// interceptor to end a stream, and nothing else wakes a handler that waits for a
// message; so the handler runs beside it.
func (a *Auth) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	token, err := a.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	ctx, cancel := bearer.Until(ss.Context(), token, a.now())
	defer cancel()
	guarded := &serverStream{ss, jwtverify.NewContext(ctx, token)}
	if token == nil {
		return handler(srv, guarded)
	}
	if !expired(ctx) {
		ended := make(chan func() error, 1)
		go a.run(guarded.ctx, info.FullMethod, func() error { return handler(srv, guarded) }, ended)
		err = wait(ctx, ended)
	}
	if expired(ctx) {
		// Also where the handler noticed and has returned: what it says of the
		// end of its context would be taken for the end of the data.
		return refuse(ss.Context(), a.guards[info.FullMethod], bearer.ErrStreamExpired)
	}
	return err
}

func expired(ctx context.Context) bool {
	return errors.Is(context.Cause(ctx), jwtverify.ErrExpired)
}

// run calls the handler and sends what the interceptor has to do in its stead:
// return its error, panic as it did, or end the goroutine.
func (a *Auth) run(ctx context.Context, method string, handler func() error, ended chan<- func() error) {
	end := func() error { runtime.Goexit(); return nil }
	defer func() {
		if p := recover(); p != nil {
			a.logPanic(ctx, "grpcauth: a stream's handler panicked", method, p)
			end = func() error { panic(p) }
		}
		ended <- end
	}()
	err := handler()
	end = func() error { return err }
}

// wait returns when the handler has, or when the token has expired. Where the client
// is gone before, it is up to the handler to notice.
func wait(ctx context.Context, ended <-chan func() error) error {
	select {
	case end := <-ended:
		return end()
	case <-ctx.Done():
		if expired(ctx) {
			return nil
		}
		return (<-ended)()
	}
}
