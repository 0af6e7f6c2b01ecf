package grpcauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
)

const corpusCalls = 7

type callCase struct {
	ID      string `json:"id"`
	Comment string `json:"comment"`
	Strict  bool   `json:"strict"`
	Config  struct {
		Issuer     string   `json:"issuer"`
		Audience   []string `json:"audience"`
		Algorithms []string `json:"algorithms"`
		LeewayS    int      `json:"leeway_s"`
		Now        int64    `json:"now"`
		RequireTyp string   `json:"require_typ"`
	} `json:"config"`
	JWKS       json.RawMessage `json:"jwks"`
	Metadata   [][2]string     `json:"metadata"`
	Kind       string          `json:"kind"`
	ExpectCode string          `json:"expect_code"`
	Steps      []struct {
		Op         string `json:"op"`
		Seconds    int    `json:"seconds"`
		ExpectCode string `json:"expect_code"`
	} `json:"steps"`
}

func TestCorpusCalls(t *testing.T) {
	text, err := os.ReadFile("../../jwtverify/testdata/corpus/siblings/grpc.json")
	require.NoError(t, err)
	var f struct {
		Schema int        `json:"schema"`
		Format string     `json:"format"`
		Split  string     `json:"split"`
		Doc    string     `json:"doc"`
		Cases  []callCase `json:"cases"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // an unread member would be an unchecked condition
	require.NoError(t, d.Decode(&f))

	seen := map[string]bool{}
	for _, c := range f.Cases {
		seen[c.ID] = true
		t.Run(c.ID, func(t *testing.T) {
			t.Log(c.Comment)
			if len(c.Steps) > 0 { // time passes, which no connection of the machine's own would notice
				synctest.Test(t, func(t *testing.T) { c.check(t, connectInMemory) })
				return
			}
			c.check(t, serve)
		})
	}
	require.Len(t, seen, corpusCalls)
}

// connectInMemory is serve for a bubble of synctest's: gRPC is real, time is not.
func connectInMemory(t *testing.T, s service, opts ...grpc.ServerOption) *grpc.ClientConn {
	listener := bufconn.Listen(1 << 16)
	start(t, listener, s, opts...)
	conn, err := grpc.NewClient("passthrough:in-memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

func (c callCase) check(t *testing.T, connect func(*testing.T, service, ...grpc.ServerOption) *grpc.ClientConn) {
	set, err := jwks.Parse(c.JWKS)
	require.NoError(t, err)
	require.Empty(t, c.Config.RequireTyp)
	started, log := time.Now(), &plainLog{}
	now := func() time.Time { return time.Unix(c.Config.Now, 0).Add(time.Since(started)) }
	config := jwtverify.Config{
		Issuer: c.Config.Issuer, Audience: c.Config.Audience, Algorithms: c.Config.Algorithms, Keys: set,
		Leeway: time.Duration(c.Config.LeewayS) * time.Second, Now: now, Logger: log.logger(),
	}
	if c.Config.LeewayS == 0 {
		config.Leeway = -1 // none, where 0 would be the default
	}
	v, err := jwtverify.New(config)
	require.NoError(t, err)
	defer v.Close()
	guarded := anyToken(v)
	guarded.Now, guarded.Logger = now, log.logger()

	var called atomic.Bool
	conn := connect(t, service{called: &called, duplex: echo}, newAuth(t, guarded).ServerOptions()...)
	md := metadata.MD{}
	for _, entry := range c.Metadata {
		md.Append(entry[0], entry[1])
	}
	got := c.play(t, testpb.NewTestServiceClient(conn), metadata.NewOutgoingContext(t.Context(), md))

	require.Contains(t, strings.Split(c.ExpectCode, "|"), got.code.String())
	require.Equal(t, c.ExpectCode == "OK" || len(c.Steps) > 0, called.Load(), "whether the handler is called")
	require.Equal(t, got.code == codes.Unauthenticated, len(got.challenge()) == 1)
	for _, text := range append(log.lines(), fmt.Sprint(got.message, got.trailer, got.info)) {
		for _, entry := range c.Metadata {
			for part := range strings.FieldsFuncSeq(entry[1], func(r rune) bool { return r == ' ' || r == '.' }) {
				if len(part) >= 20 {
					require.NotContains(t, text, part, "the credential comes back")
				}
			}
		}
	}
}

// play makes the call and takes the case's steps.
func (c callCase) play(t *testing.T, client testpb.TestServiceClient, ctx context.Context) answer {
	var trailer metadata.MD
	switch c.Kind {
	case "unary":
		_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{}, grpc.Trailer(&trailer))
		return answered(t, err, trailer, "")
	case "server_stream":
		stream, err := client.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{})
		require.NoError(t, err)
		_, err = stream.Recv()
		return answered(t, err, stream.Trailer(), "")
	case "bidi_stream":
		stream, err := client.FullDuplexCall(ctx)
		require.NoError(t, err)
		var last error
		for _, step := range c.Steps {
			switch step.Op {
			case "recv_ok":
				require.NoError(t, stream.Send(&testpb.StreamingOutputCallRequest{Payload: payload("x")}))
				_, err := stream.Recv()
				require.NoError(t, err)
			case "advance":
				time.Sleep(time.Duration(step.Seconds) * time.Second)
				synctest.Wait()
			case "recv":
				_ = stream.Send(&testpb.StreamingOutputCallRequest{Payload: payload("x")}) // io.EOF where the stream has ended
				_, last = stream.Recv()
				require.Equal(t, step.ExpectCode, status.Code(last).String())
			default:
				require.Fail(t, "an unknown step", step.Op)
			}
		}
		return answered(t, last, stream.Trailer(), "")
	}
	require.Fail(t, "an unknown kind", c.Kind)
	return answer{}
}

// echo sends back what it receives.
func echo(stream testpb.TestService_FullDuplexCallServer) error {
	for {
		request, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: request.Payload}); err != nil {
			return err
		}
	}
}
