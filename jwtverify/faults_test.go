package jwtverify_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

// The nine faults that internal/bench/faults plays to our peers too, over real
// sockets and in real time. Nothing here depends on how fast the machine is: what
// has to happen is waited for, up to slack, and what must not is counted.

const (
	soon  = 100 * time.Millisecond // Refresh or Cooldown, where it should act during a test
	far   = time.Hour              // the same, where it should not
	slack = time.Minute
)

// faulty is a Verifier of an issuer that will be made to fail.
type faulty struct {
	*jwttest.Issuer
	v *jwtverify.Verifier
}

func newFaulty(t *testing.T, refresh, cooldown time.Duration) *faulty {
	f := &faulty{Issuer: jwttest.NewIssuer(signerAudience)}
	t.Cleanup(f.Close)
	f.open(t, jwks.Config{Refresh: refresh, Cooldown: cooldown})
	f.ready(t)
	return f
}

func (f *faulty) open(t *testing.T, keys jwks.Config) {
	config := f.Config()
	config.JWKS, config.Logger = keys, slog.New(slog.DiscardHandler)
	v, err := jwtverify.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	f.v = v
}

func (f *faulty) ready(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), slack)
	defer cancel()
	require.NoError(t, f.v.Ready(ctx))
}

// forged is a token that lacks nothing but a key that the issuer published.
func (f *faulty) forged(kid string) string {
	return f.Mint(jwttest.Header{"kid": kid}, nil)
}

// until shows a token again and again, to see how it fares until something has
// happened.
func (f *faulty) until(t *testing.T, token string, happened func() bool, each func(error)) {
	t.Helper()
	for limit := time.Now().Add(slack); !happened(); time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(limit), "it does not happen")
		_, err := f.v.Verify(t.Context(), token)
		each(err)
	}
}

// accepted waits until a token is accepted. Until then it must not be called
// invalid, unless that is allowed.
func (f *faulty) accepted(t *testing.T, token string, allowed ...jwtverify.Reason) {
	t.Helper()
	done := false
	f.until(t, token, func() bool { return done }, func(err error) {
		if done = err == nil; !done {
			require.Contains(t, append(allowed, jwtverify.ErrUnavailable), jwtverify.ReasonOf(err))
		}
	})
}

// refused waits until a token is refused for that reason. A slow fetch may make
// it unavailable before.
func (f *faulty) refused(t *testing.T, token string, reason jwtverify.Reason) {
	t.Helper()
	done := false
	f.until(t, token, func() bool { return done }, func(err error) {
		if done = jwtverify.ReasonOf(err) == reason; !done {
			require.ErrorIs(t, err, jwtverify.ErrUnavailable)
		}
	})
}

// failures counts fetches that failed.
func (f *faulty) failures(n uint64) func() bool {
	return func() bool { return f.v.Status().Keys.Failures >= n }
}

func TestS1AStormOfUnknownKidsCausesTwoFetchesAndDelaysNoKnownKey(t *testing.T) {
	f := newFaulty(t, far, far)
	good := f.Token(nil)
	before := f.Requests()

	// While the first of them waits for its fetch, known keys are served.
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	f.Respond(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
		panic(http.ErrAbortHandler)
	})
	var work sync.WaitGroup
	for n := range 50 {
		token := f.forged(fmt.Sprintf("first-%d", n))
		work.Go(func() { _, _ = f.v.Verify(t.Context(), token) })
	}
	<-arrived
	for range 100 {
		requireAccepted(t, f.v, good)
	}
	close(release) // those who waited would not have been answered before
	work.Wait()

	f.Respond(nil)
	var taken atomic.Int64
	for n := range 8 {
		work.Go(func() {
			for m := range 250 {
				if _, err := f.v.Verify(t.Context(), f.forged(fmt.Sprintf("kid-%d-%d", n, m))); err == nil {
					taken.Add(1)
				}
			}
		})
	}
	for range 100 {
		requireAccepted(t, f.v, good)
	}
	work.Wait()
	require.Zero(t, taken.Load())
	require.LessOrEqual(t, f.Requests()-before, 2)
}

func TestS1AStormOfUnknownKidsKeepsNoRotationOut(t *testing.T) {
	f := newFaulty(t, far, soon)
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	for n := range 4 {
		work.Go(func() {
			for m := 0; ctx.Err() == nil; m++ {
				_, _ = f.v.Verify(ctx, f.forged(fmt.Sprintf("kid-%d-%d", n, m)))
			}
		})
	}
	for range 3 {
		f.Rotate("ES256")
		// Strangers take the bucket's every token, but what they fetch is the new key.
		f.accepted(t, f.Token(nil), jwtverify.ErrUnknownKey)
	}
}

func TestS2TheFirstTokenOfEachOfTwoRotationsIsAcceptedAfterOneFetch(t *testing.T) {
	f := newFaulty(t, far, far)
	old := f.Token(nil)
	for range 2 {
		f.Rotate("ES256")
		f.accepted(t, f.Token(nil))
	}
	requireAccepted(t, f.v, old)
	require.Equal(t, 3, f.Requests())
}

func TestS3AnOutageRefusesNoKnownKeyAndCallsNoTokenInvalid(t *testing.T) {
	f := newFaulty(t, soon, time.Millisecond)
	good := f.Token(nil)
	f.Respond(jwttest.Down)
	f.until(t, good, f.failures(5), func(err error) { require.NoError(t, err) })

	f.Rotate("ES256") // at its token endpoint the issuer is up
	unknown := f.Token(nil)
	_, err := f.v.Verify(t.Context(), unknown)
	require.ErrorIs(t, err, jwtverify.ErrUnavailable)
	require.NotErrorIs(t, err, jwtverify.ErrInvalidToken)
	requireAccepted(t, f.v, good)

	f.Respond(nil)
	f.accepted(t, unknown)
}

