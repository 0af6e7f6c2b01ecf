//go:build e2e

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What server.mjs is configured with.
const (
	ordersAPI    = "https://api.example.test/orders"
	billingAPI   = "https://api.example.test/billing"
	clientSecret = "not-a-secret"
)

const providerDir = "oidc-provider"

// installed brings the packages of the lock file into node_modules, once as
// long as the lock file stays the same.
var installed = sync.OnceValue(func() error {
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("the end-to-end tests need Node.js 20 or newer with npm, and %s is not on the PATH: "+
				"install it (https://nodejs.org) or run the other tests alone, without -tags e2e", program)
		}
	}
	lock, err := os.ReadFile(filepath.Join(providerDir, "package-lock.json"))
	if err != nil {
		return err
	}
	// npm does not write this copy: it is there only if npm has ended well.
	mark := filepath.Join(providerDir, "node_modules", "installed-lock.json")
	if before, err := os.ReadFile(mark); err == nil && bytes.Equal(before, lock) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = providerDir
	if output, err := npm.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci in %s: %w\n%s", providerDir, err, output)
	}
	return os.WriteFile(mark, lock, 0o644)
})

// provider is a running authorization server.
type provider struct {
	Issuer  string
	orders  io.Writer
	answers <-chan string
}

// startProvider starts the server with the given flags and stops it when the
// test ends.
func startProvider(t *testing.T, flags ...string) *provider {
	t.Helper()
	require.NoError(t, installed())

	server := exec.Command("node", append([]string{"server.mjs"}, flags...)...)
	server.Dir = providerDir
	var stderr bytes.Buffer
	server.Stderr = &stderr
	orders, err := server.StdinPipe()
	require.NoError(t, err)
	stdout, err := server.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())

	answers := make(chan string)
	go func() {
		defer close(answers)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			answers <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		// The end of its stdin is the server's order to end.
		_ = orders.Close()
		late := time.AfterFunc(10*time.Second, func() { _ = server.Process.Kill() })
		defer late.Stop()
		for range answers { // read to the end before Wait closes the pipe
		}
		err := server.Wait()
		if err != nil || t.Failed() {
			t.Logf("oidc-provider said:\n%s", stderr.String())
		}
		require.NoError(t, err, "the server ends by itself once its stdin is closed")
	})

	p := &provider{orders: orders, answers: answers}
	ready := p.answer(t)
	issuer, ok := strings.CutPrefix(ready, "READY ")
	require.True(t, ok, "oidc-provider did not start: %q", ready)
	p.Issuer = issuer
	return p
}

// answer waits for the server's next line.
func (p *provider) answer(t *testing.T) string {
	t.Helper()
	select {
	case line := <-p.answers:
		return line
	case <-time.After(30 * time.Second):
		t.Fatal("oidc-provider does not answer")
		return ""
	}
}

// order tells the server what to do and waits until it is done. The orders
// stand at the top of server.mjs.
func (p *provider) order(t *testing.T, line string) {
	t.Helper()
	_, err := fmt.Fprintln(p.orders, line)
	require.NoError(t, err)
	require.Equal(t, "OK", p.answer(t), "order %q", line)
}

// token gets an access token by client credentials. The client's name is the
// algorithm that its tokens are signed with, in lower case.
func (p *provider) token(ctx context.Context, client, resource, scope string) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {resource}, "scope": {scope}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(client, clientSecret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	var granted struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
	}
	if err := json.Unmarshal(body, &granted); err != nil || granted.TokenType != "Bearer" {
		return "", fmt.Errorf("token endpoint: %s: %s", res.Status, body)
	}
	return granted.AccessToken, nil
}

func (p *provider) mustToken(t *testing.T, client, resource, scope string) string {
	t.Helper()
	token, err := p.token(t.Context(), client, resource, scope)
	require.NoError(t, err)
	return token
}
