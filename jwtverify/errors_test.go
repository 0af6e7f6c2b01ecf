package jwtverify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

var reasons = []jwtverify.Reason{
	jwtverify.ErrMalformed, jwtverify.ErrType, jwtverify.ErrAlgorithm, jwtverify.ErrUnknownKey, jwtverify.ErrSignature,
	jwtverify.ErrIssuer, jwtverify.ErrAudience, jwtverify.ErrExpired, jwtverify.ErrNotYetValid, jwtverify.ErrClaims,
	jwtverify.ErrRevoked, jwtverify.ErrInactive, jwtverify.ErrRejected, jwtverify.ErrUnavailable,
}

const errTenant jwtverify.Reason = "tenant"

func TestEveryReasonButUnavailableIsAnInvalidToken(t *testing.T) {
	for _, r := range append(reasons, errTenant) {
		for _, err := range []error{r, &jwtverify.Error{Reason: r, Detail: "d"}, fmt.Errorf("wrapped: %w", &jwtverify.Error{Reason: r})} {
			require.Equal(t, r != jwtverify.ErrUnavailable, errors.Is(err, jwtverify.ErrInvalidToken), "%v", err)
			require.Equal(t, r, jwtverify.ReasonOf(err))
			for _, other := range reasons {
				require.Equal(t, other == r, errors.Is(err, other), "%v is %v", err, other)
			}
		}
	}
	require.Empty(t, jwtverify.ReasonOf(nil))
	require.Empty(t, jwtverify.ReasonOf(errors.New("another")))
	require.Empty(t, jwtverify.ReasonOf((*jwtverify.Error)(nil)))
}

// source is a KeySource that says what a test wants.
type source struct {
	key *jwks.Key
	err error
}

func (s source) Key(context.Context, string, string) (*jwks.Key, error) { return s.key, s.err }

type later struct{ error }

func (later) RetryAfter() time.Duration { return 7 * time.Second }

func TestOnlyASourceThatKnowsMakesAnUnknownKey(t *testing.T) {
	s := newSigner(t)
	token := s.sign(t, `{"alg":"ES256","kid":"k"}`, s.claims(t, nil))
	for name, c := range map[string]struct {
		source source
		reason jwtverify.Reason
		causes []error
		retry  time.Duration
	}{
		"not found":              {source{err: jwks.ErrKeyNotFound}, jwtverify.ErrUnknownKey, nil, 0},
		"not found, wrapped":     {source{err: fmt.Errorf("w: %w", jwks.ErrKeyNotFound)}, jwtverify.ErrUnknownKey, nil, 0},
		"unavailable":            {source{err: jwks.ErrUnavailable}, jwtverify.ErrUnavailable, []error{jwks.ErrUnavailable}, 0},
		"unavailable for a time": {source{err: later{jwks.ErrUnavailable}}, jwtverify.ErrUnavailable, nil, 7 * time.Second},
		"both":                   {source{err: errors.Join(jwks.ErrKeyNotFound, jwks.ErrUnavailable)}, jwtverify.ErrUnavailable, []error{jwks.ErrUnavailable}, 0},
		"cancelled":              {source{err: context.Canceled}, jwtverify.ErrUnavailable, []error{context.Canceled}, 0},
		"too late":               {source{err: context.DeadlineExceeded}, jwtverify.ErrUnavailable, []error{context.DeadlineExceeded}, 0},
		"anything else":          {source{err: errors.New("boom")}, jwtverify.ErrUnavailable, nil, 0},
		"a reason":               {source{err: jwtverify.ErrExpired}, jwtverify.ErrUnavailable, nil, 0},
		"nothing":                {source{}, jwtverify.ErrUnavailable, nil, 0},
		"a zero key":             {source{key: new(jwks.Key)}, jwtverify.ErrSignature, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := verifierWith(t, c.source).Verify(t.Context(), token)
			require.Nil(t, got)
			require.ErrorIs(t, err, c.reason)
			require.Equal(t, c.reason, jwtverify.ReasonOf(err))
			require.NotErrorIs(t, err, jwks.ErrKeyNotFound, "a cause is text only")
			require.NotErrorIs(t, err, jwtverify.ErrExpired)
			for _, cause := range c.causes {
				require.ErrorIs(t, err, cause)
			}
			var e *jwtverify.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.retry, e.RetryAfter)
		})
	}
}

