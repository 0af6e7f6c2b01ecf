package grpcauth_test

import (
	"context"
	"errors"
	"math"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/middleware/bearer"
	"github.com/bearerguard/bearerguard/middleware/grpcauth"
)

const (
	audience = "https://api.example.com"

	unary  = testpb.TestService_UnaryCall_FullMethodName
	duplex = testpb.TestService_FullDuplexCall_FullMethodName
	output = testpb.TestService_StreamingOutputCall_FullMethodName
	input  = testpb.TestService_StreamingInputCall_FullMethodName
)

// setup starts an issuer and makes a Verifier of its tokens.
func setup(t *testing.T) (*jwttest.Issuer, *jwtverify.Verifier) {
	t.Helper()
	issuer := jwttest.NewIssuer(audience)
	t.Cleanup(issuer.Close)
	v, err := jwtverify.New(issuer.Config())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	return issuer, v
}

func newAuth(t *testing.T, c grpcauth.Config) *grpcauth.Auth {
	t.Helper()
	auth, err := grpcauth.New(c)
	require.NoError(t, err)
	return auth
}

// anyToken guards every method of the tests with a valid token alone.
func anyToken(v bearer.Verifier) grpcauth.Config {
	return grpcauth.Config{Verifier: v, AnyToken: []string{unary, duplex, output, input}}
}

// service answers with the subject of the token, unless a test says otherwise.
type service struct {
	testpb.UnimplementedTestServiceServer
	called  *atomic.Bool // nil: nobody asks
	blocked bool         // one-way streams end with their context
	duplex  func(testpb.TestService_FullDuplexCallServer) error
}

func (s service) note() {
	if s.called != nil {
		s.called.Store(true)
	}
}

func whoami(ctx context.Context) string {
	if token, ok := jwtverify.FromContext(ctx); ok {
		return token.Subject
	}
	return "nobody"
}

func (s service) UnaryCall(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	s.note()
	return &testpb.SimpleResponse{Username: whoami(ctx)}, nil
}

func payload(text string) *testpb.Payload { return &testpb.Payload{Body: []byte(text)} }

func (s service) StreamingOutputCall(_ *testpb.StreamingOutputCallRequest, stream testpb.TestService_StreamingOutputCallServer) error {
	s.note()
	if s.blocked {
		<-stream.Context().Done()
	}
	return stream.Send(&testpb.StreamingOutputCallResponse{Payload: payload(whoami(stream.Context()))})
}

func (s service) StreamingInputCall(stream testpb.TestService_StreamingInputCallServer) error {
	s.note()
	if s.blocked {
		_, err := stream.Recv()
		return err
	}
	return stream.SendAndClose(&testpb.StreamingInputCallResponse{AggregatedPayloadSize: int32(len(whoami(stream.Context())))})
}

func (s service) FullDuplexCall(stream testpb.TestService_FullDuplexCallServer) error {
	s.note()
	if s.duplex != nil {
		return s.duplex(stream)
	}
	return stream.Send(&testpb.StreamingOutputCallResponse{Payload: payload(whoami(stream.Context()))})
}

// serve runs a server on loopback until the test ends, and connects to it.
func serve(t *testing.T, s service, opts ...grpc.ServerOption) *grpc.ClientConn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	start(t, listener, s, opts...)
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

func start(t *testing.T, listener net.Listener, s service, opts ...grpc.ServerOption) *grpc.Server {
	server := grpc.NewServer(opts...)
	testpb.RegisterTestServiceServer(server, s)
	healthpb.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return server
}

// answer is what a client sees of a call.
type answer struct {
	code    codes.Code
	message string
	info    *errdetails.ErrorInfo
	retry   *errdetails.RetryInfo
	trailer metadata.MD
	subject string
}

func answered(t *testing.T, err error, trailer metadata.MD, subject string) answer {
	t.Helper()
	s := status.Convert(err)
	a := answer{code: s.Code(), message: s.Message(), trailer: trailer, subject: subject}
	for _, detail := range s.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			require.Nil(t, a.info)
			a.info = detail
		case *errdetails.RetryInfo:
			require.Nil(t, a.retry)
			a.retry = detail
		default:
			require.Fail(t, "an unknown detail", "%v", detail)
		}
	}
	if a.info != nil {
		require.Equal(t, "bearerguard", a.info.Domain)
		require.Empty(t, a.info.Metadata)
	}
	return a
}

