package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// The contestants of these tests do one thing wrong on purpose.

// ask fetches the kids of a set; no kids are an error.
func ask(url string) ([]string, error) {
	res, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	var set struct{ Keys []struct{ Kid string } }
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, err
	}
	var kids []string
	for _, k := range set.Keys {
		kids = append(kids, k.Kid)
	}
	if len(kids) == 0 {
		return nil, errors.New("no keys")
	}
	return kids, nil
}

// known takes a token whose kid is one of these.
func known(kids []string, token string) error {
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
	if err != nil {
		return err
	}
	var header struct{ Kid string }
	if err := json.Unmarshal(text, &header); err != nil {
		return err
	}
	if !slices.Contains(kids, header.Kid) {
		return errors.New("unknown kid")
	}
	return nil
}

func credulous(context.Context, string) (verifyFunc, error) {
	return func(string) error { return nil }, nil
}

// nervous asks for every token.
func nervous(_ context.Context, url string) (verifyFunc, error) {
	return func(token string) error {
		kids, err := ask(url)
		if err != nil {
			return err
		}
		return known(kids, token)
	}, nil
}

// frozen asks until it has a set, and never again.
func frozen(_ context.Context, url string) (verifyFunc, error) {
	var mu sync.Mutex
	var kids []string
	return func(token string) error {
		mu.Lock()
		defer mu.Unlock()
		if kids == nil {
			var err error
			if kids, err = ask(url); err != nil {
				return err
			}
		}
		return known(kids, token)
	}, nil
}

// rude is nervous and blames the token.
func rude(ctx context.Context, url string) (verifyFunc, error) {
	verify, err := nervous(ctx, url)
	return func(token string) error {
		if verify(token) != nil {
			return jwtverify.ErrInvalidToken
		}
		return nil
	}, err
}

func TestEveryScenarioFindsTheContestantThatFailsInIt(t *testing.T) {
	m, err := newMaterial(300 * time.Millisecond)
	require.NoError(t, err)
	m.flood = 20 * mib
	cast := []contestant{{"credulous", credulous}, {"nervous", nervous}, {"frozen", frozen}, {"rude", rude}}
	outcomes, err := play(m, cast)
	require.NoError(t, err)
	const ideal = "^ideal"
	for name, want := range map[string][4]string{ // regular expressions; empty: nothing is asserted
		"S1 storm of unknown kids": {ideal, `^\d+ fetches$`, ideal, `^\d+ fetches$`},
		"S2 rotation":              {ideal, "", "^refused for .* and on$", ""},
		"S2 another one at once":   {ideal, "", "^misses the first one$", ""},
		"S3 outage, 503":           {ideal, `^\d+ of \d+ refused$`, ideal, "refused, called invalid$"},
		"S4 hanging issuer":        {ideal, "refused|waits", ideal, "refused|waits"},
		"S5 HTML with status 200":  {ideal, "refused$", ideal, "refused, called invalid$"},
		"S5 empty set":             {ideal, "refused$", ideal, "refused, called invalid$"},
		"S5 no member keys":        {ideal, "refused$", ideal, "refused, called invalid$"},
		"S6 down at the start":     {"^accepts without keys$", "", "", "^calls the token invalid$"},
		"S7 withdrawn key":         {"^accepted for .* and on$", "", "^accepted for .* and on$", ""},
		"S8 key set of 200 MiB":    {"accepts$", `^allocates \d{2,} MiB, accepts$`, `^allocates \d{2,} MiB, accepts$`, ""},
		"S9 key for encryption":    {"^accepted$", "^accepted$", "^accepted$", "^accepted$"},
		"S9 key for RS512":         {"^accepted$", "^accepted$", "^accepted$", "^accepted$"},
		"S9 key_ops encrypt":       {"^accepted$", "^accepted$", "^accepted$", "^accepted$"},
		"S9 RSA of 1024 bits":      {"^accepted$", "^accepted$", "^accepted$", "^accepted$"},
	} {
		at := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
		require.GreaterOrEqual(t, at, 0, name)
		for c := range cast {
			require.Regexp(t, want[c], outcomes[at][c].String(), "%s, %s", name, cast[c].name)
		}
	}

	text := table(cast, outcomes)
	require.Len(t, strings.Split(strings.TrimSpace(text), "\n"), 2+len(scenarios))
	for _, s := range scenarios {
		require.Contains(t, text, "| "+s.name+" ")
	}

	require.ErrorContains(t, gate(cast, outcomes), "was not tried")
	cast[2].name = oursName
	err = gate(cast, outcomes)
	require.ErrorContains(t, err, "S7 withdrawn key is not ideal: accepted for")
	require.NotContains(t, err.Error(), "S5 ")
	for i := range outcomes {
		outcomes[i] = []outcome{{ideal: true}, {}, {ideal: true}, {}}
	}
	require.NoError(t, gate(cast, outcomes))
}

func TestAContestantThatTakesNoTokenAtAllIsNotCompared(t *testing.T) {
	sullen := func(context.Context, string) (verifyFunc, error) {
		return func(string) error { return errors.New("no") }, nil
	}
	m, err := newMaterial(10 * time.Millisecond)
	require.NoError(t, err)
	for _, s := range scenarios[:6] {
		_, err := try(m, s, contestant{"sullen", sullen})
		require.ErrorContains(t, err, "refuses a good token while all is well: no", s.name)
	}
}

func TestWrongFlagsAreRefusedBeforeAnythingIsPlayed(t *testing.T) {
	for _, args := range [][]string{{"stray"}, {"-only", "nobody"}, {"-unknown"}} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, 2, run(args, contestants, &stdout, &stderr), args)
		require.Empty(t, stdout.String())
		require.NotEmpty(t, stderr.String())
	}
}

func TestEachContestantTakesAGoodTokenAndNoForgedOne(t *testing.T) {
	m, err := newMaterial(lifetime)
	require.NoError(t, err)
	for _, c := range contestants {
		t.Run(c.name, func(t *testing.T) {
			e := newEndpoint(publish(m.a.jwk(nil)))
			defer e.close()
			verify, err := c.open(t.Context(), e.URL)
			require.NoError(t, err)
			require.NoError(t, verify(m.good))
			forged, err := m.b.token("a")
			require.NoError(t, err)
			require.Error(t, verify(forged))
			require.Error(t, verify(m.underC))
		})
	}
}