func TestAChecksReasonIsKept(t *testing.T) {
	s := newSigner(t)
	token := s.sign(t, `{"alg":"ES256"}`, s.claims(t, nil))
	for name, c := range map[string]struct {
		err    error
		reason jwtverify.Reason
	}{
		"passes":              {nil, ""},
		"a reason":            {jwtverify.ErrRevoked, jwtverify.ErrRevoked},
		"a reason, wrapped":   {fmt.Errorf("jti: %w", jwtverify.ErrRevoked), jwtverify.ErrRevoked},
		"a reason of its own": {errTenant, errTenant},
		"an Error":            {&jwtverify.Error{Reason: jwtverify.ErrUnavailable}, jwtverify.ErrUnavailable},
		"a context's":         {fmt.Errorf("redis: %w", context.DeadlineExceeded), jwtverify.ErrUnavailable},
		"anything else":       {errors.New("no"), jwtverify.ErrRejected},
		"a nil Error":         {(*jwtverify.Error)(nil), jwtverify.ErrRejected},
		"a nil Error beside":  {errors.Join((*jwtverify.Error)(nil), jwtverify.ErrRevoked), jwtverify.ErrRevoked},
		"an Error of nothing": {&jwtverify.Error{}, jwtverify.ErrRejected},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			v := s.verifierOf(t, func(cfg *jwtverify.Config) {
				cfg.Checks = []func(context.Context, *jwtverify.Token) error{
					func(_ context.Context, tok *jwtverify.Token) error {
						calls++
						require.Equal(t, "alice", tok.Subject)
						return nil
					},
					func(context.Context, *jwtverify.Token) error { return c.err },
				}
			})
			for range 2 {
				got, err := v.Verify(t.Context(), token)
				require.Equal(t, c.reason, jwtverify.ReasonOf(err))
				require.Equal(t, c.err == nil, got != nil)
			}
			require.Equal(t, 2, calls, "asked every time")
		})
	}
}

func TestChecksSeeOnlyTokensThatPassedAllElse(t *testing.T) {
	s, stranger := newSigner(t), newSigner(t)
	v := s.verifierOf(t, func(c *jwtverify.Config) {
		c.Checks = []func(context.Context, *jwtverify.Token) error{func(context.Context, *jwtverify.Token) error { panic("asked too early") }}
	})
	_, err := v.Verify(t.Context(), stranger.sign(t, `{"alg":"ES256"}`, s.claims(t, nil)))
	require.ErrorIs(t, err, jwtverify.ErrSignature)
	_, err = v.Verify(t.Context(), s.sign(t, `{"alg":"ES256"}`, s.claims(t, map[string]any{"exp": 1})))
	require.ErrorIs(t, err, jwtverify.ErrExpired)
}

func TestAfterCloseNothingIsJudged(t *testing.T) {
	s := newSigner(t)
	token := s.sign(t, `{"alg":"ES256"}`, s.claims(t, nil))
	set := s.set(t)
	v := verifierWith(t, set)
	_, err := v.Verify(t.Context(), token)
	require.NoError(t, err)
	require.NoError(t, v.Ready(t.Context()))
	require.NoError(t, v.Refresh(t.Context()))
	require.NoError(t, v.Close())
	require.NoError(t, v.Close())
	_, err = v.Verify(t.Context(), token)
	for _, err := range []error{err, v.Ready(t.Context()), v.Refresh(t.Context())} {
		require.ErrorIs(t, err, jwtverify.ErrUnavailable)
		require.NotErrorIs(t, err, jwtverify.ErrInvalidToken)
	}
	_, err = set.Key(t.Context(), "", "ES256")
	require.NoError(t, err, "the caller's own keys stay open")
}

