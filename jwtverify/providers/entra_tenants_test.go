package providers_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/providers"
)

const (
	otherTenant = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
	strayTenant = "99999999-2222-3333-4444-555555555555"
)

func v2(tenant string) string { return "https://login.microsoftonline.com/" + tenant + "/v2.0" }

// ofTenant is the golden token of Entra, from another tenant and with changes.
func ofTenant(t *testing.T, tenant string, changes map[string]any) string {
	t.Helper()
	s := load(t, "Entra").Accept[0]
	claims := maps.Clone(s.Claims)
	claims["iss"], claims["tid"] = v2(tenant), tenant
	return sign(t, s.Header, changed(claims, changes))
}

// offline gives a Config the keys and the time of the tests: all tenants of Entra
// have the same keys.
func offline(t *testing.T, c *jwtverify.Config) {
	set, err := jwks.Parse(signers().JWKS())
	require.NoError(t, err)
	c.Keys, c.JWKS = set, jwks.Config{}
	c.Now = func() time.Time { return now }
}

func issuersOf(t *testing.T, c jwtverify.IssuersConfig) *jwtverify.Issuers {
	t.Helper()
	for i := range c.Configs {
		offline(t, &c.Configs[i])
	}
	if resolve := c.Resolve; resolve != nil {
		c.Resolve = func(ctx context.Context, issuer string) (jwtverify.Config, error) {
			config, err := resolve(ctx, issuer)
			offline(t, &config)
			return config, err
		}
	}
	issuers, err := jwtverify.NewIssuers(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, issuers.Close()) })
	return issuers
}

func TestOnlyTheTenantsThatWereAllowedAreLetIn(t *testing.T) {
	allowed := map[string]bool{tenant: true, otherTenant: true}
	var asked []string
	allow := func(_ context.Context, id string) error {
		asked = append(asked, id)
		if !allowed[id] {
			return jwtverify.ErrIssuer
		}
		return nil
	}
	for name, c := range map[string]jwtverify.IssuersConfig{
		"named":   providers.EntraTenants([]string{tenant, otherTenant}, application),
		"allowed": providers.EntraAnyTenant(allow, application),
	} {
		t.Run(name, func(t *testing.T) {
			issuers := issuersOf(t, c)
			for _, c := range []struct {
				name, token string
				want        jwtverify.Reason
			}{
				{"one", ofTenant(t, tenant, nil), ""},
				{"the other", ofTenant(t, otherTenant, nil), ""},
				{"a stranger", ofTenant(t, strayTenant, nil), jwtverify.ErrIssuer},
				{"tid of the other", ofTenant(t, tenant, map[string]any{"tid": otherTenant}), jwtverify.ErrClaims},
				{"tid of a stranger", ofTenant(t, tenant, map[string]any{"tid": strayTenant}), jwtverify.ErrClaims},
				{"iss of a stranger", ofTenant(t, tenant, map[string]any{"iss": v2(strayTenant)}), jwtverify.ErrIssuer},
				{"no tid", ofTenant(t, tenant, map[string]any{"tid": nil}), jwtverify.ErrClaims},
				{"in upper case", ofTenant(t, strings.ToUpper(otherTenant), nil), jwtverify.ErrIssuer},
				{"personal accounts", ofTenant(t, "9188040d-6c67-4c5b-b112-36a304b66dad", nil), jwtverify.ErrIssuer},
				{"the template itself", ofTenant(t, "{tenantid}", nil), jwtverify.ErrIssuer},
				{"common", ofTenant(t, "common", nil), jwtverify.ErrIssuer},
				{"no tenant", ofTenant(t, "", nil), jwtverify.ErrIssuer},
				{"a path", ofTenant(t, tenant+"/../"+otherTenant, nil), jwtverify.ErrIssuer},
				{"a longer host", ofTenant(t, tenant, map[string]any{"iss": "https://login.microsoftonline.com.evil.example/" + tenant + "/v2.0"}), jwtverify.ErrIssuer},
				{"v1.0", ofTenant(t, tenant, map[string]any{"iss": "https://sts.windows.net/" + tenant + "/", "ver": "1.0"}), jwtverify.ErrIssuer},
				{"ver of v1.0", ofTenant(t, tenant, map[string]any{"ver": "1.0"}), jwtverify.ErrClaims},
				{"an ID token", ofTenant(t, tenant, map[string]any{"azp": nil, "scp": nil}), jwtverify.ErrClaims},
				{"another API", ofTenant(t, tenant, map[string]any{"aud": otherTenant}), jwtverify.ErrAudience},
			} {
				for range 2 {
					_, err := issuers.Verify(t.Context(), c.token)
					require.Equal(t, string(c.want), string(jwtverify.ReasonOf(err)), "%s: %v", c.name, err)
				}
			}
		})
	}
	require.ElementsMatch(t, []string{tenant, otherTenant, strayTenant}, asked, "each once, and nothing that is no tenant")
}

func TestAnEntraTenantThatCannotBeLookedUpIsAnOutage(t *testing.T) {
	issuers := issuersOf(t, providers.EntraAnyTenant(func(context.Context, string) error { return errors.New("no database") }, application))
	_, err := issuers.Verify(t.Context(), ofTenant(t, tenant, nil))
	require.ErrorIs(t, err, jwtverify.ErrUnavailable)
}

func TestEntraTenantsRefuseToBuildForEveryone(t *testing.T) {
	for want, c := range map[string]jwtverify.IssuersConfig{
		"allow is nil":          providers.EntraAnyTenant(nil, application),
		"anyone in the world":   providers.EntraTenants([]string{tenant, "common"}, application),
		"write its GUID":        providers.EntraTenants([]string{"contoso.com"}, application),
		"write whose tokens":    providers.EntraTenants(nil, application),
		"twice":                 providers.EntraTenants([]string{tenant, tenant}, application),
		"Audience is required:": providers.EntraTenants([]string{tenant}),
	} {
		_, err := jwtverify.NewIssuers(c)
		require.ErrorContains(t, err, want)
	}
}
