package jwks_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
)

const (
	openID = "/.well-known/openid-configuration"
	oauth  = "/.well-known/oauth-authorization-server"
)

func TestMetadataIsFoundWhereEitherStandardPutsIt(t *testing.T) {
	for _, c := range []struct{ issuer, openID, oauth string }{
		{issuerID, openID, oauth},
		{issuerID + "/", openID, oauth},
		{issuerID + ":8443", openID, oauth},
		{issuerID + "/tenant", "/tenant" + openID, oauth + "/tenant"},
		{issuerID + "/tenant/", "/tenant" + openID, oauth + "/tenant"},
		{issuerID + "/a/b%20c", "/a/b%20c" + openID, oauth + "/a/b%20c"},
		{strings.ToUpper(issuerID) + "/Tenant", "/Tenant" + openID, oauth + "/Tenant"},
	} {
		for _, place := range []string{c.openID, c.oauth} {
			t.Run(c.issuer+" at "+place, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					i := newIssuer(t)
					i.publish(keyA)
					i.serve(place, metadata(c.issuer, keysURL))
					cache := i.ready(t, func(config *jwks.Config) { config.URL, config.Issuer = "", c.issuer })
					requireKey(t, cache, "a")
					require.Equal(t, keysURL, cache.Status().URL)
				})
			})
		}
	}
}

// badMetadata are documents from which no jwks_uri may be taken.
var badMetadata = map[string]http.HandlerFunc{
	"no document":            http.NotFound,
	"error with a document":  func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500); metadata(issuerID, keysURL)(w, r) },
	"HTML":                   text("<!doctype html>"),
	"empty":                  text(""),
	"array":                  text(`[{"issuer":"` + issuerID + `","jwks_uri":"` + keysURL + `"}]`),
	"a key set":              text(set(keyA)),
	"no issuer":              text(`{"jwks_uri":"` + keysURL + `"}`),
	"null issuer":            text(`{"issuer":null,"jwks_uri":"` + keysURL + `"}`),
	"issuer in an array":     text(`{"issuer":["` + issuerID + `"],"jwks_uri":"` + keysURL + `"}`),
	"Issuer":                 text(`{"Issuer":"` + issuerID + `","jwks_uri":"` + keysURL + `"}`),
	"issuer twice":           text(`{"issuer":"https://other.example","issuer":"` + issuerID + `","jwks_uri":"` + keysURL + `"}`),
	"other issuer":           metadata("https://other.example", keysURL),
	"issuer with a slash":    metadata(issuerID+"/", keysURL),
	"issuer in capitals":     metadata(strings.ToUpper(issuerID), keysURL),
	"issuer with a port":     metadata(issuerID+":443", keysURL),
	"issuer over plain http": metadata("http://issuer.example", keysURL),
	"no jwks_uri":            text(`{"issuer":"` + issuerID + `"}`),
	"empty jwks_uri":         metadata(issuerID, ""),
	"null jwks_uri":          text(`{"issuer":"` + issuerID + `","jwks_uri":null}`),
	"jwks_uri in an array":   text(`{"issuer":"` + issuerID + `","jwks_uri":["` + keysURL + `"]}`),
	"jwks_uri twice":         text(`{"issuer":"` + issuerID + `","jwks_uri":"` + keysURL + `","jwks_uri":"` + keysURL + `"}`),
	"plain http":             metadata(issuerID, "http://issuer.example/keys"),
	"plain http to loopback": metadata(issuerID, "http://127.0.0.1/keys"),
	"file":                   metadata(issuerID, "file:///etc/passwd"),
	"relative":               metadata(issuerID, "/keys"),
	"no scheme":              metadata(issuerID, "//issuer.example/keys"),
	"credentials":            metadata(issuerID, "https://user:secret@issuer.example/keys"),
	"cloud metadata":         metadata(issuerID, "https://169.254.169.254/keys"),
	"jwks_uri of 2049 bytes": metadata(issuerID, keysURL+"?"+strings.Repeat("k", 2048-len(keysURL))),
	"too large":              text(`{"issuer":"` + issuerID + `","jwks_uri":"` + keysURL + `"}` + strings.Repeat(" ", 256<<10)),
	"trailing garbage":       text(`{"issuer":"` + issuerID + `","jwks_uri":"` + keysURL + `"}}`),
	"redirected elsewhere":   http.RedirectHandler("https://other.example/", http.StatusFound).ServeHTTP,
}

