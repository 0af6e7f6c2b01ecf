package grpcauth_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/middleware/grpcauth"
)

type duplexStream = testpb.TestService_FullDuplexCallServer

const expiredChallenge = `Bearer realm="api", error="invalid_token", error_description="The access token is malformed, expired, revoked or not meant for this API"`

// expiring guards every method, and has a clock by which the token that it returns
// has so long to live, whenever a stream begins.
func expiring(t *testing.T, left time.Duration) (c grpcauth.Config, token string) {
	t.Helper()
	issuer, v := setup(t)
	token = issuer.Token(nil)
	verified, err := v.Verify(t.Context(), token)
	require.NoError(t, err)
	c = anyToken(v)
	c.Now = func() time.Time { return verified.ValidUntil.Add(-left) }
	return c, token
}

// open begins a duplex stream with that metadata.
func open(t *testing.T, conn *grpc.ClientConn, pairs ...string) testpb.TestService_FullDuplexCallClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), pairs...), time.Hour)
	t.Cleanup(cancel)
	stream, err := testpb.NewTestServiceClient(conn).FullDuplexCall(ctx)
	require.NoError(t, err)
	return stream
}

// exchange sends a message and receives its echo.
func exchange(t *testing.T, stream testpb.TestService_FullDuplexCallClient) {
	t.Helper()
	require.NoError(t, stream.Send(&testpb.StreamingOutputCallRequest{Payload: payload("x")}))
	_, err := stream.Recv()
	require.NoError(t, err)
}

// drain receives until the stream ends.
func drain(t *testing.T, stream grpc.ClientStream) answer {
	t.Helper()
	for {
		if err := stream.RecvMsg(&testpb.StreamingOutputCallResponse{}); err != nil {
			return answered(t, err, stream.Trailer(), "")
		}
	}
}

func requireExpired(t *testing.T, got answer) {
	t.Helper()
	require.Equal(t, codes.Unauthenticated, got.code, got.message)
	require.Equal(t, "TOKEN_EXPIRED", got.reason())
	require.Nil(t, got.retry)
}

// await fails the test if nothing comes for far longer than it may take.
func await[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(time.Minute):
		require.Fail(t, "nothing came")
	}
	return v
}

func flood(stream duplexStream) error {
	body := &testpb.Payload{Body: make([]byte, 1<<16)}
	for {
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: body}); err != nil {
			return err
		}
	}
}

func watch(returns error) func(duplexStream) error {
	return func(stream duplexStream) error {
		<-stream.Context().Done()
		return returns
	}
}

func TestAStreamEndsWithItsTokenWhateverItsHandlerDoes(t *testing.T) {
	for name, handler := range map[string]func(duplexStream) error{
		"blocked in Recv":                         echo,
		"blocked in Send":                         flood,
		"waits for its context and says so":       watch(context.DeadlineExceeded),
		"waits for its context, to end well":      watch(nil),
		"waits for its context, to say something": watch(status.Error(codes.Aborted, "the handler's own")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, token := expiring(t, 500*time.Millisecond)
			type end struct{ woke, cause error }
			ends := make(chan end, 1)
			conn := serve(t, service{duplex: func(stream duplexStream) error {
				e := end{woke: handler(stream), cause: context.Cause(stream.Context())}
				ends <- e
				return e.woke
			}}, newAuth(t, c).ServerOptions()...)

			stream := open(t, conn, with(token)...)
			var e end
			if name == "blocked in Send" {
				e = await(t, ends) // before the client reads anything
				requireExpired(t, drain(t, stream))
			} else {
				requireExpired(t, drain(t, stream))
				e = await(t, ends)
			}
			require.Equal(t, []string{expiredChallenge}, stream.Trailer().Get("www-authenticate"))
			require.ErrorIs(t, e.cause, jwtverify.ErrExpired)
			if strings.HasPrefix(name, "blocked") {
				require.Error(t, e.woke)
			}
		})
	}
}

func TestStreamsOfOtherKindsEndWithTheirTokenToo(t *testing.T) {
	c, token := expiring(t, 200*time.Millisecond)
	conn := serve(t, service{blocked: true}, newAuth(t, c).ServerOptions()...)
	ctx := metadata.AppendToOutgoingContext(t.Context(), with(token)...)
	down, err := testpb.NewTestServiceClient(conn).StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{})
	require.NoError(t, err)
	requireExpired(t, drain(t, down))
	up, err := testpb.NewTestServiceClient(conn).StreamingInputCall(ctx)
	require.NoError(t, err)
	requireExpired(t, drain(t, up))
}

// Server.ServeHTTP runs a server behind net/http's, which drops the challenge: for
// net/http it is no trailer.
func TestAStreamBehindNetHTTPEndsWithItsToken(t *testing.T) {
	c, token := expiring(t, 200*time.Millisecond)
	server := grpc.NewServer(newAuth(t, c).ServerOptions()...)
	woke := make(chan error, 1)
	testpb.RegisterTestServiceServer(server, service{duplex: func(stream duplexStream) error {
		err := echo(stream)
		woke <- err
		return err
	}})
	front := httptest.NewUnstartedServer(server)
	front.EnableHTTP2 = true
	front.StartTLS()
	t.Cleanup(front.Close)
	trust := x509.NewCertPool()
	trust.AddCert(front.Certificate())
	conn, err := grpc.NewClient(front.Listener.Addr().String(), grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(trust, "example.com")))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	requireExpired(t, drain(t, open(t, conn, with(token)...)))
	require.Error(t, await(t, woke))
	require.Equal(t, codes.Unauthenticated, call(t, conn, unary).code)
}