func (a answer) reason() string { return a.info.GetReason() }

func (a answer) challenge() []string { return a.trailer.Get("www-authenticate") }

// call makes a call of that method and reads all of its answer.
func call(t *testing.T, conn *grpc.ClientConn, method string, pairs ...string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(t.Context(), metadata.Pairs(pairs...)), 30*time.Second)
	defer cancel()
	var trailer metadata.MD
	if method == unary {
		response, err := testpb.NewTestServiceClient(conn).UnaryCall(ctx, &testpb.SimpleRequest{}, grpc.Trailer(&trailer))
		return answered(t, err, trailer, response.GetUsername())
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	require.NoError(t, err)
	require.NoError(t, stream.CloseSend())
	response := &testpb.StreamingOutputCallResponse{}
	err = stream.RecvMsg(response)
	if err == nil {
		require.Error(t, stream.RecvMsg(&testpb.StreamingOutputCallResponse{}))
	}
	return answered(t, err, stream.Trailer(), string(response.GetPayload().GetBody()))
}

func with(token string) []string { return []string{"authorization", "Bearer " + token} }

func TestEachRefusalHasItsCodeReasonAndChallenge(t *testing.T) {
	issuer, v := setup(t)
	good := issuer.Token(jwttest.Claims{"scope": "read write", "sub": "alice"})
	const invalidToken = `Bearer realm="orders", error="invalid_token", error_description="The access token is malformed, expired, revoked or not meant for this API"`
	const invalidRequest = `Bearer realm="orders", error="invalid_request", error_description="The request must carry one well-formed bearer token and no other credential"`
	const forbidden = `Bearer realm="orders", error="insufficient_scope", error_description="The access token does not have the scopes or roles that are needed"`
	scoped := jwtverify.Scopes("read", "write")
	for name, c := range map[string]struct {
		rule      jwtverify.Rule
		metadata  []string
		code      codes.Code
		reason    string
		challenge string
	}{
		"a good token":                      {scoped, with(good), codes.OK, "", ""},
		"a good token, scheme in any case":  {scoped, []string{"authorization", "bEARER " + good}, codes.OK, "", ""},
		"no metadata":                       {scoped, nil, codes.Unauthenticated, "", `Bearer realm="orders"`},
		"other credentials":                 {scoped, []string{"authorization", "Basic dTpw"}, codes.Unauthenticated, "", `Bearer realm="orders"`},
		"a gateway's copy alone":            {scoped, []string{"grpcgateway-authorization", "Bearer " + good}, codes.Unauthenticated, "", `Bearer realm="orders"`},
		"a gateway's copy beside":           {scoped, append(with(good), "grpcgateway-authorization", "Bearer "+good), codes.OK, "", ""},
		"two values":                        {scoped, append(with(good), with(good)...), codes.Unauthenticated, "INVALID_TOKEN", invalidRequest},
		"two values, one of another scheme": {scoped, append(with(good), "authorization", "Basic dTpw"), codes.Unauthenticated, "INVALID_TOKEN", invalidRequest},
		"two values in one":                 {scoped, []string{"authorization", "Bearer " + good + ", Bearer " + good}, codes.Unauthenticated, "INVALID_TOKEN", invalidRequest},
		"an empty value":                    {scoped, []string{"authorization", ""}, codes.Unauthenticated, "INVALID_TOKEN", invalidRequest},
		"no token in the value":             {scoped, []string{"authorization", "Bearer"}, codes.Unauthenticated, "INVALID_TOKEN", invalidRequest},
		"binary":                            {scoped, []string{"authorization-bin", "Bearer " + good}, codes.Unauthenticated, "INVALID_TOKEN", invalidRequest},
		"empty and binary":                  {scoped, []string{"authorization-bin", ""}, codes.Unauthenticated, "INVALID_TOKEN", invalidRequest},
		"binary beside a good one":          {scoped, append(with(good), "authorization-bin", "x"), codes.Unauthenticated, "INVALID_TOKEN", invalidRequest},
		"oversized":                         {scoped, with(strings.Repeat("x", 1<<20)), codes.Unauthenticated, "INVALID_TOKEN", invalidToken},
		"no JWT":                            {scoped, with("abc"), codes.Unauthenticated, "INVALID_TOKEN", invalidToken},
		"another audience":                  {scoped, with(issuer.Token(jwttest.Claims{"aud": "x"})), codes.Unauthenticated, "INVALID_TOKEN", invalidToken},
		"expired before the call":           {scoped, with(issuer.Token(jwttest.Claims{"exp": 1})), codes.Unauthenticated, "INVALID_TOKEN", invalidToken},
		"an unknown key":                    {scoped, with(issuer.Mint(jwttest.Header{"kid": "x"}, nil)), codes.Unauthenticated, "INVALID_TOKEN", invalidToken},
		"a scope missing":                   {scoped, with(issuer.Token(jwttest.Claims{"scope": "read"})), codes.PermissionDenied, "INSUFFICIENT_SCOPE", forbidden + `, scope="read write"`},
		"a role missing":                    {jwtverify.Roles("admin"), with(good), codes.PermissionDenied, "INSUFFICIENT_SCOPE", forbidden},
		"a rule made of nothing":            {jwtverify.All(), with(good), codes.PermissionDenied, "INSUFFICIENT_SCOPE", forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, grpcauth.Config{Verifier: v, Realm: "orders", Rules: map[string]jwtverify.Rule{
				unary: c.rule, duplex: c.rule, output: c.rule, input: c.rule,
			}})
			conn := serve(t, service{}, auth.ServerOptions()...)
			for _, method := range []string{unary, duplex, output, input} {
				if method == output || method == input {
					if c.code == codes.OK {
						continue // call speaks with these as with a duplex stream
					}
				}
				got := call(t, conn, method, c.metadata...)
				require.Equal(t, c.code, got.code, got.message)
				require.Equal(t, c.reason, got.reason())
				require.Equal(t, c.reason == "", got.info == nil, "who sent nothing is told nothing")
				require.Nil(t, got.retry)
				if c.code == codes.OK {
					require.Equal(t, "alice", got.subject)
					require.Empty(t, got.challenge())
					continue
				}
				require.Empty(t, got.subject, "the handler is not called")
				require.Equal(t, []string{c.challenge}, got.challenge())
				require.NotContains(t, got.message, "audience", "the reason is for logs")
			}
		})
	}
}

