package providers_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/providers"
)

func TestWhatCannotBeMadeSafeIsAFaultThatSaysWhatToWrite(t *testing.T) {
	const api = "https://api.example.com"
	for name, c := range map[string]struct {
		config jwtverify.Config
		says   string
	}{
		"RFC9068, no issuer":        {providers.RFC9068("", api), "Issuer is required: write the issuer identifier"},
		"RFC9068, http":             {providers.RFC9068("http://issuer.example.com", api), "write the issuer's https URL"},
		"RFC9068, no scheme":        {providers.RFC9068("issuer.example.com", api), "write the issuer's https URL"},
		"OIDCProvider, no issuer":   {providers.OIDCProvider("", api), "Issuer is required: write the issuer identifier"},
		"OIDCProvider, http":        {providers.OIDCProvider("http://op.example.com", api), "write the issuer's https URL"},
		"Auth0, no domain":          {providers.Auth0("", api), "write the tenant's host name alone"},
		"Auth0, a URL":              {providers.Auth0("https://tenant.eu.auth0.com", api), "write the tenant's host name alone"},
		"Auth0, an issuer":          {providers.Auth0("https://tenant.eu.auth0.com/", api), "write the tenant's host name alone"},
		"Auth0, a slash":            {providers.Auth0("tenant.eu.auth0.com/", api), "write the tenant's host name alone"},
		"Auth0, a path":             {providers.Auth0("tenant.eu.auth0.com/api/v2", api), "write the tenant's host name alone"},
		"Auth0, a port":             {providers.Auth0("tenant.eu.auth0.com:443", api), "write the tenant's host name alone"},
		"Auth0, a query":            {providers.Auth0("tenant.eu.auth0.com?a", api), "write the tenant's host name alone"},
		"Auth0, a fragment":         {providers.Auth0("tenant.eu.auth0.com#a", api), "write the tenant's host name alone"},
		"Auth0, a user":             {providers.Auth0("tenant.eu.auth0.com@attacker.example.com", api), "write the tenant's host name alone"},
		"Auth0, capitals":           {providers.Auth0("Tenant.eu.auth0.com", api), "in lower case"},
		"Auth0, a space":            {providers.Auth0(" tenant.eu.auth0.com", api), "write the tenant's host name alone"},
		"Okta, no issuer":           {providers.Okta("", api), "write the issuer of a custom authorization server"},
		"Okta, no URL":              {providers.Okta("https://%zz", api), "write that of a custom authorization server"},
		"Okta, the org":             {providers.Okta("https://org.okta.com", api), "the org's own issues no tokens for your API"},
		"Okta, the org, a slash":    {providers.Okta("https://org.okta.com/", api), "the org's own issues no tokens for your API"},
		"Okta, the org's endpoints": {providers.Okta("https://org.okta.com/oauth2", api), "the org's own issues no tokens for your API"},
		"Okta, no id":               {providers.Okta("https://org.okta.com/oauth2/", api), "such as https://org.okta.com/oauth2/default"},
		"Okta, a slash":             {providers.Okta("https://org.okta.com/oauth2/default/", api), "such as https://org.okta.com/oauth2/default"},
		"Okta, an endpoint":         {providers.Okta("https://org.okta.com/oauth2/default/v1/token", api), "such as https://org.okta.com/oauth2/default"},
		"Okta, http":                {providers.Okta("http://org.okta.com/oauth2/default", api), "write the issuer's https URL"},
		"Okta, no scheme":           {providers.Okta("org.okta.com/oauth2/default", api), "such as https://org.okta.com/oauth2/default"},
		"Entra, no tenant":          {providers.Entra("", application), "write its GUID"},
		"Entra, common":             {providers.Entra("common", application), "write the GUID of your own tenant"},
		"Entra, organizations":      {providers.Entra("organizations", application), "write the GUID of your own tenant"},
		"Entra, consumers":          {providers.Entra("consumers", application), "write the GUID of your own tenant"},
		"Entra, consumers as GUID":  {providers.Entra("9188040d-6c67-4c5b-b112-36a304b66dad", application), "write the GUID of your own tenant"},
		"Entra, Common":             {providers.Entra("Common", application), "write its GUID"},
		"Entra, a domain name":      {providers.Entra("contoso.onmicrosoft.com", application), "write its GUID"},
		"Entra, capitals":           {providers.Entra(strings.ToUpper(tenant), application), "in lower case"},
		"Entra, braces":             {providers.Entra("{"+tenant+"}", application), "write its GUID"},
		"Entra, more than a GUID":   {providers.Entra(tenant+"\n", application), "write its GUID"},
		"Entra, an issuer":          {providers.Entra("https://login.microsoftonline.com/"+tenant+"/v2.0", application), "write its GUID"},
		"EntraV1, no tenant":        {providers.EntraV1("", application), "write its GUID"},
		"EntraV1, common":           {providers.EntraV1("common", application), "write the GUID of your own tenant"},
		"EntraV1, a domain name":    {providers.EntraV1("contoso.com", application), "write its GUID"},
		"Keycloak, no issuer":       {providers.Keycloak("", api), "write the issuer of a realm"},
		"Keycloak, no URL":          {providers.Keycloak("https://%zz", api), "write that of a realm"},
		"Keycloak, no realm":        {providers.Keycloak("https://keycloak.example.com", api), "write the issuer of a realm"},
		"Keycloak, an empty realm":  {providers.Keycloak("https://keycloak.example.com/realms/", api), "write the issuer of a realm"},
		"Keycloak, a slash":         {providers.Keycloak("https://keycloak.example.com/realms/shop/", api), "without a slash at its end"},
		"Keycloak, http":            {providers.Keycloak("http://keycloak.example.com/realms/shop", api), "write the issuer's https URL"},
		"Keycloak, account":         {providers.Keycloak("https://keycloak.example.com/realms/shop", "orders-api", "account"), "write the client id of this API"},
		"Cognito, no region":        {providers.Cognito("", "eu-central-1_AbCdEfGhI", "client"), "write one such as eu-central-1"},
		"Cognito, a host":           {providers.Cognito("cognito-idp.eu-central-1.amazonaws.com", "eu-central-1_AbCdEfGhI", "client"), "write one such as eu-central-1"},
		"Cognito, a slash":          {providers.Cognito("eu-central-1/", "eu-central-1_AbCdEfGhI", "client"), "write one such as eu-central-1"},
		"Cognito, no user pool":     {providers.Cognito("eu-central-1", "", "client"), "which begins with its region"},
		"Cognito, another region":   {providers.Cognito("eu-west-1", "eu-central-1_AbCdEfGhI", "client"), "such as eu-west-1_AbCdEfGhI"},
		"Cognito, a path":           {providers.Cognito("eu-central-1", "eu-central-1_AbC/../x", "client"), "which begins with its region"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := jwtverify.New(c.config)
			require.Nil(t, v)
			require.ErrorContains(t, err, c.says)
		})
	}
}

