package providers

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
)

const (
	apiServer     = "https://kubernetes.default.svc"
	clusterIssuer = "https://kubernetes.default.svc.cluster.local"
	podDirectory  = "/var/run/secrets/kubernetes.io/serviceaccount"
)

// Kubernetes takes the tokens of a cluster's service accounts, for services within
// it. issuer is the API server's --service-account-issuer; "" is
// https://kubernetes.default.svc.cluster.local, as kubeadm has it.
//
// The tokens are RS256, or of the key that the operator chose, with a kid and mostly
// without typ. sub is system:serviceaccount:NAMESPACE:NAME, and kubernetes.io, which
// is required, says more. There are no scopes, no roles and no other kinds of tokens.
// Legacy tokens, those in Secrets, have neither exp nor aud and are refused.
//
// The token that every pod has by default is for the API server and may live for a
// year: whoever gets one can be that pod. So an audience that is the API server's
// is a fault. Write one of your own; a client's pod gets a token for it by a projected
// volume, serviceAccountToken with audience. A token that is tied to a pod goes on
// being taken when the pod is gone, until exp: only the API server's TokenReview knows.
//
// Keys come from https://kubernetes.default.svc/openid/v1/jwks, which wants a token:
// the pod's own is sent, to that host alone and by no proxy, and only the pod's CA is
// trusted. Both files are read anew for each fetch, since both change. Where they are
// missing New returns a fault. Outside of the cluster, and in a pod without
// automountServiceAccountToken, set another source of keys:
//
//	c := providers.Kubernetes("https://oidc.example.com/cluster", "https://api.example.com")
//	c.JWKS, c.Fault = jwks.Config{}, nil // by discovery from the issuer
func Kubernetes(issuer string, audience ...string) jwtverify.Config {
	return kubernetes(podDirectory, apiServer, issuer, audience)
}

func kubernetes(directory, server, issuer string, audience []string) jwtverify.Config {
	issuer = cmp.Or(issuer, clusterIssuer)
	if issuer == "kubernetes/serviceaccount" {
		return fault("Kubernetes", "the issuer is that of legacy tokens, which have neither exp nor aud: write the API server's --service-account-issuer")
	}
	for _, a := range audience {
		if slices.Contains([]string{issuer, apiServer, clusterIssuer}, a) {
			return fault("Kubernetes", "the audience %q is the API server's, and every pod has a token for it: write one of your own, for which clients have a projected volume with a serviceAccountToken", a)
		}
	}
	keys := &pod{directory: directory, host: strings.TrimPrefix(server, "https://")}
	c := jwtverify.Config{
		Issuer:   issuer,
		Audience: slices.Clone(audience),
		JWKS:     jwks.Config{URL: server + "/openid/v1/jwks", Client: &http.Client{Transport: keys}},
		Required: []string{"sub", "iat", "kubernetes.io"},
	}
	if _, _, err := keys.credentials(); err != nil {
		c.Fault = fmt.Errorf("providers: Kubernetes: %w: outside of a pod that has them set the Config's JWKS to where the keys are, jwks.Config{} for discovery from the issuer, and its Fault to nil", err)
	}
	return c
}

// pod makes requests to the API server as the pod that this runs in.
type pod struct{ directory, host string }

// RoundTrip adds the pod's token, to a request to the API server and to no other. It
// makes a connection of its own, in which nothing of the token is left behind.
func (p *pod) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || r.URL.Host != p.host {
		return nil, fmt.Errorf("the pod's token is for https://%s alone: for keys from elsewhere set JWKS anew", p.host)
	}
	token, roots, err := p.credentials()
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	t := &http.Transport{
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    5 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableKeepAlives:      true,
	}
	res, err := t.RoundTrip(r)
	if err != nil {
		if strings.Contains(err.Error(), token) { // net/http quotes what it cannot read
			err = errors.New("the API server's answer is malformed")
		}
		return nil, err
	}
	res.Header.Del("Location") // a redirect leads nowhere, and an error about one shows nothing
	return res, nil
}

// credentials reads what the kubelet keeps fresh. No error shows any of the token.
func (p *pod) credentials() (token string, roots *x509.CertPool, err error) {
	text, err := p.read("token", 16<<10)
	if err != nil {
		return "", nil, err
	}
	token = strings.TrimSpace(string(text))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", nil, errors.New("the pod's token is none")
	}
	text, err = p.read("ca.crt", 256<<10)
	if err != nil {
		return "", nil, err
	}
	roots = x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return "", nil, errors.New("the pod's ca.crt has no certificate")
	}
	return token, roots, nil
}

func (p *pod) read(name string, most int64) ([]byte, error) {
	f, err := os.Open(filepath.Join(p.directory, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("the pod's %s is larger than %d KiB", name, most>>10)
	}
	return text, err
}