func TestAnOutageIsUnavailableWithRetryInfoAndNoChallenge(t *testing.T) {
	issuer := jwttest.NewIssuer(audience)
	t.Cleanup(issuer.Close)
	issuer.Respond(jwttest.Down)
	v, err := jwtverify.New(issuer.Config())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	conn := serve(t, service{}, newAuth(t, anyToken(v)).ServerOptions()...)
	for _, method := range []string{unary, duplex} {
		got := call(t, conn, method, with(issuer.Token(nil))...)
		require.Equal(t, codes.Unavailable, got.code)
		require.Equal(t, "UNAVAILABLE", got.reason())
		require.GreaterOrEqual(t, got.retry.GetRetryDelay().AsDuration(), time.Second)
		require.Empty(t, got.challenge())
	}
}

type verifierFunc func(context.Context, string) (*jwtverify.Token, error)

func (f verifierFunc) Verify(ctx context.Context, token string) (*jwtverify.Token, error) {
	return f(ctx, token)
}

func TestWhateverAVerifierSaysNobodyGetsInWithoutAToken(t *testing.T) {
	for name, c := range map[string]struct {
		token *jwtverify.Token
		err   error
		code  codes.Code
		retry time.Duration
	}{
		"nothing":                 {nil, nil, codes.Unavailable, time.Second},
		"an unknown error":        {nil, errors.New("boom"), codes.Unavailable, time.Second},
		"a token and an error":    {&jwtverify.Token{}, errors.New("boom"), codes.Unavailable, time.Second},
		"a retry time":            {nil, &jwtverify.Error{Reason: jwtverify.ErrUnavailable, RetryAfter: 1500 * time.Millisecond}, codes.Unavailable, 1500 * time.Millisecond},
		"no end in sight":         {nil, &jwtverify.Error{Reason: jwtverify.ErrUnavailable, RetryAfter: math.MaxInt64}, codes.Unavailable, 24 * time.Hour},
		"no credentials, it says": {nil, bearer.ErrNoCredentials, codes.Unavailable, time.Second},
		"a status, it says":       {nil, status.Error(codes.OK, "boom"), codes.Unavailable, time.Second},
		"a reason":                {nil, jwtverify.ErrRevoked, codes.Unauthenticated, 0},
	} {
		t.Run(name, func(t *testing.T) {
			v := verifierFunc(func(context.Context, string) (*jwtverify.Token, error) { return c.token, c.err })
			conn := serve(t, service{}, newAuth(t, anyToken(v)).ServerOptions()...)
			for _, method := range []string{unary, duplex} {
				got := call(t, conn, method, with("a.b.c")...)
				require.Equal(t, c.code, got.code)
				require.Equal(t, c.retry, got.retry.GetRetryDelay().AsDuration())
				require.Empty(t, got.subject)
				require.NotContains(t, got.message, "boom")
				require.NotContains(t, got.message, "gave no verdict")
			}
		})
	}
}

