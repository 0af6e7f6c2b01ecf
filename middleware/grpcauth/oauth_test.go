package grpcauth_test

import (
	"crypto/x509"
	"net"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/oauth"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/middleware/grpcauth"
)

func TestTheCredentialsOfGRPCsOwnClientAreUnderstood(t *testing.T) {
	issuer, v := setup(t)
	auth := newAuth(t, grpcauth.Config{Verifier: v, AnyToken: []string{duplex}, Rules: map[string]jwtverify.Rule{unary: jwtverify.Scopes("read")}})
	https := httptest.NewTLSServer(nil) // for its certificate
	https.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	start(t, listener, service{duplex: echo}, append(auth.ServerOptions(), grpc.Creds(credentials.NewServerTLSFromCert(&https.TLS.Certificates[0])))...)
	trust := x509.NewCertPool()
	trust.AddCert(https.Certificate())

	for name, c := range map[string]struct {
		claims jwttest.Claims
		code   codes.Code
	}{
		"good":            {jwttest.Claims{"sub": "alice", "scope": "read"}, codes.OK},
		"without a scope": {jwttest.Claims{"sub": "alice"}, codes.PermissionDenied},
		"expired":         {jwttest.Claims{"exp": 1}, codes.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			token := &oauth2.Token{AccessToken: issuer.Token(c.claims)}
			conn, err := grpc.NewClient(listener.Addr().String(),
				grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(trust, "example.com")),
				grpc.WithPerRPCCredentials(oauth.TokenSource{TokenSource: oauth2.StaticTokenSource(token)}))
			require.NoError(t, err)
			defer conn.Close()
			got := call(t, conn, unary)
			require.Equal(t, c.code, got.code, got.message)
			if c.code == codes.OK {
				require.Equal(t, "alice", got.subject)
				exchange(t, open(t, conn))
			}
		})
	}
}
