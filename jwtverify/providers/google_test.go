package providers_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/providers"
)

func TestIAPWantsTheAudienceOfABackend(t *testing.T) {
	for _, audience := range []string{"1234987819200.apps.googleusercontent.com", "https://api.example.com", "projects/1/apps/x"} {
		_, err := jwtverify.New(providers.IAP("/projects/1/apps/x", audience))
		require.ErrorContains(t, err, "/projects/NUMBER/global/backendServices/ID")
	}
	for _, audience := range [][]string{nil, {""}, {"/projects/1/apps/x", ""}} {
		_, err := jwtverify.New(providers.IAP(audience...))
		require.ErrorContains(t, err, "Audience")
	}
}
