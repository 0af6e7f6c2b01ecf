package e2e_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/middleware/bearer"
	"github.com/bearerguard/bearerguard/middleware/grpcauth"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

// One table for all: whatever a request carries and whatever is wrong, Verify, net/http,
// chi and gRPC say the same, each in its own words.
func TestEveryAdapterSaysTheSame(t *testing.T) {
	issuer := jwttest.NewIssuer("https://api.example.com")
	defer issuer.Close()
	const tenant jwtverify.Reason = "tenant"
	config := issuer.Config()
	config.Checks = []func(context.Context, *jwtverify.Token) error{func(_ context.Context, t *jwtverify.Token) error {
		return map[string]error{
			"revoked": jwtverify.ErrRevoked, "inactive": jwtverify.ErrInactive, "rejected": errors.New("no"), "tenant": tenant,
			"outage": &jwtverify.Error{Reason: jwtverify.ErrUnavailable, RetryAfter: 7 * time.Second}, "timeout": context.DeadlineExceeded,
		}[t.Subject]
	}}
	v, err := jwtverify.New(config)
	require.NoError(t, err)
	defer v.Close()
	down := jwttest.NewIssuer("https://api.example.com")
	defer down.Close()
	down.Respond(jwttest.Down)
	dead, err := jwtverify.New(down.Config())
	require.NoError(t, err)
	defer dead.Close()
	closed, err := jwtverify.New(issuer.Config())
	require.NoError(t, err)
	require.NoError(t, closed.Close())

	claims := func(pairs ...any) jwttest.Claims {
		c := jwttest.Claims{"scope": "read", "sub": "alice"}
		for i := 0; i < len(pairs); i += 2 {
			c[pairs[i].(string)] = pairs[i+1]
		}
		return c
	}
	token := func(pairs ...any) []string { return []string{"Bearer " + issuer.Token(claims(pairs...))} }
	mint := func(name string, value any) []string {
		return []string{"Bearer " + issuer.Mint(jwttest.Header{name: value}, claims())}
	}
	untyped := func(pairs ...any) []string {
		return []string{"Bearer " + issuer.Mint(jwttest.Header{"typ": "JWT"}, claims(pairs...))}
	}
	good := token()[0]
	part := strings.Split(strings.TrimPrefix(good, "Bearer "), ".")
	joined := func(parts ...string) []string { return []string{"Bearer " + strings.Join(parts, ".")} }
	now := time.Now().Unix()
	returns := func(tok *jwtverify.Token, err error) bearer.Verifier {
		return verifierFunc(func(context.Context, string) (*jwtverify.Token, error) { return tok, err })
	}
	malformed, none, forbidden := bearer.ErrMalformedRequest, bearer.ErrNoCredentials, bearer.ErrForbidden

	groups := []struct {
		verifier bearer.Verifier
		cases    map[string]agreement
	}{
		{v, map[string]agreement{
			"good":                         {[]string{good}, nil},
			"scheme in lower case":         {[]string{"bearer " + good[7:]}, nil},
			"scheme in mixed case":         {[]string{"bEARER " + good[7:]}, nil},
			"two spaces":                   {[]string{"Bearer  " + good[7:]}, nil},
			"several scopes":               {token("scope", "write read"), nil},
			"scp":                          {token("scope", "", "scp", []string{"read"}), nil},
			"at+jwt":                       {mint("typ", "at+jwt"), nil},
			"application/at+jwt":           {mint("typ", "application/at+jwt"), nil},
			"several audiences":            {token("aud", []string{"https://other.example.com", "https://api.example.com"}), nil},
			"no credentials":               {nil, none},
			"Basic":                        {[]string{"Basic dTpw"}, none},
			"Digest":                       {[]string{`Digest username="u", realm="r", uri="/"`}, none},
			"DPoP":                         {[]string{"DPoP " + good[7:]}, none},
			"a scheme that begins alike":   {[]string{"BearerX " + good[7:]}, none},
			"no scheme":                    {[]string{good[7:]}, none},
			"the scheme alone":             {[]string{"Bearer"}, malformed},
			"a semicolon":                  {[]string{"Bearer a;b"}, malformed},
			"something behind":             {[]string{good + " x"}, malformed},
			"two tokens, joined":           {[]string{good + ", " + good}, malformed},
			"two schemes, joined":          {[]string{"Basic dTpw, " + good}, malformed},
			"quoted":                       {[]string{`Bearer "` + good[7:] + `"`}, malformed},
			"parameters":                   {[]string{`Bearer token="x"`}, malformed},
			"padding alone":                {[]string{"Bearer =="}, malformed},
			"padding within":               {[]string{"Bearer a=b"}, malformed},
			"a percent":                    {[]string{"Bearer a%20b"}, malformed},
			"two of them":                  {[]string{good, good}, malformed},
			"two, and one is no bearer's":  {[]string{"Basic dTpw", good}, malformed},
			"three":                        {[]string{good, good, good}, malformed},
			"no JWT":                       {[]string{"Bearer abc"}, jwtverify.ErrMalformed},
			"two segments":                 {joined(part[0], part[1]), jwtverify.ErrMalformed},
			"four segments":                {joined(part[0], part[1], part[2], part[2]), jwtverify.ErrMalformed},
			"five segments":                {joined(part[0], "", part[1], part[2], part[2]), jwtverify.ErrMalformed},
			"no signature":                 {joined(part[0], part[1], ""), jwtverify.ErrMalformed},
			"no header":                    {joined("", part[1], part[2]), jwtverify.ErrMalformed},
			"no claims":                    {joined(part[0], "", part[2]), jwtverify.ErrMalformed},
			"padded":                       {joined(part[0], part[1], part[2]+"=="), jwtverify.ErrMalformed},
			"the other base64":             {joined(part[0], part[1], "+/"+part[2][2:]), jwtverify.ErrMalformed},
			"claims that are cut off":      {joined(part[0], part[1][:len(part[1])/8*4], part[2]), jwtverify.ErrMalformed},
			"a header that is claims":      {joined(part[1], part[1], part[2]), jwtverify.ErrMalformed},
			"larger than 16 KiB":           {token("x", strings.Repeat("x", 16<<10)), jwtverify.ErrMalformed},
			"crit":                         {mint("crit", []string{"exp"}), jwtverify.ErrMalformed},
			"b64":                          {mint("b64", false), jwtverify.ErrMalformed},
			"nested":                       {mint("cty", "JWT"), jwtverify.ErrMalformed},
			"alg none":                     {mint("alg", "none"), jwtverify.ErrAlgorithm},
			"alg HS256":                    {mint("alg", "HS256"), jwtverify.ErrAlgorithm},
			"alg in lower case":            {mint("alg", "es256"), jwtverify.ErrAlgorithm},
			"an ID token by typ":           {mint("typ", "id+jwt"), jwtverify.ErrType},
			"a DPoP proof by typ":          {mint("typ", "dpop+jwt"), jwtverify.ErrType},
			"an ID token by its claims":    {untyped("nonce", "x"), jwtverify.ErrType},
			"a logout token":               {untyped("events", map[string]any{}), jwtverify.ErrType},
			"a kid that nobody knows":      {mint("kid", "nobody"), jwtverify.ErrUnknownKey},
			"an empty kid":                 {mint("kid", ""), jwtverify.ErrUnknownKey},
			"another signature":            {joined(part[0], part[1], strings.Split(token("sub", "bob")[0], ".")[2]), jwtverify.ErrSignature},
			"other claims":                 {joined(part[0], strings.Split(token("sub", "bob")[0], ".")[1], part[2]), jwtverify.ErrSignature},
			"another issuer":               {token("iss", "https://other.example.com/"), jwtverify.ErrIssuer},
			"no issuer":                    {token("iss", nil), jwtverify.ErrClaims},
			"another audience":             {token("aud", "https://other.example.com"), jwtverify.ErrAudience},
			"no audience at all":           {token("aud", []string{}), jwtverify.ErrAudience},
			"expired":                      {token("exp", now-3600), jwtverify.ErrExpired},
			"exp that is a string":         {token("exp", "never"), jwtverify.ErrClaims},
			"not yet valid":                {token("nbf", now+3600), jwtverify.ErrNotYetValid},
			"issued in the future":         {token("iat", now+3600), jwtverify.ErrNotYetValid},
			"an empty subject":             {token("sub", ""), jwtverify.ErrClaims},
			"revoked":                      {token("sub", "revoked"), jwtverify.ErrRevoked},
			"inactive":                     {token("sub", "inactive"), jwtverify.ErrInactive},
			"rejected":                     {token("sub", "rejected"), jwtverify.ErrRejected},
			"a reason of the user's own":   {token("sub", "tenant"), tenant},
			"a Check that cannot know":     {token("sub", "outage"), &jwtverify.Error{Reason: jwtverify.ErrUnavailable, RetryAfter: 7 * time.Second}},
			"a Check that ran out of time": {token("sub", "timeout"), jwtverify.ErrUnavailable},
			"no scope":                     {token("scope", ""), forbidden},
			"another scope":                {token("scope", "write"), forbidden},
			"a scope that contains it":     {token("scope", "read:orders reader unread"), forbidden},
			"a scope in upper case":        {token("scope", "READ"), forbidden},
		}},
		{dead, map[string]agreement{
			"no keys":                    {[]string{"Bearer " + down.Token(nil)}, jwtverify.ErrUnavailable},
			"no keys, no credentials":    {nil, none},
			"no keys, and bad by itself": {[]string{"Bearer " + down.Token(jwttest.Claims{"exp": 1})}, jwtverify.ErrExpired},
		}},
		{closed, map[string]agreement{"after Close": {[]string{good}, jwtverify.ErrUnavailable}}},
		{returns(nil, nil), map[string]agreement{"a Verifier that says nothing": {[]string{good}, jwtverify.ErrUnavailable}}},
		{returns(nil, errors.New("boom")), map[string]agreement{"one that says what nobody knows": {[]string{good}, jwtverify.ErrUnavailable}}},
		{returns(&jwtverify.Token{Scopes: []string{"read"}}, jwtverify.ErrExpired), map[string]agreement{"one that says two things": {[]string{good}, jwtverify.ErrExpired}}},
		{returns(nil, bearer.ErrForbidden), map[string]agreement{"one that says what is not its to say": {[]string{good}, jwtverify.ErrUnavailable}}},
		{returns(nil, context.Canceled), map[string]agreement{"one that was cancelled": {[]string{good}, jwtverify.ErrUnavailable}}},
	}
	total := 0
	for _, group := range groups {
		heard := &recorder{Verifier: group.verifier}
		ask := map[string]func(t *testing.T, authorization []string) answer{
			"net/http": askHTTP(t, heard, false), "chi": askHTTP(t, heard, true), "gRPC": askGRPC(t, heard),
		}
		for name, c := range group.cases {
			total++
			t.Run(name, func(t *testing.T) {
				want := bearer.Decide(c.err)
				if c.err == nil {
					want = bearer.Decision{Status: http.StatusOK}
				}
				verified := false
				var verdict error
				if credential, err := bearer.Token(c.authorization); err == nil {
					verified = true
					_, verdict = group.verifier.Verify(t.Context(), credential)
					if reason := jwtverify.ReasonOf(c.err); group.verifier == bearer.Verifier(v) {
						require.Equal(t, reason, jwtverify.ReasonOf(verdict))
					}
				} else {
					require.Equal(t, c.err, err)
				}
				for adapter, ask := range ask {
					heard.forget()
					got := ask(t, c.authorization)
					asked, said := heard.recall()
					require.Equal(t, verified, asked, "%s: whether the Verifier was asked", adapter)
					require.Equal(t, jwtverify.ReasonOf(verdict), jwtverify.ReasonOf(said), adapter)
					if want.Status == http.StatusServiceUnavailable { // how long an outage lasts is not always known
						require.Positive(t, got.RetryAfter, adapter)
						if e := (*jwtverify.Error)(nil); !errors.As(c.err, &e) {
							got.RetryAfter = want.RetryAfter
						}
					}
					require.Equal(t, want.Status, got.Status, adapter)
					require.Equal(t, want.RetryAfter, got.RetryAfter, adapter)
					challenge := (&bearer.Guard{Rule: &readRule}).Challenge(want)
					require.Equal(t, challenge, got.challenge, adapter)
					require.Equal(t, want.Detail, got.Detail, adapter)
					if adapter == "gRPC" {
						require.Equal(t, want.GRPC, got.GRPC)
						require.Equal(t, want.Reason, got.Reason)
					}
				}
			})
		}
	}
	require.Greater(t, total, 60)
}

