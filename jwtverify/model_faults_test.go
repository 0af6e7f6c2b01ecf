package jwtverify_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
)

// naiveCache is a cache as anybody might put before a Verifier. The zero mistakes
// make it right, and each of them makes it wrong in one way.
type naiveCache struct {
	realm    *realm
	bare     *jwtverify.Verifier // without Checks
	full     *jwtverify.Verifier
	entries  map[string]naiveEntry
	refused  map[string]error
	closed   bool
	mistakes mistakes
}

type naiveEntry struct {
	token *jwtverify.Token
	key   *jwks.Key
}

type mistakes struct {
	ignoreKeyIdentity bool // any key of that kid and alg will do
	ignoreWithdrawal  bool // the key need not be there any more
	ignoreOutage      bool // an error of the key source's is no reason to refuse
	ignoreTime        bool
	ignoreNotBefore   bool // only expiry counts
	expireLate        bool // by an instant
	ignoreChecks      bool
	keepAfterChecks   bool // the entry holds what the Checks made of the token
	shareToken        bool
	shareSlices       bool
	knowBySignedPart  bool // a token is known without its signature
	knowBySignature   bool // or by nothing else
	keepErrors        bool
	ignoreClose       bool
}

func naive(f mistakes) func(*realm) (subject, error) {
	return func(w *realm) (subject, error) {
		c := w.config(-1)
		full, err := jwtverify.New(c)
		c.Checks = nil
		bare, bareErr := jwtverify.New(c)
		return &naiveCache{
			realm: w, bare: bare, full: full, entries: map[string]naiveEntry{}, refused: map[string]error{}, mistakes: f,
		}, errors.Join(err, bareErr)
	}
}

func (n *naiveCache) Verify(ctx context.Context, token string) (*jwtverify.Token, error) {
	if n.closed && !n.mistakes.ignoreClose {
		return n.full.Verify(ctx, token)
	}
	id := token
	if dot := strings.LastIndexByte(token, '.'); dot >= 0 && n.mistakes.knowBySignedPart {
		id = token[:dot]
	} else if dot >= 0 && n.mistakes.knowBySignature {
		id = token[dot:]
	}
	if err := n.refused[id]; err != nil && n.mistakes.keepErrors {
		return nil, err
	}
	e, hit := n.entries[id]
	if !hit || !n.stillGood(ctx, e) {
		verified, err := n.bare.Verify(ctx, token)
		if err != nil {
			n.refused[id] = err
			return nil, err
		}
		key, err := n.realm.Key(ctx, verified.Header.KeyID, verified.Header.Algorithm)
		if err != nil {
			return nil, err
		}
		e = naiveEntry{verified, key}
		n.entries[id] = e
	}
	mine := n.copied(e.token)
	if !hit || !n.mistakes.ignoreChecks {
		for _, check := range n.realm.config(-1).Checks {
			if check(ctx, mine) != nil {
				return n.full.Verify(ctx, token) // which says it as it should be said
			}
		}
		if n.mistakes.keepAfterChecks {
			n.entries[id] = naiveEntry{n.copied(mine), e.key}
		}
	}
	return mine, nil
}

// stillGood leaves all that it does not take for good to the Verifier.
func (n *naiveCache) stillGood(ctx context.Context, e naiveEntry) bool {
	now, t := n.realm.now, e.token
	leeway := t.ValidUntil.Sub(t.Expiry)
	early := now.Add(leeway).Before(t.NotBefore) || now.Add(leeway).Before(t.IssuedAt)
	late := now.After(t.ValidUntil) || now.Equal(t.ValidUntil) && !n.mistakes.expireLate
	if !n.mistakes.ignoreTime && (late || early && !n.mistakes.ignoreNotBefore) {
		return false
	}
	key, err := n.realm.Key(ctx, t.Header.KeyID, t.Header.Algorithm)
	switch {
	case errors.Is(err, jwks.ErrKeyNotFound):
		return n.mistakes.ignoreWithdrawal
	case err != nil || key == nil:
		return n.mistakes.ignoreOutage
	}
	return key.Equal(e.key) || n.mistakes.ignoreKeyIdentity
}

func (n *naiveCache) copied(t *jwtverify.Token) *jwtverify.Token {
	if n.mistakes.shareToken {
		return t
	}
	c := *t
	if !n.mistakes.shareSlices {
		c = deepCopy(t)
	}
	return &c
}

func (n *naiveCache) Close() error {
	n.closed = true
	return errors.Join(n.bare.Close(), n.full.Close())
}

// enough is how many steps it takes at most to find any of the mistakes.
const enough = 4 * historySteps

func findFault(f mistakes) (steps int, found *difference) {
	for seed := uint64(1); steps < enough && found == nil; seed++ {
		var seen tally
		seen, found = play(seed, historySteps, false, naive(f))
		steps += seen.steps
	}
	return steps, found
}

func TestTheModelFindsEveryFaultThatACacheMayHave(t *testing.T) {
	for name, f := range map[string]mistakes{
		"the identity of the key is not compared": {ignoreKeyIdentity: true},
		"a withdrawn key's tokens stay":           {ignoreWithdrawal: true},
		"an outage does not matter":               {ignoreOutage: true},
		"the time is not looked at again":         {ignoreTime: true},
		"nbf and iat are not looked at again":     {ignoreNotBefore: true},
		"the end comes an instant late":           {expireLate: true},
		"the Checks are not asked again":          {ignoreChecks: true},
		"what the Checks wrote stays":             {keepAfterChecks: true},
		"all callers get the same Token":          {shareToken: true},
		"all callers get the same slices":         {shareSlices: true},
		"the signature does not matter":           {knowBySignedPart: true},
		"only the signature matters":              {knowBySignature: true},
		"errors are kept":                         {keepErrors: true},
		"Close does not matter":                   {ignoreClose: true},
	} {
		t.Run(name, func(t *testing.T) {
			steps, found := findFault(f)
			require.NotNil(t, found, "not found in %d steps", steps)
			t.Logf("found after %d steps: %.200s", steps, found.what)
		})
	}
}

// Otherwise the test above would say nothing.
func TestTheModelFindsNoFaultInACacheThatHasNone(t *testing.T) {
	steps, found := findFault(mistakes{})
	require.Nil(t, found, "%v", found)
	require.GreaterOrEqual(t, steps, enough)
}