// unknown is what grpc.UnknownServiceHandler serves: names that a client makes up.
const unknown = "/made.up\t\u00e9.Service/Method"

func TestAMethodThatNobodyNamedIsRefusedWhateverTheToken(t *testing.T) {
	issuer, v := setup(t)
	log := &plainLog{}
	auth := newAuth(t, grpcauth.Config{Verifier: v, Logger: log.logger(), AnyToken: []string{input}})
	conn := serve(t, service{}, append(auth.ServerOptions(),
		grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return nil }))...)
	var first answer
	for _, method := range []string{unary, duplex, output, unknown, "/" + strings.Repeat("long", 1000) + "/M", unary + "/"} {
		for _, pairs := range [][]string{with(issuer.Token(nil)), with("bad"), nil} {
			got := call(t, conn, method, pairs...)
			require.Equal(t, codes.PermissionDenied, got.code)
			require.Nil(t, got.info, "no other token would help")
			require.Empty(t, got.challenge())
			require.Contains(t, got.message, "no policy")
			if first.message == "" {
				first = got
			}
			require.Equal(t, first.message, got.message)
		}
	}
	lines := log.lines()
	require.Len(t, lines, 18)
	require.True(t, strings.HasPrefix(lines[0], "WARN "), lines[0])
	require.Contains(t, lines[0], unary)
	require.Contains(t, lines[0], "Auth.Unprotected")
	for _, line := range lines {
		require.NotContains(t, line, "\n")
		require.NotRegexp(t, `[^ -~]`, line)
		require.Less(t, len(line), 500)
	}
	for _, line := range lines[1:] {
		require.True(t, strings.HasPrefix(line, "DEBUG "), "who floods us does not fill the log: %s", line)
	}
}

func TestAPublicMethodTakesNoTokenAndGetsNone(t *testing.T) {
	issuer, v := setup(t)
	issuer.Respond(jwttest.Down)
	public := grpcauth.Config{Verifier: v, Public: []string{unary, duplex}}
	unaryOuter := func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		return handler(jwtverify.NewContext(ctx, &jwtverify.Token{Subject: "mallory"}), request)
	}
	conn := serve(t, service{}, append([]grpc.ServerOption{grpc.UnaryInterceptor(unaryOuter), grpc.StreamInterceptor(streamOuter)},
		newAuth(t, public).ServerOptions()...)...)
	for _, method := range []string{unary, duplex} {
		for _, pairs := range [][]string{nil, with(issuer.Token(nil)), with("bad"), append(with("a"), with("b")...), {"authorization-bin", "x"}} {
			got := call(t, conn, method, pairs...)
			require.Equal(t, codes.OK, got.code, got.message)
			require.Equal(t, "nobody", got.subject)
		}
	}
}

// streamOuter stands for something that put a token in the context on its own.
func streamOuter(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(srv, &outerStream{ss})
}

type outerStream struct{ grpc.ServerStream }

func (s *outerStream) Context() context.Context {
	return jwtverify.NewContext(s.ServerStream.Context(), &jwtverify.Token{Subject: "mallory"})
}

func TestATokenThatSomethingElsePutInTheContextOpensNothing(t *testing.T) {
	_, v := setup(t)
	conn := serve(t, service{}, append([]grpc.ServerOption{grpc.StreamInterceptor(streamOuter)}, newAuth(t, anyToken(v)).ServerOptions()...)...)
	require.Equal(t, codes.Unauthenticated, call(t, conn, duplex).code)
}

