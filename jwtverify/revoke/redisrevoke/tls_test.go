//go:build e2e

package redisrevoke_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/revoke/redisrevoke"
)

// privateCA makes a CA that nobody knows, and writes a certificate of it for loopback
// and its key into a directory.
func privateCA(t testing.TB, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "private CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "redis"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	require.NoError(t, err)
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{
		"ca.pem":   {Type: "CERTIFICATE", Bytes: caDER},
		"cert.pem": {Type: "CERTIFICATE", Bytes: leafDER},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	known, err := x509.ParseCertificate(caDER)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(known)
	return pool
}

func TestOnlyARedisOfTheRightCAIsFollowed(t *testing.T) {
	dir := t.TempDir()
	pool := privateCA(t, dir)
	s := startRedis(t, "--tls-cert-file", filepath.Join(dir, "cert.pem"), "--tls-key-file", filepath.Join(dir, "key.pem"),
		"--tls-ca-cert-file", filepath.Join(dir, "ca.pem"), "--tls-auth-clients", "no")
	good := redisrevoke.Redis{URL: "rediss://" + s.address, TLS: &tls.Config{RootCAs: pool}}
	require.NoError(t, newPublisher(t, redisrevoke.PublisherConfig{Redis: good}).Revoke(t.Context(), entry("id")))
	f := startFollower(t, redisrevoke.FollowerConfig{Redis: good})
	ready(t, f)
	require.Equal(t, jwtverify.ErrRevoked, verdict(f, "id"))

	other := privateCA(t, t.TempDir())
	for name, redis := range map[string]redisrevoke.Redis{
		"another CA":   {URL: "rediss://" + s.address, TLS: &tls.Config{RootCAs: other}},
		"no CA":        {URL: "rediss://" + s.address},
		"another name": {URL: "rediss://" + s.address, TLS: &tls.Config{RootCAs: pool, ServerName: "redis.example.com"}},
		"no TLS":       {URL: "redis://" + s.address},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFollower(t, redisrevoke.FollowerConfig{Redis: redis})
			eventually(t, "it says why", func() bool { return f.Status().LastError != "" })
			require.Equal(t, jwtverify.ErrUnavailable, verdict(f, "id"))
		})
	}
}
