package grpcauth

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/middleware/bearer"
)

// Config says how calls are guarded. It names methods in full, as
// "/package.Service/Method"; each stands in one of Rules, AnyToken and Public, and
// what stands in none is refused.
type Config struct {
	// Verifier decides about tokens. Required.
	Verifier bearer.Verifier
	// Rules are the methods that take a token which their Rule allows. For more
	// than one Rule there are jwtverify.All and jwtverify.Any.
	Rules map[string]jwtverify.Rule
	// AnyToken are the methods that take any valid token.
	AnyToken []string
	// Public are the methods that everybody may call who reaches the server, such
	// as a health check. Credentials are not looked at, so that a bad token or an
	// outage does not matter, and there is no token in the context.
	Public []string
	// Realm names the protected space in challenges (RFC 9110 §11.5), in
	// printable ASCII. "": bearer.DefaultRealm.
	Realm string
	// Now is the clock by which streams end, for tests. nil: time.Now.
	Now func() time.Time
	// Logger gets panics at Error, and calls of methods that nobody named: the
	// first at Warn, the others at Debug, since anyone can send a flood of them.
	// nil: slog.Default().
	Logger *slog.Logger
}

// Auth guards the methods of a server. New makes it. It is safe for concurrent use.
type Auth struct {
	guards map[string]*bearer.Guard // by method; nil for a public one
	now    func() time.Time
	log    *slog.Logger
	warned atomic.Bool // of a method that nobody named
}

// New makes an Auth. The error joins every fault in the Config.
func New(c Config) (*Auth, error) {
	a := &Auth{guards: map[string]*bearer.Guard{}, now: c.Now, log: c.Logger}
	if a.now == nil {
		a.now = time.Now
	}
	if a.log == nil {
		a.log = slog.Default()
	}
	valid := bearer.Guard{Verifier: c.Verifier, Realm: c.Realm}
	faults := []error{valid.Validate()}
	name := func(field, method string, guard *bearer.Guard) {
		if !fullMethod(method) {
			faults = append(faults, fmt.Errorf(`%s names %q: write "/package.Service/Method", as the constants Service_Method_FullMethodName of generated code do`, field, method))
		}
		if _, twice := a.guards[method]; twice {
			faults = append(faults, fmt.Errorf("%s names %q, which is named before: write it once, in one of Rules, AnyToken and Public", field, method))
		}
		a.guards[method] = guard
	}
	for _, method := range slices.Sorted(maps.Keys(c.Rules)) {
		rule := c.Rules[method]
		if rule.String() == (jwtverify.Rule{}).String() {
			faults = append(faults, fmt.Errorf("Config.Rules[%q] allows nothing: write a Rule such as jwtverify.Scopes, or name the method in AnyToken", method))
		}
		guard := valid
		guard.Rule = &rule
		name("Config.Rules", method, &guard)
	}
	for _, method := range c.AnyToken {
		name("Config.AnyToken", method, &valid)
	}
	for _, method := range c.Public {
		name("Config.Public", method, nil)
	}
	if len(a.guards) == 0 {
		faults = append(faults, errors.New("Config names no method, and so allows none: write them in Rules, AnyToken and Public"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("grpcauth: %w", err)
	}
	return a, nil
}

// fullMethod reports whether a method is named as gRPC's paths are (PROTOCOL-HTTP2,
// Path): an asterisk is no name, lest somebody takes it for a pattern.
func fullMethod(method string) bool {
	parts := strings.Split(method, "/")
	return len(parts) == 3 && parts[0] == "" && parts[1] != "" && parts[2] != "" &&
		!strings.ContainsFunc(method, func(r rune) bool { return r <= ' ' || r > '~' || r == '*' })
}

// ServerOptions installs the guard, for unary calls and for streams, behind the
// interceptors of the options before it and before those of the options after it.
// What stands before it sees calls that are not let in yet, and sees a stream end
// while its handler may still be running.
//
// Generated code has every call pass the interceptors. A grpc.ServiceDesc written by
// hand has to see to that: grpc-go asks none about a StreamDesc that sets neither
// ClientStreams nor ServerStreams, and leaves it to a MethodDesc's Handler to call
// the one that it is given.
func (a *Auth) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(a.unary), grpc.ChainStreamInterceptor(a.stream)}
}

// Unprotected lists, sorted, the methods of a server that take no token: those that
// the Config has under Public, and those that it does not name, which are refused.
// A test that compares them with what ought to be public fails when somebody
// forgets to decide about a method:
//
//	require.Equal(t, []string{healthpb.Health_Check_FullMethodName}, auth.Unprotected(server))
//
// It cannot see whether [Auth.ServerOptions] were given to that server, nor what a
// grpc.UnknownServiceHandler serves, which is guarded by name as all else.
func (a *Auth) Unprotected(server *grpc.Server) []string {
	var open []string
	for service, info := range server.GetServiceInfo() {
		for _, m := range info.Methods {
			method := "/" + service + "/" + m.Name
			if a.guards[method] == nil {
				open = append(open, method)
			}
		}
	}
	slices.Sort(open)
	return open
}
