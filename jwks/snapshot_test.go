package jwks_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
)

// save is a Snapshot of the keys that an issuer publishes now.
func save(t *testing.T, i *issuer, changes ...func(*jwks.Config)) []byte {
	t.Helper()
	cache := i.ready(t, changes...)
	saved := cache.Snapshot()
	require.NotEmpty(t, saved)
	require.NoError(t, cache.Close())
	return saved
}

func from(snapshot []byte) func(*jwks.Config) {
	return func(c *jwks.Config) { c.Snapshot = snapshot }
}

var odd = "../../etc\x00\n<a href=\"&'>\u2028é\U0001f511" + strings.Repeat("k", 440)

func TestASnapshotBringsBackEveryKeyAsItWas(t *testing.T) {
	p521 := newEC(elliptic.P521())
	for name, keys := range map[string][]jwk{
		"RSA":                  {rsaJWK.with(jwk{"kid": "a"})},
		"RSA for one alg":      {rsaJWK.with(jwk{"kid": "a", "alg": "PS384"})},
		"P-256":                {ecJWK.with(jwk{"kid": "a"})},
		"P-384":                {ec384JWK.with(jwk{"kid": "a", "alg": "ES384"})},
		"P-521":                {ecEntry("P-521", p521).with(jwk{"kid": "a"})},
		"Ed25519":              {keyA.with(jwk{"alg": nil})},
		"Ed25519 for EdDSA":    {keyA},
		"Ed25519 for Ed25519":  {keyA.with(jwk{"alg": "Ed25519"})},
		"without kid":          {keyA.with(jwk{"kid": nil})},
		"without kid and alg":  {keyA.with(jwk{"kid": nil, "alg": nil}), rsaJWK},
		"with an odd kid":      {keyA, keyB.with(jwk{"kid": odd})},
		"one key by two kids":  {keyA, keyA.with(jwk{"kid": "b"})},
		"one kid for two keys": {rsaJWK.with(jwk{"kid": "a"}), ecJWK.with(jwk{"kid": "a"}), keyA},
		"ambiguous keys":       {keyA, keyB.with(jwk{"kid": "a"}), keyC.with(jwk{"kid": "b"})},
		"with bad entries":     {jwk{"kty": "oct", "k": "c2VjcmV0", "kid": "b"}, keyA, keyB.with(jwk{"use": "enc"})},
		"a hundred":            slices.Repeat([]jwk{keyA, rsaJWK.with(jwk{"kid": "b"})}, 50),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer(t)
				i.publish(keys...)
				before := i.ready(t)
				saved := before.Snapshot()
				i.serve("/keys", hang)
				after := i.cache(t, from(saved))

				require.Equal(t, before.Status().Keys, after.Status().Keys)
				require.Equal(t, before.Status().Fetched, after.Status().Fetched)
				published := parse(t, keys...)
				for _, kid := range []string{"", "a", "b", odd} {
					want := serves(t, published, kid)
					var algs []string
					for _, alg := range everyAlg {
						if !slices.Contains(want, alg) {
							continue // would wait for the first fetch
						}
						k, err := after.Key(t.Context(), kid, alg)
						require.NoError(t, err)
						require.ErrorContains(t, k.Verify(alg, nil, nil), "signature does not hold", "it is for %s", alg)
						algs = append(algs, alg)
					}
					require.Equal(t, want, algs)
				}
				require.Equal(t, saved, after.Snapshot(), "it can be handed on")
				restored, err := jwks.Parse(saved)
				require.NoError(t, err, "it is a key set")
				for _, kid := range []string{"", "a", "b", "c", odd} {
					require.Equal(t, serves(t, published, kid), serves(t, restored, kid))
				}
			})
		})
	}
}

