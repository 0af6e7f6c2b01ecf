package providers

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

const ours = "https://api.example.com"

// cluster is an API server, a pod's directory, and the service accounts' tokens.
type cluster struct {
	*jwttest.Issuer
	server    *httptest.Server
	directory string
	token     atomic.Pointer[string]          // that the server wants
	cert      atomic.Pointer[tls.Certificate] // that it shows
	respond   atomic.Pointer[http.HandlerFunc]
	asked     atomic.Int32
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{Issuer: jwttest.NewIssuer(ours), directory: t.TempDir()}
	t.Cleanup(c.Close)
	c.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.asked.Add(1)
		if respond := c.respond.Load(); respond != nil {
			(*respond)(w, r)
			return
		}
		if r.Header.Get("Authorization") != "Bearer "+*c.token.Load() {
			http.Error(w, "unauthorized: "+r.Header.Get("Authorization"), http.StatusUnauthorized)
			return
		}
		if r.URL.Path != "/openid/v1/jwks" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Header().Set("Cache-Control", "public, max-age=3600")
		_, _ = w.Write(c.JWKS())
	}))
	c.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	c.server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{*c.cert.Load()}}, nil
	}}
	c.renewCA(t)
	c.renewToken(t, "first-token")
	c.server.StartTLS()
	t.Cleanup(c.server.Close)
	return c
}

func (c *cluster) write(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(c.directory, name), []byte(text), 0o600))
}

func (c *cluster) renewToken(t *testing.T, token string) {
	c.token.Store(&token)
	c.write(t, "token", token)
}

// renewCA gives the server a certificate of a new authority.
func (c *cluster) renewCA(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	c.cert.Store(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
	c.write(t, "ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

func (c *cluster) config() jwtverify.Config {
	return kubernetes(c.directory, c.server.URL, "", []string{ours})
}

func (c *cluster) verifier(t *testing.T, config jwtverify.Config) *jwtverify.Verifier {
	t.Helper()
	v, err := jwtverify.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	return v
}

// ofAPod is a token of a service account.
func (c *cluster) ofAPod() string {
	return c.Mint(jwttest.Header{"typ": nil}, jwttest.Claims{
		"iss": clusterIssuer, "sub": "system:serviceaccount:shop:cart", "client_id": nil,
		"kubernetes.io": map[string]any{"namespace": "shop", "serviceaccount": map[string]any{"name": "cart", "uid": "14ee3fa4"}},
	})
}

func TestKubernetesHasItsKeysFromTheAPIServerWithThePodsTokenAndCA(t *testing.T) {
	c := newCluster(t)
	v := c.verifier(t, c.config())
	require.NoError(t, v.Refresh(t.Context()))
	tok, err := v.Verify(t.Context(), c.ofAPod())
	require.NoError(t, err)
	require.Equal(t, "system:serviceaccount:shop:cart", tok.Subject)
}

func TestKubernetesSendsTheTokenThatIsThereNow(t *testing.T) {
	c := newCluster(t)
	v := c.verifier(t, c.config())
	require.NoError(t, v.Refresh(t.Context()))

	c.renewToken(t, "second-token")
	c.Rotate("RS256")
	require.NoError(t, v.Refresh(t.Context()))
	_, err := v.Verify(t.Context(), c.ofAPod())
	require.NoError(t, err)

	require.NoError(t, os.Remove(filepath.Join(c.directory, "token")))
	require.ErrorIs(t, v.Refresh(t.Context()), jwtverify.ErrUnavailable)
	_, err = v.Verify(t.Context(), c.ofAPod())
	require.NoError(t, err, "the keys at hand still hold")

	c.renewToken(t, "third-token\n") // as a person would write it
	third := "third-token"
	c.token.Store(&third)
	require.NoError(t, v.Refresh(t.Context()))
}

func TestKubernetesTrustsTheCAThatIsThereNowAndNoOther(t *testing.T) {
	c := newCluster(t)
	v := c.verifier(t, c.config())
	require.NoError(t, v.Refresh(t.Context()))
	c.renewCA(t)
	require.NoError(t, v.Refresh(t.Context()))

	asked := c.asked.Load()
	before := c.cert.Load()
	c.renewCA(t) // the file is of the new authority
	c.cert.Store(before)
	require.ErrorContains(t, v.Refresh(t.Context()), "certificate")
	require.Equal(t, asked, c.asked.Load(), "the token is not sent to who shows a certificate of another")
}

func TestThePodsTokenGoesToTheAPIServerAlone(t *testing.T) {
	c := newCluster(t)
	elsewhere := newCluster(t)
	c.write(t, "ca.crt", pemOf(c)+pemOf(elsewhere)) // trust is not what keeps it
	for name, to := range map[string]string{
		"another host":            elsewhere.server.URL + "/openid/v1/jwks",
		"another name of its own": strings.Replace(c.server.URL, "127.0.0.1", "localhost", 1) + "/openid/v1/jwks",
		"plain http":              strings.Replace(c.server.URL, "https", "http", 1) + "/openid/v1/jwks",
	} {
		t.Run(name, func(t *testing.T) {
			asked := c.asked.Load()
			config := c.config()
			_, err := config.JWKS.Client.Get(to)
			require.ErrorContains(t, err, "the pod's token is for "+c.server.URL+" alone")

			config.JWKS.URL = to
			require.Error(t, c.verifier(t, config).Refresh(t.Context()))

			redirect := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusTemporaryRedirect) })
			c.respond.Store(&redirect)
			defer c.respond.Store(nil)
			require.ErrorContains(t, c.verifier(t, c.config()).Refresh(t.Context()), "status 307")
			res, err := c.config().JWKS.Client.Get(c.server.URL)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.Equal(t, http.StatusTemporaryRedirect, res.StatusCode, "nor does a client that follows redirects")
			require.Greater(t, c.asked.Load(), asked)
		})
	}
	require.Zero(t, elsewhere.asked.Load())
}