func TestAVerifierThatNewDidNotMakeJudgesNothing(t *testing.T) {
	for _, v := range []*jwtverify.Verifier{nil, {}} {
		_, err := v.Verify(t.Context(), "a.b.c")
		for _, err := range []error{err, v.Ready(t.Context()), v.Refresh(t.Context())} {
			require.ErrorIs(t, err, jwtverify.ErrUnavailable)
		}
		require.Zero(t, v.Status())
		require.NoError(t, v.Close())
	}
}

func TestAClosedKeySourceIsAnOutage(t *testing.T) {
	s := newSigner(t)
	cache, err := jwks.New(jwks.Config{URL: "http://127.0.0.1:1/jwks", Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	v := verifierWith(t, cache)
	require.NoError(t, cache.Close())
	_, err = v.Verify(t.Context(), s.sign(t, `{"alg":"ES256"}`, s.claims(t, nil)))
	require.ErrorIs(t, err, jwtverify.ErrUnavailable)
	require.ErrorIs(t, err, jwks.ErrUnavailable)
}

func TestLogsAndErrorsShowAStrangersWordsEscapedAndBounded(t *testing.T) {
	s := newSigner(t)
	var log bytes.Buffer
	v := s.verifierOf(t, func(c *jwtverify.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	nasty := "\n\r\x1b[31m\u202e" + strings.Repeat("x", 400)
	for _, header := range []string{
		marshal(t, map[string]string{"alg": "ES256", "kid": nasty}),
		marshal(t, map[string]string{"alg": nasty}),
		marshal(t, map[string]string{"alg": "ES256", "typ": nasty}),
	} {
		log.Reset()
		token := s.sign(t, header, s.claims(t, map[string]any{"secret": "hunter2"}))
		_, err := v.Verify(t.Context(), token)
		for _, text := range []string{err.Error(), strings.TrimSuffix(log.String(), "\n")} {
			require.NotContains(t, text, "hunter2")
			require.NotContains(t, text, token)
			require.Less(t, len(text), 400)
			require.Regexp(t, `\A[\x20-\x7e…]+\z`, text)
		}
	}
	log.Reset()
	_, err := v.Verify(t.Context(), s.sign(t, `{"alg":"ES256"}`, s.claims(t, nil)))
	require.NoError(t, err)
	require.Empty(t, log.String(), "a token that is let in is nobody's business")
}

// A Check may ask another Verifier.
func TestAnOutageBehindACheckKeepsItsCauseAndTime(t *testing.T) {
	s := newSigner(t)
	token := s.sign(t, `{"alg":"ES256"}`, s.claims(t, nil))
	inner := verifierWith(t, source{err: errors.Join(later{errors.New("slow")}, context.DeadlineExceeded)})
	v := s.verifierOf(t, func(c *jwtverify.Config) {
		c.Checks = []func(context.Context, *jwtverify.Token) error{func(ctx context.Context, _ *jwtverify.Token) error {
			_, err := inner.Verify(ctx, token)
			return fmt.Errorf("the other issuer: %w", err)
		}}
	})
	_, err := v.Verify(t.Context(), token)
	require.ErrorIs(t, err, jwtverify.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var e *jwtverify.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 7*time.Second, e.RetryAfter)
}

func TestWordsOfASourceOrACheckAreEscapedAndBounded(t *testing.T) {
	s := newSigner(t)
	token := s.sign(t, `{"alg":"ES256"}`, s.claims(t, nil))
	nasty := errors.New("\n\x1b[31m\u202e\xff" + strings.Repeat("x", 5000))
	checked := s.verifierOf(t, func(c *jwtverify.Config) {
		c.Checks = []func(context.Context, *jwtverify.Token) error{func(context.Context, *jwtverify.Token) error { return nasty }}
	})
	for _, v := range []*jwtverify.Verifier{checked, verifierWith(t, source{err: nasty})} {
		_, err := v.Verify(t.Context(), token)
		require.ErrorContains(t, err, `\n\x1b[31m\u202e?x`)
		require.Regexp(t, `\A[\x20-\x7e…]+\z`, err.Error())
		require.Less(t, len(err.Error()), 400)
	}
}

func TestARefusalTellsOperatorsWhatTheyNeed(t *testing.T) {
	s := newSigner(t)
	var log bytes.Buffer
	v := s.verifierOf(t, func(c *jwtverify.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	_, err := v.Verify(t.Context(), s.sign(t, `{"alg":"ES256","kid":"2024-01"}`, s.claims(t, nil)))
	require.ErrorIs(t, err, jwtverify.ErrUnknownKey)
	require.ErrorContains(t, err, `alg is ES256, kid is "2024-01"`)
	require.Contains(t, log.String(), "issuer="+signerIssuer)
	require.Contains(t, log.String(), "reason=unknown_key")
	require.Contains(t, log.String(), "2024-01")
}

// counted is a KeySource that counts how often it is asked.
type counted struct {
	jwtverify.KeySource
	asked int
}

func (c *counted) Key(ctx context.Context, kid, alg string) (*jwks.Key, error) {
	c.asked++
	return c.KeySource.Key(ctx, kid, alg)
}

func TestWhatNeedsNoKeyIsRefusedWithoutAskingForOne(t *testing.T) {
	s := newSigner(t)
	keys := &counted{KeySource: s.set(t)}
	v := verifierWith(t, keys)
	good := s.sign(t, `{"alg":"ES256"}`, s.claims(t, nil))
	for reason, token := range map[jwtverify.Reason]string{
		jwtverify.ErrMalformed: good[:strings.LastIndexByte(good, '.')+1],
		jwtverify.ErrAlgorithm: s.sign(t, `{"alg":"none"}`, s.claims(t, nil)),
		jwtverify.ErrType:      s.sign(t, `{"alg":"ES256","typ":"id+jwt"}`, s.claims(t, nil)),
		jwtverify.ErrIssuer:    s.sign(t, `{"alg":"ES256"}`, s.claims(t, map[string]any{"iss": "x"})),
		jwtverify.ErrAudience:  s.sign(t, `{"alg":"ES256"}`, s.claims(t, map[string]any{"aud": "x"})),
		jwtverify.ErrExpired:   s.sign(t, `{"alg":"ES256"}`, s.claims(t, map[string]any{"exp": 1})),
		jwtverify.ErrClaims:    s.sign(t, `{"alg":"ES256"}`, s.claims(t, map[string]any{"sub": ""})),
	} {
		_, err := v.Verify(t.Context(), token)
		require.ErrorIs(t, err, reason)
		require.Zero(t, keys.asked, reason)
	}
	_, err := v.Verify(t.Context(), good)
	require.NoError(t, err)
	require.Equal(t, 1, keys.asked)
}

// What the key alone decides is decided first, as long as that costs no fetch.
func TestAKidThatWasLookedForInVainIsRefusedBeforeTheClaims(t *testing.T) {
	issuer := jwttest.NewIssuer("https://api.example.com")
	t.Cleanup(issuer.Close)
	v, err := jwtverify.New(issuer.Config())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	require.NoError(t, v.Ready(t.Context()))
	refused := func(kid string, claims jwttest.Claims, reason jwtverify.Reason) {
		t.Helper()
		_, err := v.Verify(t.Context(), issuer.Mint(jwttest.Header{"kid": kid}, claims))
		require.Equal(t, reason, jwtverify.ReasonOf(err))
	}
	expired := jwttest.Claims{"exp": 1}
	refused("made up", expired, jwtverify.ErrExpired)
	require.EqualValues(t, 1, v.Status().Keys.Fetches, "claims that are refused cost the issuer nothing")
	refused("made up", nil, jwtverify.ErrUnknownKey)
	require.EqualValues(t, 2, v.Status().Keys.Fetches)
	refused("made up", expired, jwtverify.ErrUnknownKey)
	refused("another", expired, jwtverify.ErrExpired)
	refused("another", nil, jwtverify.ErrUnknownKey)
	require.EqualValues(t, 3, v.Status().Keys.Fetches)
	refused("a third", expired, jwtverify.ErrUnknownKey) // no fetch could be made for it now
	require.EqualValues(t, 3, v.Status().Keys.Fetches)
	_, err = v.Verify(t.Context(), issuer.Token(expired))
	require.ErrorIs(t, err, jwtverify.ErrExpired)
	_, err = v.Verify(t.Context(), issuer.Token(nil))
	require.NoError(t, err)
}