func TestHealthAndReflectionAreOpenByNameAlone(t *testing.T) {
	_, v := setup(t)
	c := anyToken(v)
	c.Public = []string{healthpb.Health_Check_FullMethodName, healthpb.Health_Watch_FullMethodName, reflectionpb.ServerReflection_ServerReflectionInfo_FullMethodName}
	conn := serve(t, service{}, newAuth(t, c).ServerOptions()...)

	healthy, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, healthy.Status)
	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	healthy, err = watch.Recv()
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, healthy.Status)
	_, err = healthpb.NewHealthClient(conn).List(t.Context(), &healthpb.HealthListRequest{})
	require.Equal(t, codes.PermissionDenied, status.Code(err), "a neighbour of a public method is not public")

	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{},
	}))
	listed, err := stream.Recv()
	require.NoError(t, err)
	require.NotEmpty(t, listed.GetListServicesResponse().GetService())
}

func TestAStrangersWordsNeverComeBack(t *testing.T) {
	issuer, v := setup(t)
	log := &plainLog{}
	c := grpcauth.Config{Verifier: v, Logger: log.logger(), Rules: map[string]jwtverify.Rule{unary: jwtverify.Scopes("read")}}
	conn := serve(t, service{}, newAuth(t, c).ServerOptions()...)
	nasty := "x\"\r\nset-cookie: a=b\r\n\r\n<blink>"
	for _, token := range []string{
		issuer.Mint(jwttest.Header{"alg": nasty}, nil),
		issuer.Mint(jwttest.Header{"kid": nasty}, nil),
		issuer.Mint(jwttest.Header{"typ": nasty}, nil),
		issuer.Token(jwttest.Claims{"iss": nasty}),
		issuer.Token(jwttest.Claims{"scope": nasty, "sub": nasty}),
		"<blink>",
	} {
		got := call(t, conn, unary, with(token)...)
		require.NotEqual(t, codes.OK, got.code)
		require.Empty(t, got.trailer.Get("set-cookie"))
		for _, text := range append(got.challenge(), got.message, got.info.String()) {
			require.NotContains(t, text, "blink")
			require.NotContains(t, text, "cookie")
		}
	}
	require.Empty(t, log.lines(), "the Verifier logs what it refuses")
}

func TestAPanicOfAVerifierOrARuleIsAnOutageAndNotTheEnd(t *testing.T) {
	nasty := "boom\r\nFATAL " + strings.Repeat("x", 1<<20)
	good := verifierFunc(func(context.Context, string) (*jwtverify.Token, error) {
		return &jwtverify.Token{ValidUntil: time.Now().Add(time.Hour)}, nil
	})
	for name, c := range map[string]struct {
		verifier bearer.Verifier
		rule     jwtverify.Rule
	}{
		"Verifier": {verifierFunc(func(context.Context, string) (*jwtverify.Token, error) { panic(nasty) }), jwtverify.Scopes("x")},
		"Rule":     {good, jwtverify.RuleFunc("panics", func(context.Context, *jwtverify.Token) bool { panic(errors.New(nasty)) })},
	} {
		t.Run(name, func(t *testing.T) {
			log := &plainLog{}
			conn := serve(t, service{}, newAuth(t, grpcauth.Config{
				Verifier: c.verifier, Logger: log.logger(), Rules: map[string]jwtverify.Rule{unary: c.rule, duplex: c.rule},
			}).ServerOptions()...)
			for _, method := range []string{unary, duplex} {
				got := call(t, conn, method, with("a.b.c")...)
				require.Equal(t, codes.Unavailable, got.code)
				require.Equal(t, "UNAVAILABLE", got.reason())
				require.NotContains(t, got.message, "boom")
			}
			require.Len(t, log.lines(), 2)
			for _, line := range log.lines() {
				require.True(t, strings.HasPrefix(line, "ERROR "), line)
				require.Contains(t, line, "boom")
				require.Contains(t, line, "grpcauth_test.go", "the stack")
				require.NotContains(t, line, "\n")
				require.Less(t, len(line), 20_000)
			}
		})
	}
}