func TestS4AHangingIssuerDelaysNoKnownKey(t *testing.T) {
	f := newFaulty(t, soon, far)
	good := f.Token(nil)
	asked := make(chan struct{}, 100)
	f.Respond(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		jwttest.Hang(w, r)
	})
	<-asked // and not answered
	began := time.Now()
	for range 300 {
		requireAccepted(t, f.v, good)
	}
	// Whoever waits for the hanging fetch needs two seconds for each of them.
	require.Less(t, time.Since(began), slack)
}

func TestS5AnAnswerThatIsNoKeySetReplacesNothing(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"HTML":       jwttest.Garbage,
		"empty set":  says(`{"keys":[]}`),
		"no keys":    says(`{"issuer":"https://issuer.example.com"}`),
		"truncated":  says(`{"keys":[{"kty":"EC","crv":"P-256",`),
		"other keys": says(`{"keys":[{"kty":"oct","kid":"key-1","k":"c2VjcmV0"}]}`),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFaulty(t, soon, far)
			good := f.Token(nil)
			f.Respond(answer)
			f.until(t, good, f.failures(3), func(err error) { require.NoError(t, err) })
			require.Len(t, f.v.Status().Keys.Keys, 1)
		})
	}
}

func TestS6AStartInAnOutageWaitsForItsEnd(t *testing.T) {
	f := &faulty{Issuer: jwttest.NewIssuer(signerAudience)}
	defer f.Close()
	f.Respond(jwttest.Down)
	f.open(t, jwks.Config{Refresh: soon})
	good := f.Token(nil)
	f.until(t, good, f.failures(3), func(err error) {
		require.ErrorIs(t, err, jwtverify.ErrUnavailable)
		require.NotErrorIs(t, err, jwtverify.ErrInvalidToken)
	})
	f.Respond(nil)
	f.ready(t)
	requireAccepted(t, f.v, good)
}

func TestS7AWithdrawnKeyIsDeadAfterTheNextRefresh(t *testing.T) {
	f := newFaulty(t, soon, far)
	old := f.Token(nil)
	requireAccepted(t, f.v, old)
	kid := f.Rotate("ES256")
	f.accepted(t, f.Token(nil))
	f.Withdraw("key-1")
	dead := false
	f.until(t, old, func() bool { return dead }, func(err error) { dead = err != nil })
	f.refused(t, old, jwtverify.ErrUnknownKey)
	requireAccepted(t, f.v, f.Mint(jwttest.Header{"kid": kid}, nil))
}

func TestS8AnOversizedAnswerIsNotReadToItsEnd(t *testing.T) {
	f := newFaulty(t, soon, far)
	good := f.Token(nil)
	const end = 200 << 20
	var most atomic.Int64 // that the client let us send
	set := f.JWKS()
	f.Respond(func(w http.ResponseWriter, _ *http.Request) {
		var sent int64
		padding := strings.Repeat(" ", 64<<10)
		for sent < end {
			n, err := io.WriteString(w, padding)
			sent += int64(n)
			if err != nil {
				break
			}
		}
		most.Store(max(most.Load(), sent))
		_, _ = w.Write(set)
	})
	f.until(t, good, f.failures(3), func(err error) { require.NoError(t, err) })
	f.Respond(nil)
	// What the sockets hold is sent all the same.
	require.Less(t, most.Load(), int64(end/4))
}

func TestS9AnUnfitKeyServesNoTokenAndItsNeighbourDoes(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	for name, change := range map[string]map[string]any{
		"for encryption":      {"use": "enc"},
		"of another alg":      {"alg": "RS512"},
		"key_ops without it":  {"use": nil, "key_ops": []string{"encrypt"}},
		"1024 bits":           {"n": encodeSegment(string(weak.N.Bytes()))},
		"exponent 1":          {"e": "AQ"},
		"modulus not base64":  {"n": "%%%"},
		"with a private part": {"d": encodeSegment(string(big.NewInt(5).Bytes()))},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := jwttest.NewIssuer(signerAudience)
			defer issuer.Close()
			good := issuer.Token(nil)
			kid := issuer.Rotate("RS256")
			bad := issuer.Token(nil)
			if name == "1024 bits" {
				bad = signedBy(t, weak, issuer, kid)
			}
			var set struct {
				Keys []map[string]any `json:"keys"`
			}
			require.NoError(t, json.Unmarshal(issuer.JWKS(), &set))
			require.Len(t, set.Keys, 2)
			require.Equal(t, kid, set.Keys[1]["kid"])
			maps.Copy(set.Keys[1], change)
			issuer.Respond(says(marshal(t, set)))

			f := &faulty{Issuer: issuer}
			f.open(t, jwks.Config{URL: issuer.URL + "/jwks.json"})
			f.ready(t)
			f.refused(t, bad, jwtverify.ErrUnknownKey)
			requireAccepted(t, f.v, good)
		})
	}
}

// signedBy is a good token of an issuer's but for its key.
func signedBy(t *testing.T, key *rsa.PrivateKey, issuer *jwttest.Issuer, kid string) string {
	now := time.Now()
	input := encodeSegment(marshal(t, map[string]any{"alg": "RS256", "kid": kid, "typ": "JWT"})) + "." +
		encodeSegment(marshal(t, map[string]any{"iss": issuer.URL, "aud": signerAudience, "sub": "alice", "exp": now.Add(time.Hour).Unix()}))
	digest := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	require.NoError(t, err)
	return input + "." + encodeSegment(string(signature))
}

// says answers with that text.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, text)
	}
}
