package jwttest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

const audience = "https://api.example.com"

// start returns an issuer and a Verifier that already holds its keys.
func start(t *testing.T) (*jwttest.Issuer, *jwtverify.Verifier) {
	t.Helper()
	issuer := jwttest.NewIssuer(audience)
	t.Cleanup(issuer.Close)
	v := newVerifier(t, issuer)
	require.NoError(t, v.Ready(t.Context()))
	return issuer, v
}

func newVerifier(t *testing.T, issuer *jwttest.Issuer) *jwtverify.Verifier {
	t.Helper()
	v, err := jwtverify.New(issuer.Config())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	return v
}

func reason(v *jwtverify.Verifier, token string) jwtverify.Reason {
	_, err := v.Verify(context.Background(), token)
	return jwtverify.ReasonOf(err)
}

func TestTokensOfEveryAlgorithmVerify(t *testing.T) {
	for _, alg := range []string{
		"RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
		"ES256", "ES384", "ES512", "EdDSA", "Ed25519",
	} {
		t.Run(alg, func(t *testing.T) {
			issuer := jwttest.NewIssuer(audience)
			defer issuer.Close()
			kid := issuer.Rotate(alg)

			tok, err := newVerifier(t, issuer).Verify(t.Context(), issuer.Token(nil))
			require.NoError(t, err)
			require.Equal(t, jwtverify.Header{Algorithm: alg, KeyID: kid, Type: "at+jwt"}, tok.Header)
		})
	}
}

func TestTokenHasTheShapeOfRFC9068(t *testing.T) {
	issuer, v := start(t)
	tok, err := v.Verify(t.Context(), issuer.Token(nil))
	require.NoError(t, err)
	require.Equal(t, issuer.URL, tok.Issuer)
	require.Equal(t, []string{audience}, tok.Audience)
	require.Equal(t, "test-subject", tok.Subject)
	require.Equal(t, "test-client", tok.ClientID)
	require.NotEmpty(t, tok.ID)
	require.Equal(t, 5*time.Minute, tok.Expiry.Sub(tok.IssuedAt))

	again, err := v.Verify(t.Context(), issuer.Token(nil))
	require.NoError(t, err)
	require.NotEqual(t, tok.ID, again.ID, "every token has a jti of its own")
}

func TestClaimsOverrideAndNilRemoves(t *testing.T) {
	issuer, v := start(t)
	tok, err := v.Verify(t.Context(), issuer.Token(jwttest.Claims{
		"sub": "alice", "scope": "read:orders write:orders", "client_id": nil,
	}))
	require.NoError(t, err)
	require.Equal(t, "alice", tok.Subject)
	require.Equal(t, []string{"read:orders", "write:orders"}, tok.Scopes)
	require.Empty(t, tok.ClientID)

	require.Equal(t, jwtverify.ErrClaims, reason(v, issuer.Token(jwttest.Claims{"exp": nil})))
}

func TestForgedHeadersAreRefused(t *testing.T) {
	issuer, v := start(t)
	for _, forgery := range []struct {
		name   string
		header jwttest.Header
		reason jwtverify.Reason
	}{
		{"alg none", jwttest.Header{"alg": "none"}, jwtverify.ErrAlgorithm},
		{"an alg that the key does not have", jwttest.Header{"alg": "ES384"}, jwtverify.ErrUnknownKey},
		{"a kid nobody published", jwttest.Header{"kid": "stranger"}, jwtverify.ErrUnknownKey},
		{"an ID token's typ", jwttest.Header{"typ": "id+jwt"}, jwtverify.ErrType},
		{"an unknown extension", jwttest.Header{"crit": []string{"x"}, "x": true}, jwtverify.ErrMalformed},
	} {
		t.Run(forgery.name, func(t *testing.T) {
			require.Equal(t, forgery.reason, reason(v, issuer.Mint(forgery.header, nil)))
		})
	}
}

func TestAlgNoneHasAnEmptySignature(t *testing.T) {
	issuer := jwttest.NewIssuer(audience)
	defer issuer.Close()
	require.True(t, strings.HasSuffix(issuer.Mint(jwttest.Header{"alg": "none"}, nil), "."))
}

func TestMintSignsWithTheKeyThatTheHeaderNames(t *testing.T) {
	issuer := jwttest.NewIssuer(audience)
	defer issuer.Close()
	other := issuer.AddKey("EdDSA")

	tok, err := newVerifier(t, issuer).Verify(t.Context(), issuer.Mint(jwttest.Header{"kid": other}, nil))
	require.NoError(t, err)
	require.Equal(t, other, tok.Header.KeyID)
	require.Equal(t, "EdDSA", tok.Header.Algorithm)
}