func TestKeysAreTakenOnlyFromTheIssuersOwnMetadata(t *testing.T) {
	for name, document := range badMetadata {
		t.Run(name, func(t *testing.T) {
			for _, insecure := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					i := newIssuer(t)
					i.publish(keyA)
					i.serve(openID, document)
					i.serve(oauth, document)
					cache := i.cache(t, byDiscovery, func(c *jwks.Config) { c.InsecureHTTP = insecure })
					time.Sleep(time.Minute)
					requireUnavailableKey(t, cache, "a")
					require.Zero(t, i.fetches(), "nothing that the document says is followed")
					require.Contains(t, cache.Status().LastError, openID)
					require.NotContains(t, cache.Status().LastError, "secret")

					i.serve(oauth, metadata(issuerID, keysURL))
					time.Sleep(30 * time.Second)
					requireKey(t, cache, "a") // the other place makes up for it
				})
			}
		})
	}
}

func TestAnIssuerThatDiffersInTheLastSlashIsNotTheSameAndTheErrorSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA)
		i.serve(openID, metadata(issuerID+"/", keysURL))
		cache := i.cache(t, byDiscovery)
		time.Sleep(time.Second)
		requireUnavailableKey(t, cache, "a")
		require.Zero(t, i.fetches())
		require.Contains(t, cache.Status().LastError, "they differ in the last slash only")
	})
}