var readRule = jwtverify.Scopes("read")

// agreement is what a request carries, and the error behind its answer.
type agreement struct {
	authorization []string
	err           error
}

// answer is an adapter's, in the terms of the one table.
type answer struct {
	bearer.Decision
	challenge string
}

// recorder knows what a Verifier said last.
type recorder struct {
	bearer.Verifier
	mu    sync.Mutex
	asked bool
	said  error
}

func (r *recorder) Verify(ctx context.Context, token string) (*jwtverify.Token, error) {
	verified, err := r.Verifier.Verify(ctx, token)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked, r.said = true, err
	return verified, err
}

func (r *recorder) recall() (asked bool, said error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked, r.said
}

func (r *recorder) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked, r.said = false, nil
}

type verifierFunc func(context.Context, string) (*jwtverify.Token, error)

func (f verifierFunc) Verify(ctx context.Context, token string) (*jwtverify.Token, error) {
	return f(ctx, token)
}

func askHTTP(t *testing.T, v bearer.Verifier, withChi bool) func(*testing.T, []string) answer {
	auth, err := httpauth.New(httpauth.Config{Verifier: v})
	require.NoError(t, err)
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	var handler http.Handler
	if withChi {
		r := chi.NewRouter()
		r.Use(auth.Handler)
		r.With(auth.Require(jwtverify.Scopes("read"))).Get("/orders", ok)
		handler = r
	} else {
		mux := http.NewServeMux()
		mux.Handle("GET /orders", auth.Require(jwtverify.Scopes("read"))(ok))
		handler = mux
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return func(t *testing.T, authorization []string) (a answer) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/orders", nil)
		require.NoError(t, err)
		r.Header["Authorization"] = authorization
		res, err := server.Client().Do(r)
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		a.Status, a.challenge = res.StatusCode, strings.Join(res.Header.Values("WWW-Authenticate"), " | ")
		if seconds := res.Header.Get("Retry-After"); seconds != "" {
			a.RetryAfter, err = time.ParseDuration(seconds + "s")
			require.NoError(t, err)
		}
		if _, detail, ok := strings.Cut(string(body), `"detail":"`); ok {
			a.Detail, _, _ = strings.Cut(detail, `"`)
		}
		return a
	}
}