func TestAnAddedKeySignsOnlyOnceUsed(t *testing.T) {
	issuer := jwttest.NewIssuer(audience)
	defer issuer.Close()
	added := issuer.AddKey("ES256")
	v := newVerifier(t, issuer)

	before, err := v.Verify(t.Context(), issuer.Token(nil))
	require.NoError(t, err)
	require.NotEqual(t, added, before.Header.KeyID)

	issuer.Use(added)
	after, err := v.Verify(t.Context(), issuer.Token(nil))
	require.NoError(t, err)
	require.Equal(t, added, after.Header.KeyID)
}

func TestARotatedKeyIsFetchedOnceAndTheOldOneStaysGood(t *testing.T) {
	issuer, v := start(t)
	old, fetched := issuer.Token(nil), issuer.Requests()

	kid := issuer.Rotate("ES256")
	tok, err := v.Verify(t.Context(), issuer.Token(nil))
	require.NoError(t, err)
	require.Equal(t, kid, tok.Header.KeyID)
	require.Equal(t, fetched+1, issuer.Requests())

	_, err = v.Verify(t.Context(), old)
	require.NoError(t, err)
}

func TestAWithdrawnKeyIsUnknownAfterARefresh(t *testing.T) {
	issuer := jwttest.NewIssuer(audience)
	defer issuer.Close()
	leaked := issuer.Rotate("ES256")
	v := newVerifier(t, issuer)
	_, err := v.Verify(t.Context(), issuer.Token(nil))
	require.NoError(t, err)

	issuer.Withdraw(leaked)
	require.NoError(t, v.Refresh(t.Context()))
	require.Equal(t, jwtverify.ErrUnknownKey, reason(v, issuer.Token(nil)))
}

func TestJWKSIsThePublishedSet(t *testing.T) {
	issuer := jwttest.NewIssuer(audience)
	defer issuer.Close()
	first, second := "key-1", issuer.AddKey("PS256")
	issuer.Withdraw(first)

	set, err := jwks.Parse(issuer.JWKS())
	require.NoError(t, err)
	_, err = set.Key(t.Context(), second, "PS256")
	require.NoError(t, err)
	_, err = set.Key(t.Context(), first, "ES256")
	require.ErrorIs(t, err, jwks.ErrKeyNotFound)
}

func TestNoPrivateMemberIsPublished(t *testing.T) {
	issuer := jwttest.NewIssuer(audience)
	defer issuer.Close()
	issuer.AddKey("RS256")
	issuer.AddKey("EdDSA")

	var set struct{ Keys []map[string]any }
	require.NoError(t, json.Unmarshal(issuer.JWKS(), &set))
	require.Len(t, set.Keys, 3)
	for _, member := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
		for _, k := range set.Keys {
			require.NotContains(t, k, member)
		}
	}
}

func TestBothMetadataDocumentsNameTheIssuer(t *testing.T) {
	issuer := jwttest.NewIssuer(audience)
	defer issuer.Close()
	for _, name := range []string{"openid-configuration", "oauth-authorization-server"} {
		t.Run(name, func(t *testing.T) {
			status, body := get(t, issuer.URL+"/.well-known/"+name)
			require.Equal(t, http.StatusOK, status)
			var metadata struct {
				Issuer  string
				JWKSURI string `json:"jwks_uri"`
			}
			require.NoError(t, json.Unmarshal(body, &metadata))
			require.Equal(t, issuer.URL, metadata.Issuer)
			_, served := get(t, metadata.JWKSURI)
			require.Equal(t, issuer.JWKS(), served)
		})
	}
}

func TestRequestsCountsThoseForKeysWhateverTheAnswer(t *testing.T) {
	issuer := jwttest.NewIssuer(audience)
	defer issuer.Close()
	get(t, issuer.URL+"/.well-known/openid-configuration")
	require.Equal(t, 0, issuer.Requests())
	get(t, issuer.URL+"/jwks.json")
	issuer.Respond(jwttest.Down)
	get(t, issuer.URL+"/jwks.json")
	require.Equal(t, 2, issuer.Requests())
}

func TestDownIs503UntilHealed(t *testing.T) {
	issuer := jwttest.NewIssuer(audience)
	defer issuer.Close()
	issuer.Respond(jwttest.Down)
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/jwks.json"} {
		status, _ := get(t, issuer.URL+path)
		require.Equal(t, http.StatusServiceUnavailable, status, path)
	}
	issuer.Respond(nil)
	_, body := get(t, issuer.URL+"/jwks.json")
	require.Equal(t, issuer.JWKS(), body)
}