// audiences make presets for audiences of the caller's choice.
var audiences = map[string]func(audience ...string) jwtverify.Config{
	"Auth0": func(a ...string) jwtverify.Config { return providers.Auth0("tenant.eu.auth0.com", a...) },
	"Cognito": func(a ...string) jwtverify.Config {
		return providers.Cognito("eu-central-1", "eu-central-1_AbCdEfGhI", a...)
	},
	"Entra":   func(a ...string) jwtverify.Config { return providers.Entra(tenant, a...) },
	"EntraV1": func(a ...string) jwtverify.Config { return providers.EntraV1(tenant, a...) },
	"Keycloak": func(a ...string) jwtverify.Config {
		return providers.Keycloak("https://keycloak.example.com/realms/shop", a...)
	},
	"OIDCProvider": func(a ...string) jwtverify.Config { return providers.OIDCProvider("https://op.example.com", a...) },
	"Okta": func(a ...string) jwtverify.Config {
		return providers.Okta("https://org.okta.com/oauth2/default", a...)
	},
	"RFC9068":    func(a ...string) jwtverify.Config { return providers.RFC9068("https://issuer.example.com", a...) },
	"Google":     providers.Google,
	"Kubernetes": func(a ...string) jwtverify.Config { return providers.Kubernetes("", a...) },
	"Zitadel":    func(a ...string) jwtverify.Config { return providers.Zitadel("https://instance.zitadel.cloud", a...) },
	"Dex":        func(a ...string) jwtverify.Config { return providers.Dex("https://dex.example.com/dex", a...) },
	"Hydra":      func(a ...string) jwtverify.Config { return providers.Hydra("https://hydra.example.com", a...) },
}

func TestAPresetWithoutAnAudienceIsAFault(t *testing.T) {
	keys, err := jwks.Parse(signers().JWKS())
	require.NoError(t, err)
	for name, preset := range audiences {
		t.Run(name, func(t *testing.T) {
			for says, audience := range map[string][]string{"Audience is required": nil, "Audience has an empty element": {"", "x"}} {
				c := preset(audience...)
				c.Keys, c.JWKS = keys, jwks.Config{} // so that nothing is fetched
				v, err := jwtverify.New(c)
				require.Nil(t, v)
				require.ErrorContains(t, err, says)
			}
		})
	}
}

func TestAPresetKeepsNoneOfItsCallersSlices(t *testing.T) {
	for name, preset := range audiences {
		t.Run(name, func(t *testing.T) {
			mine := []string{"a", "b"}
			c := preset(mine...)
			c.Audience[0] = "changed"
			require.Equal(t, []string{"a", "b"}, mine)
		})
	}
}

func TestAPresetThatWasChangedDoesNotChangeTheNext(t *testing.T) {
	for name, p := range presets {
		t.Run(name, func(t *testing.T) {
			want := p.config()
			spoil(reflect.ValueOf(p.config()))
			got := p.config()
			require.Len(t, got.Checks, len(want.Checks))
			for i := range got.Checks {
				require.NotNil(t, got.Checks[i])
			}
			want.Checks, got.Checks = nil, nil
			want.Keys, got.Keys = nil, nil
			want.JWKS, got.JWKS = jwks.Config{URL: want.JWKS.URL}, jwks.Config{URL: got.JWKS.URL}
			require.Equal(t, want, got)
		})
	}
}

// spoil zeroes what can be reached through the slices and maps of a Config.
func spoil(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() != reflect.TypeFor[jwks.Config]() {
			for _, field := range v.Fields() {
				spoil(field)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			spoil(v.Index(i))
			v.Index(i).SetZero()
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			spoil(v.MapIndex(key))
		}
		v.Clear()
	}
}
