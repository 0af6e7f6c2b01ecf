//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/providers"
)

// What every server is configured with.
const (
	ordersAPI    = "https://api.example.test/orders"
	billingAPI   = "https://api.example.test/billing"
	clientSecret = "not-a-secret"
)

// server is an authorization server that somebody else wrote. The folder of its
// name has the program that configures it.
type server struct {
	name    string
	install func() error // brings what it needs, once
	command []string

	token, authorize string // endpoints, relative to the issuer
	revocation       string // likewise, where tests need it

	// client is one whose tokens for an API are JWTs.
	client string
	// resource asks for a token for an API, in the way that this server wants.
	resource func(form url.Values, api string)
	// preset is what its tokens are verified with.
	preset func(issuer string, audience ...string) jwtverify.Config
}

var oidcProvider = &server{
	name: "oidc-provider", install: npm("oidc-provider"), command: []string{"node", "server.mjs"},
	token: "/token", authorize: "/auth", revocation: "/token/revocation", client: "es256",
	resource: byResource,
	preset:   providers.OIDCProvider,
}

var zitadelOP = &server{
	name: "zitadel-op", install: goBuild("zitadel-op"), command: []string{"./zitadel-op"},
	token: "oauth/token", authorize: "authorize", revocation: "revoke", client: "svc", // its issuer ends in a slash
	resource: func(form url.Values, api string) {
		form.Set("scope", form.Get("scope")+" urn:zitadel:iam:org:project:id:"+api+":aud urn:zitadel:iam:org:projects:roles")
	},
	preset: providers.Zitadel,
}

var betterAuth = &server{
	name: "better-auth", install: npm("better-auth"), command: []string{"node", "server.mjs"},
	token: "/oauth2/token", authorize: "/oauth2/authorize", client: "svc",
	resource: byResource,
	preset:   providers.RFC9068,
}

// byResource is RFC 8707.
func byResource(form url.Values, api string) { form.Set("resource", api) }

// npm brings the packages of a folder's lock file into its node_modules, once as
// long as the lock file stays the same.
func npm(dir string) func() error {
	return sync.OnceValue(func() error {
		for _, program := range []string{"node", "npm"} {
			if _, err := exec.LookPath(program); err != nil {
				return fmt.Errorf("the end-to-end tests need Node.js 20 or newer with npm, and %s is not on the PATH: "+
					"install it (https://nodejs.org) or run the other tests alone, without -tags e2e", program)
			}
		}
		lock, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
		if err != nil {
			return err
		}
		// npm does not write this copy: it is there only if npm has ended well.
		mark := filepath.Join(dir, "node_modules", "installed-lock.json")
		if before, err := os.ReadFile(mark); err == nil && bytes.Equal(before, lock) {
			return nil
		}
		if err := run(dir, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"); err != nil {
			return err
		}
		return os.WriteFile(mark, lock, 0o644)
	})
}

// goBuild makes the program of a folder, where go leaves one alone that is up to
// date.
func goBuild(dir string) func() error {
	return sync.OnceValue(func() error { return run(dir, "go", "build", "-o", filepath.Base(dir), ".") })
}

func run(dir, program string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, program, args...)
	command.Dir = dir
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s in %s: %w\n%s", command, dir, err, output)
	}
	return nil
}