func TestAFaultyIssuerMakesTokensUnverifiableAndNotInvalid(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{"down": jwttest.Down, "garbage": jwttest.Garbage} {
		t.Run(name, func(t *testing.T) {
			issuer := jwttest.NewIssuer(audience)
			defer issuer.Close()
			issuer.Respond(answer)
			v := newVerifier(t, issuer)
			require.Equal(t, jwtverify.ErrUnavailable, reason(v, issuer.Token(nil)))

			issuer.Respond(nil)
			require.NoError(t, v.Refresh(t.Context()))
			require.Empty(t, reason(v, issuer.Token(nil)))
		})
	}
}

func TestAnOutageDoesNotTouchKeysAlreadyKnown(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{"down": jwttest.Down, "garbage": jwttest.Garbage} {
		t.Run(name, func(t *testing.T) {
			issuer, v := start(t)
			issuer.Respond(answer)
			require.Error(t, v.Refresh(t.Context()))
			require.Empty(t, reason(v, issuer.Token(nil)))
		})
	}
}

func TestGarbageIsNoJSONInASuccessfulAnswer(t *testing.T) {
	issuer := jwttest.NewIssuer(audience)
	defer issuer.Close()
	issuer.Respond(jwttest.Garbage)
	status, body := get(t, issuer.URL+"/jwks.json")
	require.Equal(t, http.StatusOK, status)
	require.NotEmpty(t, body)
	require.False(t, json.Valid(body))
}

func TestHangAnswersNothingUntilTheCallerGivesUp(t *testing.T) {
	issuer := jwttest.NewIssuer(audience)
	defer issuer.Close()
	arrived := make(chan struct{}, 2) // a client may try again
	issuer.Respond(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		jwttest.Hang(w, r)
	})

	ctx, giveUp := context.WithCancel(t.Context())
	go func() {
		<-arrived
		giveUp()
	}()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, issuer.URL+"/jwks.json", nil)
	require.NoError(t, err)
	_, err = http.DefaultClient.Do(r)
	require.ErrorIs(t, err, context.Canceled)
}

func TestCloseEndsARequestThatHangs(t *testing.T) {
	issuer := jwttest.NewIssuer(audience)
	arrived := make(chan struct{}, 2) // a client may try again
	issuer.Respond(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		jwttest.Hang(w, r)
	})
	failed := make(chan error)
	go func() {
		res, err := http.Get(issuer.URL + "/jwks.json")
		if err == nil {
			res.Body.Close()
		}
		failed <- err
	}()

	<-arrived
	issuer.Close()
	issuer.Close()
	require.Error(t, <-failed, "the connection breaks without an answer")
}

func TestAClosedIssuerRefusesConnectionsAndStillSigns(t *testing.T) {
	issuer, v := start(t)
	issuer.Close()
	_, err := http.Get(issuer.URL + "/jwks.json")
	require.Error(t, err)
	require.Empty(t, reason(v, issuer.Token(nil)))
}

func TestMistakesOfTheTestPanic(t *testing.T) {
	issuer := jwttest.NewIssuer(audience)
	defer issuer.Close()
	require.PanicsWithValue(t, "jwttest: cannot sign by the algorithm HS256", func() { issuer.AddKey("HS256") })
	require.PanicsWithValue(t, `jwttest: this issuer has made no key "stranger"`, func() { issuer.Use("stranger") })
	require.PanicsWithValue(t, `jwttest: this issuer has made no key "stranger"`, func() { issuer.Withdraw("stranger") })
	require.Panics(t, func() { issuer.Token(jwttest.Claims{"sub": func() {}}) })
	issuer.Token(nil) // a panic must not leave the lock held
}

func TestAnIssuerServesManyGoroutines(t *testing.T) {
	issuer, v := start(t)
	first := issuer.Mint(jwttest.Header{"kid": "key-1"}, nil)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			kid := issuer.Rotate("ES256")
			issuer.Respond(jwttest.Down)
			issuer.Respond(nil)
			issuer.Withdraw(kid)
			if r := reason(v, first); r != "" {
				t.Errorf("a token of a key that is still published was refused: %s", r)
			}
			issuer.Token(nil)
			issuer.JWKS()
			get(t, issuer.URL+"/jwks.json")
		})
	}
	all.Wait()
	require.GreaterOrEqual(t, issuer.Requests(), 8)
}

func get(t *testing.T, url string) (status int, body []byte) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Error(err) // not FailNow: some callers are goroutines
		return 0, nil
	}
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return res.StatusCode, body
}