func TestAServiceStartsFromASnapshotWhileItsIssuerIsDown(t *testing.T) {
	for name, outage := range outages {
		for _, change := range []func(*jwks.Config){func(*jwks.Config) {}, byDiscovery} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					i := newIssuer(t)
					i.serve(openID, metadata(issuerID, keysURL))
					i.publish(rsaJWK.with(jwk{"kid": "r"}))
					saved := save(t, i, change)
					for _, path := range []string{openID, oauth, "/keys"} {
						i.serve(path, outage)
					}
					time.Sleep(time.Hour)

					began := time.Now()
					cache := i.cache(t, change, from(saved))
					k, err := cache.Key(t.Context(), "r", "RS256")
					require.NoError(t, err)
					require.NoError(t, cache.Ready(t.Context()))
					require.Zero(t, time.Since(began))
					sum := sha256.Sum256([]byte("token"))
					signature, err := rsa.SignPKCS1v15(rand.Reader, rsaPrivate, crypto.SHA256, sum[:])
					require.NoError(t, err)
					require.NoError(t, k.Verify("RS256", []byte("token"), signature))

					time.Sleep(20 * time.Hour)
					_, err = cache.Key(t.Context(), "r", "RS256")
					require.NoError(t, err)
					require.Positive(t, cache.Status().Failures)
				})
			})
		}
	}
}

func TestTheAgeOfASnapshotCountsAgainstMaxStale(t *testing.T) {
	for _, fraction := range []time.Duration{0, 1, time.Second - 1} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(fraction)
			i := newIssuer(t)
			i.publish(keyA)
			saved, fetched := save(t, i), time.Now()
			i.serve("/keys", status(http.StatusInternalServerError))
			time.Sleep(5 * time.Hour)
			again := save(t, i, from(saved))
			time.Sleep(5 * time.Hour)
			cache := i.cache(t, from(again))

			// It says the time in whole seconds, which makes it older, not younger.
			dies := fetched.Add(-fraction).Add(24 * time.Hour)
			time.Sleep(time.Until(dies) - 1)
			requireKey(t, cache, "a")
			time.Sleep(time.Nanosecond)
			requireUnavailableKey(t, cache, "a")
		})
	}
}

func TestASnapshotIsAsOldAsTheLatestAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.serve("/keys", validated(`"v1"`, "", set(keyA)))
		cache := i.ready(t)
		time.Sleep(20 * time.Hour)
		require.NoError(t, cache.Refresh(t.Context())) // a 304
		saved, fetched := cache.Snapshot(), time.Now()
		i.serve("/keys", nil)
		time.Sleep(20 * time.Hour)
		restarted := i.cache(t, from(saved))
		require.Equal(t, fetched.Unix(), restarted.Status().Fetched.Unix())
		requireKey(t, restarted, "a")
	})
}

// changed is a snapshot with some members replaced, or taken away if nil.
func changed(t *testing.T, snapshot []byte, members map[string]any) []byte {
	t.Helper()
	var all map[string]any
	require.NoError(t, json.Unmarshal(snapshot, &all))
	for name, value := range members {
		require.Contains(t, all, name)
		all[name] = value
		if value == nil {
			delete(all, name)
		}
	}
	text, err := json.Marshal(all)
	require.NoError(t, err)
	return text
}

