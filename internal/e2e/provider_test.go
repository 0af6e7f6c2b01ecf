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
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// provider is a running authorization server.
type provider struct {
	*server
	Issuer  string
	orders  io.Writer
	answers <-chan string
}

// startProvider starts a server with the given flags and stops it when the test
// ends.
func startProvider(t *testing.T, s *server, flags ...string) *provider {
	t.Helper()
	require.NoError(t, s.install())

	process := exec.Command(s.command[0], append(s.command[1:len(s.command):len(s.command)], flags...)...)
	process.Dir = s.name
	var stderr bytes.Buffer
	process.Stderr = &stderr
	orders, err := process.StdinPipe()
	require.NoError(t, err)
	stdout, err := process.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, process.Start())

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
		late := time.AfterFunc(10*time.Second, func() { _ = process.Process.Kill() })
		defer late.Stop()
		for range answers { // read to the end before Wait closes the pipe
		}
		err := process.Wait()
		if err != nil || t.Failed() {
			t.Logf("%s said:\n%s", s.name, stderr.String())
		}
		require.NoError(t, err, "the server ends by itself once its stdin is closed")
	})

	p := &provider{server: s, orders: orders, answers: answers}
	ready := p.answer(t)
	issuer, ok := strings.CutPrefix(ready, "READY ")
	require.True(t, ok, "%s did not start: %q", s.name, ready)
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
		t.Fatalf("%s does not answer", p.name)
		return ""
	}
}

// order tells the server what to do and waits until it is done. The orders stand
// at the top of its program.
func (p *provider) order(t *testing.T, line string) {
	t.Helper()
	_, err := fmt.Fprintln(p.orders, line)
	require.NoError(t, err)
	require.Equal(t, "OK", p.answer(t), "order %q", line)
}

// granted is what a token endpoint answers.
type granted struct {
	AccessToken  string `json:"access_token"`
	IDToken      string `json:"id_token"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
}

// post sends a form as the client.
func (p *provider) post(ctx context.Context, endpoint, client string, form url.Values, header http.Header) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Issuer+endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(client, clientSecret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s%s: %s: %s", p.Issuer, endpoint, res.Status, body)
	}
	return body, err
}

// grant asks the token endpoint.
func (p *provider) grant(ctx context.Context, client string, form url.Values) (g granted, err error) {
	body, err := p.post(ctx, p.server.token, client, form, nil)
	if err != nil {
		return g, err
	}
	if err := json.Unmarshal(body, &g); err != nil || g.TokenType != "Bearer" || g.AccessToken == "" {
		return g, fmt.Errorf("the token endpoint answers %s", body)
	}
	return g, nil
}

// token gets an access token by client credentials, for an API, or, where that is
// empty, for none.
func (p *provider) token(ctx context.Context, client, api, scope string) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {scope}}
	if api != "" {
		p.resource(form, api)
	}
	g, err := p.grant(ctx, client, form)
	return g.AccessToken, err
}

func (p *provider) mustToken(t *testing.T, client, api, scope string) string {
	t.Helper()
	token, err := p.token(t.Context(), client, api, scope)
	require.NoError(t, err)
	return token
}
