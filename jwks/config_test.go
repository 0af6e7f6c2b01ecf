package jwks_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
)

func TestEveryFaultOfAConfigSaysWhatToWrite(t *testing.T) {
	const u = keysURL
	for want, config := range map[string]jwks.Config{
		"Issuer is required: write the issuer identifier, or set URL":                                  {},
		"both set: keep Issuer for discovery, or URL":                                                  {Issuer: issuerID, URL: u},
		`URL is "http://issuer.example/keys": it is plain http, which is for loopback only; use https`: {URL: "http://issuer.example/keys"},
		`URL is "/keys": it is not an absolute URL: write the https URL`:                               {URL: "/keys"},
		`URL is "https://issuer.example/": it holds credentials`:                                       {URL: "https://user:secret@issuer.example/"},
		`Issuer is "https://issuer.example/": it holds credentials`:                                    {Issuer: "https://secret@issuer.example/"},
		`URL is unreadable: it is not a URL`:                                                           {URL: "https://user:se%cret@issuer.example/"},
		`Issuer is "issuer.example": it is not an absolute URL: write the issuer's https URL`:          {Issuer: "issuer.example"},
		`Issuer is "file:///etc/passwd": it is not an absolute URL`:                                    {Issuer: "file:///etc/passwd"},
		`has no query (RFC 8414 §2): set URL instead`:                                                  {Issuer: issuerID + "?a=b"},
		`it has a fragment`: {Issuer: issuerID + "#a"},
		`TLS is set beside Config.Client: set the Client's own transport`: {URL: u, Client: &http.Client{}, TLS: &tls.Config{}},
		`TLS has InsecureSkipVerify: set RootCAs`:                         {URL: u, TLS: &tls.Config{InsecureSkipVerify: true}},
		`cannot be negative: leave them 0 for 10m, 30s and 24h`:           {URL: u, Refresh: -1},
		`MaxStale cannot be negative`:                                     {URL: u, MaxStale: -time.Hour},
		`Cooldown and MaxStale cannot be negative`:                        {URL: u, Cooldown: -time.Hour},
		`is 600ns: write a unit with the number`:                          {URL: u, Refresh: 600},
		`is 30ns: write a unit with the number`:                           {URL: u, Cooldown: 30},
		`MaxStale is 1h0m0s, less than Refresh, 2h0m0s`:                   {URL: u, Refresh: 2 * time.Hour, MaxStale: time.Hour},
		`MaxStale is 5m0s, less than Refresh, 10m0s`:                      {URL: u, MaxStale: 5 * time.Minute},
	} {
		c, err := jwks.New(config)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "jwks: Config.")
		require.NotContains(t, err.Error(), "secret")
		require.Nil(t, c)
	}
}

func TestAllFaultsOfAConfigAreToldAtOnce(t *testing.T) {
	_, err := jwks.New(jwks.Config{
		Issuer: "http://issuer.example", Client: &http.Client{},
		TLS: &tls.Config{InsecureSkipVerify: true}, Refresh: -time.Second,
	})
	require.Len(t, strings.Split(err.Error(), "\n"), 4)
	for _, field := range []string{"Issuer", "TLS is", "TLS has", "Refresh"} {
		require.ErrorContains(t, err, "jwks: Config."+field)
	}
}

func TestAVerificationOfOnesOwnMayReplaceTheUsualOne(t *testing.T) {
	c, err := jwks.New(jwks.Config{URL: "https://127.0.0.1:1/", Logger: slog.New(slog.DiscardHandler), TLS: &tls.Config{
		InsecureSkipVerify: true,
		VerifyConnection:   func(tls.ConnectionState) error { return nil },
	}})
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

func TestPlainHTTPBeyondLoopbackIsLogged(t *testing.T) {
	var log bytes.Buffer
	c, err := jwks.New(jwks.Config{
		URL: "http://issuer.example/keys", InsecureHTTP: true, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Client: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})},
	})
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.Contains(t, log.String(), `level=WARN msg="jwks: keys may be fetched over plain http"`)
}

// What follows runs over sockets, with our own client.

func TestKeysComeOverLoopbackByDiscovery(t *testing.T) {
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	defer s.Close()
	mux.Handle("/tenant"+openID, metadata(s.URL+"/tenant", s.URL+"/keys"))
	mux.Handle("/keys", text(set(keyA)))
	c, err := jwks.New(jwks.Config{Issuer: s.URL + "/tenant", Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.Ready(t.Context()))
	requireKey(t, c, "a")
	require.NoError(t, c.Refresh(t.Context()))
}

func TestKeysComeOverTLSFromAServerOfAPrivateCA(t *testing.T) {
	mux := http.NewServeMux()
	s := httptest.NewTLSServer(mux)
	defer s.Close()
	mux.Handle(oauth, metadata(s.URL, s.URL+"/keys"))
	mux.Handle("/keys", text(set(keyA)))
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())

	for name, config := range map[string]jwks.Config{
		"TLS":    {TLS: &tls.Config{RootCAs: roots}},
		"Client": {Client: s.Client()},
	} {
		t.Run(name, func(t *testing.T) {
			config.Issuer, config.Logger = s.URL, slog.New(slog.DiscardHandler)
			c, err := jwks.New(config)
			require.NoError(t, err)
			defer c.Close()
			require.NoError(t, c.Ready(t.Context()))
			requireKey(t, c, "a")
		})
	}
}

func TestAServerThatNobodyVouchesForIsNotTrusted(t *testing.T) {
	s := httptest.NewUnstartedServer(text(set(keyA)))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.StartTLS()
	defer s.Close()
	c, err := jwks.New(jwks.Config{URL: s.URL, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer c.Close()
	requireUnavailable(t, c.Refresh(t.Context()))
	require.Contains(t, c.Status().LastError, "certificate")
	requireUnavailableKey(t, c, "a")
}