func TestAHandlerThatOutlivesItsStreamCanDoNoHarm(t *testing.T) {
	c, token := expiring(t, 100*time.Millisecond)
	over, errs := make(chan struct{}), make(chan []error, 1)
	conn := serve(t, service{duplex: func(stream duplexStream) error {
		<-over
		stream.SetTrailer(metadata.Pairs("late", "x"))
		response := &testpb.StreamingOutputCallResponse{}
		send, header := stream.Send(response), stream.SendHeader(metadata.Pairs("late", "x"))
		_, receive := stream.Recv()
		errs <- []error{send, header, receive}
		return nil
	}}, newAuth(t, c).ServerOptions()...)
	stream := open(t, conn, with(token)...)
	requireExpired(t, drain(t, stream))
	close(over)
	for _, err := range await(t, errs) {
		require.Error(t, err)
	}
	require.Empty(t, stream.Trailer().Get("late"))
	require.Equal(t, codes.OK, call(t, conn, unary, with(token)...).code, "the connection lives")
}

func TestNoGoroutineIsLeftWhenStreamsHaveEnded(t *testing.T) {
	c, token := expiring(t, 300*time.Millisecond)
	var returned atomic.Int32
	conn := serve(t, service{duplex: func(stream duplexStream) error {
		defer returned.Add(1)
		return echo(stream)
	}}, newAuth(t, c).ServerOptions()...)
	const streams = 20
	var opened []testpb.TestService_FullDuplexCallClient
	for range streams {
		opened = append(opened, open(t, conn, with(token)...))
	}
	for _, stream := range opened {
		requireExpired(t, drain(t, stream))
	}
	require.Eventually(t, func() bool {
		stacks := make([]byte, 1<<22)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return returned.Load() == streams && !strings.Contains(string(stacks), "grpcauth.(*Auth)")
	}, time.Minute, 10*time.Millisecond)
}

func TestAStreamWhoseTokenHasEndedNeverBegins(t *testing.T) {
	var called atomic.Bool
	v := verifierFunc(func(context.Context, string) (*jwtverify.Token, error) { return &jwtverify.Token{}, nil })
	conn := serve(t, service{called: &called}, newAuth(t, anyToken(v)).ServerOptions()...)
	requireExpired(t, call(t, conn, duplex, with("a.b.c")...))
	require.False(t, called.Load())
	require.Equal(t, codes.OK, call(t, conn, unary, with("a.b.c")...).code, "a unary call takes no time")
}

// In memory, where hours pass at once: a stream is judged once, is left alone until
// its token's end, and takes nothing else with it.
func TestAStreamIsJudgedOnceAndEndsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var verified atomic.Int32
		lifetimes := map[string]time.Duration{"short": 10 * time.Minute, "long": 30 * time.Minute}
		c := anyToken(verifierFunc(func(_ context.Context, token string) (*jwtverify.Token, error) {
			verified.Add(1)
			return &jwtverify.Token{Subject: token, ValidUntil: time.Now().Add(lifetimes[token])}, nil
		}))
		c.Public = []string{healthpb.Health_Watch_FullMethodName}
		conn := connectInMemory(t, service{duplex: echo}, append(newAuth(t, c).ServerOptions(),
			grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: time.Second}))...)

		watched, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
		require.NoError(t, err)
		short, long := open(t, conn, with("short")...), open(t, conn, with("long")...)
		for range 9 {
			exchange(t, short)
			exchange(t, long)
			time.Sleep(time.Minute + time.Second)
		}
		exchange(t, short) // 51 s before its end
		time.Sleep(time.Minute)
		requireExpired(t, drain(t, short))
		for range 19 {
			exchange(t, long)
			time.Sleep(time.Minute)
		}
		exchange(t, long)
		require.EqualValues(t, 2, verified.Load())
		time.Sleep(2 * time.Minute)
		requireExpired(t, drain(t, long))

		_, err = watched.Recv()
		require.NoError(t, err)
		require.Equal(t, connectivity.Ready, conn.GetState())
		exchange(t, open(t, conn, with("short")...))
	})
}