func pemOf(c *cluster) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Load().Certificate[0]}))
}

func TestWithoutAPodsCredentialsKubernetesSaysWhatToWrite(t *testing.T) {
	const secret = "a-secret-token"
	for name, spoil := range map[string]func(t *testing.T, c *cluster){
		"no directory":          func(t *testing.T, c *cluster) { require.NoError(t, os.RemoveAll(c.directory)) },
		"no token":              func(t *testing.T, c *cluster) { require.NoError(t, os.Remove(filepath.Join(c.directory, "token"))) },
		"no CA":                 func(t *testing.T, c *cluster) { require.NoError(t, os.Remove(filepath.Join(c.directory, "ca.crt"))) },
		"an empty token":        func(t *testing.T, c *cluster) { c.write(t, "token", " \n") },
		"a token of two lines":  func(t *testing.T, c *cluster) { c.write(t, "token", secret+"\r\nX-Other: 1") },
		"a token with a space":  func(t *testing.T, c *cluster) { c.write(t, "token", secret+" "+secret) },
		"a token of no ASCII":   func(t *testing.T, c *cluster) { c.write(t, "token", secret+"é") },
		"a token that is huge":  func(t *testing.T, c *cluster) { c.write(t, "token", secret+strings.Repeat("x", 16<<10)) },
		"a CA that is none":     func(t *testing.T, c *cluster) { c.write(t, "ca.crt", "-----BEGIN CERTIFICATE-----\n"+secret) },
		"a CA that is huge":     func(t *testing.T, c *cluster) { c.write(t, "ca.crt", strings.Repeat("x", 256<<10+1)) },
		"a directory for token": func(t *testing.T, c *cluster) { c.directory = filepath.Dir(c.directory) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			good := c.config()
			spoil(t, c)
			config := c.config()
			_, err := jwtverify.New(config)
			require.ErrorContains(t, err, "set the Config's JWKS to where the keys are")
			require.NotContains(t, err.Error(), secret)
			if name != "a directory for token" { // where the good one still has its own
				_, err = good.JWKS.Client.Get(c.server.URL)
				require.Error(t, err, "what is spoilt later is not sent either")
				require.NotContains(t, err.Error(), secret)
			}
			require.Zero(t, c.asked.Load())

			config.JWKS, config.Fault = jwks.Config{URL: c.URL + "/jwks.json"}, nil
			_, err = c.verifier(t, config).Verify(t.Context(), c.ofAPod())
			require.NoError(t, err)
		})
	}
}