func TestASnapshotThatDoesNotFitIsLoggedAndNotUsed(t *testing.T) {
	const day = 24 * 60 * 60
	member := func(name string, value any) func(*testing.T, []byte) []byte {
		return func(t *testing.T, s []byte) []byte { return changed(t, s, map[string]any{name: value}) }
	}
	at := func(seconds int64) func(*testing.T, []byte) []byte {
		return func(t *testing.T, s []byte) []byte {
			return changed(t, s, map[string]any{"fetched": time.Now().Unix() + seconds})
		}
	}
	literally := func(old, text string) func(*testing.T, []byte) []byte {
		return func(t *testing.T, s []byte) []byte {
			require.Equal(t, 1, bytes.Count(s, []byte(old)))
			return bytes.Replace(s, []byte(old), []byte(text), 1)
		}
	}
	for name, spoil := range map[string]func(*testing.T, []byte) []byte{
		"another issuer's":      member("issuer", "https://other.example"),
		"of a similar issuer":   member("issuer", issuerID+"/"),
		"of no issuer":          member("issuer", nil),
		"issuer in an array":    member("issuer", []string{issuerID}),
		"of a URL":              literally(`"fetched"`, `"url":"`+keysURL+`","fetched"`),
		"of a URL alone":        literally(`"issuer":"`+issuerID+`"`, `"url":"`+keysURL+`"`),
		"issuer twice":          literally(`"issuer"`, `"issuer":"https://other.example","issuer"`),
		"of the future":         at(1),
		"of a day to come":      at(day),
		"just too old":          at(-day),
		"of last year":          at(-365 * day),
		"of no time":            member("fetched", nil),
		"time as a string":      member("fetched", "946684800"),
		"time with a fraction":  member("fetched", 946684800.5),
		"time in scientific":    literally(`"fetched":946684800`, `"fetched":9.466848e8`),
		"a time beyond numbers": literally(`"fetched":946684800`, `"fetched":99999999999999999999`),
		"the last of times":     literally(`"fetched":946684800`, `"fetched":9223372036854775807`),
		"the first of times":    literally(`"fetched":946684800`, `"fetched":-9223372036854775808`),
		"before 1970":           literally(`"fetched":946684800`, `"fetched":-1`),
		"fetched twice":         literally(`"fetched"`, `"fetched":1,"fetched"`),
		"without keys":          member("keys", nil),
		"no keys":               member("keys", []any{}),
		"a secret":              member("keys", []any{jwk{"kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "HS256"}}),
		"a private key":         member("keys", []any{keyA.with(jwk{"d": "c2VjcmV0"})}),
		"too many keys":         member("keys", slices.Repeat([]any{keyA}, 101)),
		"cut":                   func(_ *testing.T, s []byte) []byte { return s[:len(s)-1] },
		"empty object":          func(*testing.T, []byte) []byte { return []byte("{}") },
		"zeros":                 func(_ *testing.T, s []byte) []byte { return make([]byte, len(s)) },
		"too large":             func(_ *testing.T, s []byte) []byte { return append(s, bytes.Repeat([]byte(" "), 256<<10)...) },
		"more than one":         func(_ *testing.T, s []byte) []byte { return append(slices.Clone(s), s...) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log lines
				i := newIssuer(t)
				i.serve(openID, metadata(issuerID, keysURL))
				i.publish(keyA)
				saved := save(t, i, byDiscovery)
				i.serve("/keys", slow(time.Second, text(set(keyB))))
				cache := i.cache(t, byDiscovery, from(spoil(t, saved)), func(c *jwks.Config) {
					c.Logger = slog.New(slog.NewTextHandler(&log, nil))
				})
				require.Empty(t, cache.Status().Keys)
				require.Nil(t, cache.Snapshot())
				told := log.take()
				require.Len(t, told, 1)
				require.Contains(t, told[0], `level=WARN msg="jwks: the snapshot is not used" issuer=https://issuer.example error=`)

				requireKey(t, cache, "b") // as without any
				time.Sleep(time.Hour)
				require.NotContains(t, strings.Join(log.take(), ""), "snapshot")
			})
		})
	}
}

func TestASnapshotOfAURLServesThatURLOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.publish(keyA)
		saved := save(t, i)
		i.serve("/keys", hang)
		i.serve(openID, hang)
		requireKey(t, i.cache(t, from(saved)), "a")
		requireUnavailableKey(t, i.cache(t, from(changed(t, saved, map[string]any{"url": nil}))), "a")
		for name, change := range map[string]func(*jwks.Config){
			"another URL": func(c *jwks.Config) { c.URL += "?tenant=b" },
			"an issuer":   byDiscovery,
		} {
			cache := i.cache(t, from(saved), change)
			require.Empty(t, cache.Status().Keys, name)
			requireUnavailableKey(t, cache, "a")
		}
	})
}