// What metadata says of algorithms is about ID tokens and client assertions, some
// servers say nothing, and one is known to list none.
func TestAlgorithmsThatMetadataNamesAreIgnored(t *testing.T) {
	for name, members := range map[string]string{
		"other ones": `"id_token_signing_alg_values_supported":["RS256"]`,
		"none":       `"id_token_signing_alg_values_supported":["none"]`,
		"HS256":      `"id_token_signing_alg_values_supported":["HS256"],"token_endpoint_auth_signing_alg_values_supported":["HS256"]`,
		"no list":    `"id_token_signing_alg_values_supported":"none"`,
		"empty list": `"id_token_signing_alg_values_supported":[]`,
		"null":       `"id_token_signing_alg_values_supported":null`,
		"not at all": `"scopes_supported":["openid"]`,
		"keys":       `"keys":[{"kty":"oct","k":"AAAA","kid":"b","alg":"HS256"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer(t)
				i.publish(keyA)
				i.serve(openID, text(`{"issuer":"`+issuerID+`",`+members+`,"jwks_uri":"`+keysURL+`"}`))
				cache := i.ready(t, byDiscovery)
				requireKey(t, cache, "a")
				for _, alg := range []string{"RS256", "HS256", "none"} {
					_, err := cache.Key(t.Context(), "a", alg)
					require.ErrorIs(t, err, jwks.ErrKeyNotFound)
				}
				requireNoSuchKey(t, cache, "b")
			})
		})
	}
}

// A jwks_uri given by hand is for issuers without metadata, and for operators who
// do not want theirs to be followed.
func TestWithAURLNoMetadataIsEverAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA)
		i.serve("/evil", text(set(keyB)))
		for _, place := range []string{openID, oauth} {
			i.serve(place, metadata(issuerID, issuerID+"/evil"))
		}
		cache := i.ready(t)
		requireKey(t, cache, "a")
		requireNoSuchKey(t, cache, "b")
		i.serve("/keys", status(500))
		time.Sleep(time.Hour) // long enough for a Cache with an Issuer to look elsewhere
		requireKey(t, cache, "a")
		require.Equal(t, keysURL, cache.Status().URL)
		for _, place := range []string{openID, oauth, "/evil"} {
			require.Empty(t, i.times(place))
		}
	})
}

func TestAMovedJWKSURIHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA)
		i.serve(openID, metadata(issuerID, keysURL))
		cache := i.ready(t, byDiscovery)
		a := requireKey(t, cache, "a")

		i.serve("/keys", nil)
		i.serve("/moved", text(set(keyA, keyB)))
		i.serve(openID, metadata(issuerID, issuerID+"/moved"))
		time.Sleep(10*time.Minute + 30*time.Second)
		synctest.Wait()
		requireKey(t, cache, "b")
		require.Same(t, a, requireKey(t, cache, "a"))
		require.Equal(t, issuerID+"/moved", cache.Status().URL)
	})
}

// Whoever moves a key set leaves the old one behind for a while, without the keys
// that are made after that.
func TestAMovedJWKSURIIsFoundInADayThoughItsOldPlaceStillAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA)
		i.serve(openID, metadata(issuerID, keysURL))
		cache := i.ready(t, byDiscovery)
		a := requireKey(t, cache, "a")

		i.serve("/moved", text(set(keyA, keyB)))
		i.serve(openID, metadata(issuerID, issuerID+"/moved"))
		time.Sleep(23 * time.Hour)
		requireNoSuchKey(t, cache, "b")
		time.Sleep(time.Hour + 10*time.Minute)
		synctest.Wait()
		requireKey(t, cache, "b")
		require.Same(t, a, requireKey(t, cache, "a"))
		require.Equal(t, issuerID+"/moved", cache.Status().URL)
		before := i.fetches()
		time.Sleep(71 * time.Hour)
		require.Equal(t, before, i.fetches(), "the old place is asked no more")
		require.Len(t, i.times(openID), 4, "once a day")
	})
}

func TestMetadataThatIsOfNoUseAfterADayCostsNoKeys(t *testing.T) {
	for name, document := range map[string]http.HandlerFunc{
		"gone": nil, "another's": metadata("https://other.example", issuerID+"/evil"), "hangs": hang,
		"leads nowhere": metadata(issuerID, issuerID+"/nowhere"), "leads to an empty set": metadata(issuerID, issuerID+"/empty"),
		"asks to come back": status(503, "Retry-After", "3600"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer(t)
				i.publish(keyA)
				i.serve("/empty", text(set()))
				i.serve(openID, metadata(issuerID, keysURL))
				cache := i.ready(t, byDiscovery)

				i.serve(openID, document)
				i.serve(oauth, document)
				time.Sleep(24*time.Hour + 11*time.Minute)
				synctest.Wait()
				require.Len(t, i.times(openID), 2)
				i.publish(keyB)
				time.Sleep(11 * time.Minute)
				synctest.Wait()
				requireKey(t, cache, "b")
				require.Equal(t, keysURL, cache.Status().URL)
				require.Empty(t, cache.Status().LastError)
				require.Len(t, i.times(openID), 2, "it is not asked again before another day")
				require.Empty(t, i.times("/evil"))
			})
		})
	}
}

func TestKeysWhosePlaceIsKnownOutliveTheMetadata(t *testing.T) {
	for name, document := range map[string]http.HandlerFunc{
		"gone": nil, "another's": metadata("https://other.example", issuerID+"/evil"), "hangs": hang,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer(t)
				i.publish(keyA)
				i.serve(openID, metadata(issuerID, keysURL))
				cache := i.ready(t, byDiscovery)

				i.serve("/keys", status(500))
				i.serve(openID, document)
				i.serve(oauth, document)
				require.ErrorIs(t, cache.Refresh(t.Context()), jwks.ErrUnavailable)
				i.publish(keyB)
				require.NoError(t, cache.Refresh(t.Context()))
				requireKey(t, cache, "b")
				require.Equal(t, keysURL, cache.Status().URL)
				require.Empty(t, i.times("/evil"))
			})
		})
	}
}

func TestMetadataIsNotAskedForWhileItIsOfNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA)
		i.serve(openID, metadata(issuerID, keysURL))
		i.cache(t, byDiscovery)
		time.Sleep(24 * time.Hour)
		require.Len(t, i.times(openID), 1)
		require.Greater(t, i.fetches(), 100)
	})
}

func TestTenSecondsCoverMetadataAndKeysTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.serve(openID, slow(4*time.Second, http.NotFound))
		i.serve(oauth, slow(4*time.Second, metadata(issuerID, keysURL)))
		i.serve("/keys", slow(3*time.Second, text(set(keyA))))
		began := time.Now()
		cache := i.cache(t, byDiscovery)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, 10*time.Second, cache.Status().LastErrorAt.Sub(began))
		i.serve(oauth, slow(2*time.Second, metadata(issuerID, keysURL)))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, cache.Ready(ctx))
	})
}

func TestRetryAfterOfTheMetadataIsObeyedToo(t *testing.T) {
	for _, place := range []string{openID, oauth} {
		synctest.Test(t, func(t *testing.T) {
			i := newIssuer(t)
			i.serve(place, status(503, "Retry-After", "120"))
			cache := i.cache(t, byDiscovery)
			synctest.Wait()
			wait := requireUnavailableKey(t, cache, "a")
			require.GreaterOrEqual(t, wait, 2*time.Minute, place)
			require.LessOrEqual(t, wait, 2*time.Minute+18*time.Second, "spread over 0.6 of 30 s")
			require.Len(t, i.times(openID), 1)
			require.Equal(t, place == oauth, len(i.times(oauth)) == 1, "who says when to come back is not asked for the other place")
		})
	}
}