func TestThePodsTokenIsInNoErrorAndInNoLog(t *testing.T) {
	raw := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, strings.ReplaceAll(answer, "TOKEN", strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")))
		}
	}
	for name, respond := range map[string]http.HandlerFunc{
		"an error that repeats it":       func(w http.ResponseWriter, r *http.Request) { http.Error(w, r.Header.Get("Authorization"), 500) },
		"a status that repeats it":       raw("HTTP/1.1 403 TOKEN\r\nContent-Length: 0\r\n\r\n"),
		"no HTTP":                        raw("TOKEN\r\n\r\n"),
		"a malformed status":             raw("HTTP/1.1 TOKEN\r\n\r\n"),
		"a malformed header":             raw("HTTP/1.1 200 OK\r\nTOKEN\r\n\r\n"),
		"an unknown coding":              raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: TOKEN\r\n\r\n"),
		"a malformed length":             raw("HTTP/1.1 200 OK\r\nContent-Length: TOKEN\r\n\r\n"),
		"a malformed chunk":              raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nTOKEN\r\n"),
		"a malformed redirect":           raw("HTTP/1.1 302 Found\r\nLocation: https://%zz/TOKEN\r\nContent-Length: 0\r\n\r\n"),
		"a redirect that repeats it":     raw("HTTP/1.1 302 Found\r\nLocation: /openid/v1/jwks?TOKEN\r\nContent-Length: 0\r\n\r\n"),
		"a body that repeats it":         func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Header.Get("Authorization")) },
		"keys whose names repeat it":     raw("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"keys\":[{\"kty\":\"TOKEN\",\"kid\":\"TOKEN\",\"TOKEN\":1}]}"),
		"an answer that is cut off":      raw("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nTOKEN"),
		"nothing":                        raw(""),
		"a certificate, later, of no CA": nil,
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			if respond != nil {
				c.respond.Store(&respond)
			} else {
				other := newCluster(t)
				c.write(t, "ca.crt", pemOf(other))
			}
			var logs buffer
			config := c.config()
			config.Logger = slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
			v := c.verifier(t, config)
			err := v.Refresh(t.Context())
			require.Error(t, err)
			require.NotContains(t, err.Error(), "first-token")
			require.NotContains(t, v.Status().Keys.LastError, "first-token")
			_, err = v.Verify(t.Context(), c.ofAPod())
			require.ErrorIs(t, err, jwtverify.ErrUnavailable)
			require.NotContains(t, err.Error(), "first-token")
			require.NoError(t, v.Close())
			require.NotEmpty(t, logs.String())
			require.NotContains(t, logs.String(), "first-token")
		})
	}
}

// buffer is a log that many may write.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestKubernetesRefusesToBuildForWhatIsUnsafe(t *testing.T) {
	c := newCluster(t)
	for name, s := range map[string]struct {
		issuer   string
		audience []string
		says     string
	}{
		"the issuer of legacy tokens":        {"kubernetes/serviceaccount", []string{ours}, "--service-account-issuer"},
		"the API server's audience":          {"", []string{ours, clusterIssuer}, "every pod has a token for it"},
		"its short one":                      {"", []string{apiServer}, "every pod has a token for it"},
		"the issuer, as it is by default":    {"https://oidc.example.com/1", []string{"https://oidc.example.com/1"}, "every pod has a token for it"},
		"no audience":                        {"", nil, "Audience is required"},
		"an empty audience, as of no config": {"", []string{""}, "Audience has an empty element"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := jwtverify.New(kubernetes(c.directory, c.server.URL, s.issuer, s.audience))
			require.ErrorContains(t, err, s.says)
		})
	}
}