func TestAStreamThatEndsInTimeEndsAsItsHandlerSays(t *testing.T) {
	good := verifierFunc(func(context.Context, string) (*jwtverify.Token, error) {
		return &jwtverify.Token{Subject: "alice", ValidUntil: time.Now().Add(time.Hour)}, nil
	})
	for name, returns := range map[string]error{"well": nil, "badly": status.Error(codes.NotFound, "no such order")} {
		t.Run(name, func(t *testing.T) {
			var ctx context.Context
			conn := serve(t, service{duplex: func(stream duplexStream) error {
				ctx = stream.Context()
				stream.SetTrailer(metadata.Pairs("of", "handler"))
				return returns
			}}, newAuth(t, anyToken(good)).ServerOptions()...)
			got := call(t, conn, duplex, with("a.b.c")...)
			require.Equal(t, []string{"handler"}, got.trailer.Get("of"))
			require.Empty(t, got.challenge())
			require.Nil(t, got.info)
			if returns == nil {
				require.Equal(t, "EOF", got.message)
			} else {
				require.Equal(t, codes.NotFound, got.code)
			}
			require.NotErrorIs(t, context.Cause(ctx), jwtverify.ErrExpired)
		})
	}
}

// within is an interceptor outside of the guard that shows how a stream's end looks
// from there.
func within(end func(recovered any, err error)) grpc.ServerOption {
	return grpc.StreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
		err = errors.New("the handler never returned")
		defer func() {
			p := recover()
			end(p, err)
			if p != nil {
				err = status.Error(codes.Internal, "recovered")
			}
		}()
		err = handler(srv, ss)
		return err
	})
}

func TestAStreamsHandlerIsWaitedForWhenItsClientIsGone(t *testing.T) {
	c, token := expiring(t, time.Hour)
	begun, goOn, ends := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var returned atomic.Bool
	var cause error
	conn := serve(t, service{duplex: func(stream duplexStream) error {
		close(begun)
		<-stream.Context().Done()
		cause = context.Cause(stream.Context())
		<-goOn
		returned.Store(true)
		return status.Error(codes.Aborted, "noticed")
	}}, append(newAuth(t, c).ServerOptions(), within(func(_ any, err error) {
		require.True(t, returned.Load())
		ends <- err
	}))...)
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), with(token)...))
	_, err := testpb.NewTestServiceClient(conn).FullDuplexCall(ctx)
	require.NoError(t, err)
	await(t, begun)
	cancel()
	close(goOn)
	require.Equal(t, codes.Aborted, status.Code(await(t, ends)))
	require.ErrorIs(t, cause, context.Canceled)
}

func TestAPanicInAStreamsHandlerGoesOnInTheInterceptor(t *testing.T) {
	c, token := expiring(t, time.Hour)
	log := &plainLog{}
	c.Logger = log.logger()
	boom := errors.New("boom\r\n")
	ends := make(chan any, 1)
	conn := serve(t, service{duplex: func(duplexStream) error { panic(boom) }},
		append(newAuth(t, c).ServerOptions(), within(func(p any, _ error) { ends <- p }))...)
	require.Equal(t, "recovered", call(t, conn, duplex, with(token)...).message)
	require.Equal(t, boom, await(t, ends), "the very value")
	requirePanicLogged(t, log)
}

func TestAPublicStreamIsLeftAlone(t *testing.T) {
	log := &plainLog{}
	_, v := setup(t)
	ends := make(chan any, 1)
	auth := newAuth(t, grpcauth.Config{Verifier: v, Logger: log.logger(), Public: []string{duplex}})
	conn := serve(t, service{duplex: func(duplexStream) error { panic("boom") }}, append(auth.ServerOptions(), within(func(p any, _ error) { ends <- p }))...)
	open(t, conn)
	require.Equal(t, "boom", await(t, ends))
	require.Empty(t, log.lines(), "whose stack is whole")
}

func TestAPanicAfterAStreamsEndIsLoggedAndNoMore(t *testing.T) {
	c, token := expiring(t, 100*time.Millisecond)
	log := &plainLog{}
	c.Logger = log.logger()
	goOn := make(chan struct{})
	conn := serve(t, service{duplex: func(duplexStream) error { <-goOn; panic("boom\r\n") }}, newAuth(t, c).ServerOptions()...)
	requireExpired(t, drain(t, open(t, conn, with(token)...)))
	close(goOn)
	require.Eventually(t, func() bool { return len(log.lines()) > 0 }, time.Minute, time.Millisecond)
	requirePanicLogged(t, log)
	require.Equal(t, codes.OK, call(t, conn, unary, with(token)...).code, "the process lives")
}

func requirePanicLogged(t *testing.T, log *plainLog) {
	t.Helper()
	require.Len(t, log.lines(), 1)
	line := log.lines()[0]
	require.True(t, strings.HasPrefix(line, "ERROR "), line)
	require.Contains(t, line, duplex)
	require.Contains(t, line, `boom\r\n`)
	require.Contains(t, line, "stream_test.go", "the handler's stack")
	require.NotRegexp(t, `[^ -~]`, line)
}

func TestAStreamsHandlerThatExitsTakesTheInterceptorWithIt(t *testing.T) {
	c, token := expiring(t, time.Hour)
	ends := make(chan error, 1)
	conn := serve(t, service{duplex: func(duplexStream) error { runtime.Goexit(); return nil }},
		append(newAuth(t, c).ServerOptions(), within(func(p any, err error) {
			require.Nil(t, p)
			ends <- err
		}))...)
	open(t, conn, with(token)...)
	require.EqualError(t, await(t, ends), "the handler never returned")
}