func TestNewNamesEveryFault(t *testing.T) {
	_, err := grpcauth.New(grpcauth.Config{
		Verifier: (*jwtverify.Verifier)(nil),
		Realm:    "a\r\nb",
		Rules:    map[string]jwtverify.Rule{"shop.Orders/List": jwtverify.Scopes("a"), "/shop.Orders/Zero": {}},
		AnyToken: []string{"/shop.Orders/*", "/shop.Orders/Zero"},
		Public:   []string{"", "/a/b", "/a/b"},
	})
	for _, fault := range []string{
		"grpcauth: Config.Verifier is required: write",
		"Config.Realm is",
		`Config.Rules names "shop.Orders/List": write "/package.Service/Method"`,
		`Config.Rules["/shop.Orders/Zero"] allows nothing: write`,
		`Config.AnyToken names "/shop.Orders/*": write`,
		`Config.AnyToken names "/shop.Orders/Zero", which is named before: write`,
		`Config.Public names "": write`,
		`Config.Public names "/a/b", which is named before`,
	} {
		require.ErrorContains(t, err, fault)
	}
	_, v := setup(t)
	_, err = grpcauth.New(grpcauth.Config{Verifier: v})
	require.EqualError(t, err, "grpcauth: Config names no method, and so allows none: write them in Rules, AnyToken and Public")
	for _, method := range []string{"/", "//", "/a", "/a/", "//b", "a/b", "a/b/c", "/a/b/c", "/a/b/", "/a /b", "/a/b\n", "/a/*", "/*/b", "/ä/b", "https://a/b"} {
		_, err := grpcauth.New(grpcauth.Config{Verifier: v, Public: []string{method}})
		require.ErrorContains(t, err, "Config.Public names ", method)
	}
}

func TestEachMethodHasItsOwnRule(t *testing.T) {
	issuer, v := setup(t)
	methods := map[string]string{unary: "a", duplex: "b", output: "c"}
	c := grpcauth.Config{Verifier: v, AnyToken: []string{input}, Rules: map[string]jwtverify.Rule{}}
	for method, scope := range methods {
		c.Rules[method] = jwtverify.Scopes(scope)
	}
	conn := serve(t, service{}, newAuth(t, c).ServerOptions()...)
	for method, scope := range methods {
		for _, has := range []string{"a", "b", "c", ""} {
			got := call(t, conn, method, with(issuer.Token(jwttest.Claims{"scope": has}))...)
			require.Equal(t, scope != has, got.code == codes.PermissionDenied, "%s %s", method, has)
		}
	}
	require.NotEqual(t, codes.PermissionDenied, call(t, conn, input, with(issuer.Token(nil))...).code)
}

func TestAnAuthKeepsNothingOfItsConfigThatCanBeChanged(t *testing.T) {
	_, v := setup(t)
	c := grpcauth.Config{Verifier: v, Rules: map[string]jwtverify.Rule{unary: jwtverify.Scopes("read")}, AnyToken: []string{duplex}}
	auth := newAuth(t, c)
	delete(c.Rules, unary)
	c.AnyToken[0] = output
	conn := serve(t, service{}, auth.ServerOptions()...)
	require.Equal(t, codes.Unauthenticated, call(t, conn, unary).code)
	require.Equal(t, codes.Unauthenticated, call(t, conn, duplex).code)
	require.Equal(t, codes.PermissionDenied, call(t, conn, output).code)
}

func TestUnprotectedListsWhatIsPublicAndWhatIsForgotten(t *testing.T) {
	_, v := setup(t)
	auth := newAuth(t, grpcauth.Config{
		Verifier: v, Public: []string{healthpb.Health_Check_FullMethodName},
		Rules:    map[string]jwtverify.Rule{healthpb.Health_List_FullMethodName: jwtverify.Scopes("read")},
		AnyToken: []string{duplex},
	})
	server := grpc.NewServer(auth.ServerOptions()...)
	require.Empty(t, auth.Unprotected(server))
	healthpb.RegisterHealthServer(server, health.NewServer())
	require.Equal(t, []string{healthpb.Health_Check_FullMethodName, healthpb.Health_Watch_FullMethodName}, auth.Unprotected(server))
	testpb.RegisterTestServiceServer(server, service{})
	unprotected := auth.Unprotected(server)
	require.IsIncreasing(t, unprotected)
	require.Contains(t, unprotected, unary)
	require.Contains(t, unprotected, output)
	require.NotContains(t, unprotected, duplex)
}