const ordersMethod = "/test.Orders/Get"

// ordersService is what generated code would be.
var ordersService = grpc.ServiceDesc{
	ServiceName: "test.Orders",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Get", Handler: func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		in := new(emptypb.Empty)
		if err := decode(in); err != nil {
			return nil, err
		}
		handler := func(context.Context, any) (any, error) { return new(emptypb.Empty), nil }
		return interceptor(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: ordersMethod}, handler)
	}}},
}

func askGRPC(t *testing.T, v bearer.Verifier) func(*testing.T, []string) answer {
	auth, err := grpcauth.New(grpcauth.Config{Verifier: v, Rules: map[string]jwtverify.Rule{ordersMethod: readRule}})
	require.NoError(t, err)
	server := grpc.NewServer(auth.ServerOptions()...)
	server.RegisterService(&ordersService, new(any))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		server.Stop()
		require.NoError(t, <-ended)
	})
	return func(t *testing.T, authorization []string) (a answer) {
		ctx := t.Context()
		for _, value := range authorization {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", value)
		}
		var trailer metadata.MD
		err := conn.Invoke(ctx, ordersMethod, new(emptypb.Empty), new(emptypb.Empty), grpc.Trailer(&trailer))
		s := status.Convert(err)
		a.challenge, a.GRPC = strings.Join(trailer.Get("www-authenticate"), " | "), uint32(s.Code())
		if err != nil {
			a.Detail = s.Message()
		}
		for _, detail := range s.Details() {
			switch detail := detail.(type) {
			case *errdetails.ErrorInfo:
				a.Reason = detail.Reason
			case *errdetails.RetryInfo:
				a.RetryAfter = detail.RetryDelay.AsDuration()
			default:
				t.Fatalf("%T", detail)
			}
		}
		// What the code stands for in the table.
		a.Status = map[uint32]int{0: 200, 7: 403, 14: 503, 16: 401}[a.GRPC]
		if a.GRPC == 16 && strings.Contains(a.challenge, `"invalid_request"`) {
			a.Status = 400 // gRPC has no code of its own for that (InvalidArgument is about the message)
		}
		return a
	}
}
