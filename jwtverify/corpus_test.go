package jwtverify_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
)

const (
	corpusFiles = 42
	corpusCases = 675

	// So many of the refused cases have keys or a policy that cannot be loaded,
	// and end there.
	corpusEndAtSetUp = 75
)

type corpusConfig struct {
	Issuer     string   `json:"issuer"`
	Audience   []string `json:"audience"`
	Algorithms []string `json:"algorithms"`
	LeewayS    int      `json:"leeway_s"`
	Now        int64    `json:"now"`
	RequireTyp string   `json:"require_typ"`
}

type corpusCase struct {
	ID          string          `json:"id"`
	Family      string          `json:"family"`
	Comment     string          `json:"comment"`
	Ref         string          `json:"ref"`
	JWKS        json.RawMessage `json:"jwks"`
	JWKSRaw     *string         `json:"jwks_raw"`
	SecretB64   *string         `json:"secret_b64"`
	Config      corpusConfig    `json:"config"`
	Token       string          `json:"token"`
	TokenB64    string          `json:"token_b64"`
	Expect      string          `json:"expect"`
	Reason      string          `json:"reason"`
	ReasonsOK   []string        `json:"reasons_ok"`
	Strict      bool            `json:"strict"`
	Optional    bool            `json:"optional"`
	WantClaims  json.RawMessage `json:"want_claims"`
	Level       string          `json:"level"`
	PayloadB64U string          `json:"payload_b64u"`
}

// corpusReasons maps the corpus' words for a refusal to ours.
var corpusReasons = map[string]jwtverify.Reason{
	"malformed":       jwtverify.ErrMalformed,
	"crit":            jwtverify.ErrMalformed,
	"too_large":       jwtverify.ErrMalformed,
	"unsupported_alg": jwtverify.ErrAlgorithm,
	"alg_not_allowed": jwtverify.ErrAlgorithm,
	"unknown_key":     jwtverify.ErrUnknownKey,
	"weak_key":        jwtverify.ErrUnknownKey,
	"bad_signature":   jwtverify.ErrSignature,
	"expired":         jwtverify.ErrExpired,
	"not_yet_valid":   jwtverify.ErrNotYetValid,
	"wrong_issuer":    jwtverify.ErrIssuer,
	"wrong_audience":  jwtverify.ErrAudience,
	"missing_claim":   jwtverify.ErrClaims,
	"invalid_claim":   jwtverify.ErrClaims,
	"bad_typ":         jwtverify.ErrType,
}

// refusedByChoice are the optional cases whose recommended verdict, accept, we
// do not take, with the reason that we give instead.
var refusedByChoice = map[string]jwtverify.Reason{
	"b64-011": jwtverify.ErrMalformed, // a b64 member is refused whatever it says
}

// contest is a case that we hold to be wrong: the sentence of the RFC that says
// so, and the verdict that we give instead (an empty Reason: accept).
type contest struct {
	sentence string
	verdict  jwtverify.Reason
}

// contested is empty: there is no case that we hold to be wrong.
var contested = map[string]contest{}

func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/*.json")
	require.NoError(t, err)
	require.Len(t, files, corpusFiles)

	seen, ran, endAtSetUp := map[string]bool{}, 0, 0
	for _, file := range files {
		cases := readCorpus(t, file)
		require.NotEmpty(t, cases, file)
		for _, c := range cases {
			require.False(t, seen[c.ID], "two cases are called %s", c.ID)
			seen[c.ID] = true
			t.Run(c.Family+"/"+c.ID, func(t *testing.T) {
				ran++
				if c.check(t) {
					endAtSetUp++
				}
			})
		}
	}
	require.Len(t, seen, corpusCases)
	if ran == corpusCases { // and not a few, chosen with -run
		require.Equal(t, corpusEndAtSetUp, endAtSetUp)
	}
	for id := range refusedByChoice {
		require.True(t, seen[id], id)
	}
	for id, c := range contested {
		require.True(t, seen[id], id)
		require.NotEmpty(t, c.sentence, id)
	}
}

func readCorpus(t *testing.T, file string) []corpusCase {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var f struct {
		Schema int          `json:"schema"`
		Split  string       `json:"split"`
		Family string       `json:"family"`
		Doc    string       `json:"doc"`
		Cases  []corpusCase `json:"cases"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // an unread member would be an unchecked condition
	require.NoError(t, d.Decode(&f), file)
	require.Equal(t, 1, f.Schema, file)
	return f.Cases
}

// check holds the library to the case's verdict and reports whether it was
// given before there was anything to verify with.
func (c corpusCase) check(t *testing.T) (endedAtSetUp bool) {
	t.Log(c.Comment)
	require.Contains(t, []string{"accept", "reject"}, c.Expect)
	tok, payload, setUp, err := c.verify(t)

	accept := c.Expect == "accept"
	reasons := c.reasons(t)
	if reason, ok := refusedByChoice[c.ID]; ok {
		require.True(t, c.Optional && accept, "only the verdict of an optional case is ours to choose")
		accept, reasons = false, []jwtverify.Reason{reason}
	}
	if contest, ok := contested[c.ID]; ok {
		accept, reasons = contest.verdict == "", []jwtverify.Reason{contest.verdict}
	}

	switch {
	case accept:
		require.NoError(t, setUp)
		require.NoError(t, err)
		c.checkAccepted(t, tok, payload)
	case setUp != nil:
		// A key or a policy that cannot be loaded accepts no token at all. A key
		// that is left out must not verify anything beside others either.
		if set, ok := c.withBystander(t); ok {
			c.JWKS = set
			tok, _, setUp, err := c.verify(t)
			require.NoError(t, setUp)
			require.Nil(t, tok)
			requireRefusal(t, err, reasons)
		}
		return true
	default:
		require.Nil(t, tok, "a refused token must not come out")
		require.Nil(t, payload)
		requireRefusal(t, err, reasons)
	}
	return false
}

// withBystander is the case's key set with a good key more, which signed
// nothing; ok is false if the case is not about keys in a set.
func (c corpusCase) withBystander(t *testing.T) (set []byte, ok bool) {
	if c.SecretB64 != nil || c.JWKSRaw != nil {
		return nil, false
	}
	if _, err := jwks.Parse(c.JWKS); err == nil {
		return nil, false
	}
	var document struct {
		Keys []any `json:"keys"`
	}
	require.NoError(t, json.Unmarshal(c.JWKS, &document))
	document.Keys = append(document.Keys, newSigner(t).jwk(t, "bystander"))
	return []byte(marshal(t, document)), true
}

func (c corpusCase) reasons(t *testing.T) []jwtverify.Reason {
	if c.Expect == "accept" {
		return nil
	}
	var reasons []jwtverify.Reason
	for _, word := range append([]string{c.Reason}, c.ReasonsOK...) {
		reason, ok := corpusReasons[word]
		require.True(t, ok, "the corpus has a new reason, %q", word)
		reasons = append(reasons, reason)
	}
	return reasons
}

// verify loads the case's keys and policy and hands it the token. A case of
// level "jws" gives a payload, any other a Token.
func (c corpusCase) verify(t *testing.T) (tok *jwtverify.Token, payload []byte, setUp, err error) {
	keys, setUp := c.keys(t)
	if setUp != nil {
		return nil, nil, setUp, nil
	}
	switch c.Level {
	case "jws":
		payload, err = jwtverify.VerifyJWS(t.Context(), c.token(t), c.Config.Algorithms, keys)
		return nil, payload, nil, err
	case "":
		v, setUp := jwtverify.New(c.Config.verifier(keys))
		if setUp != nil {
			return nil, nil, setUp, nil
		}
		defer v.Close()
		tok, err = v.Verify(t.Context(), c.token(t))
		return tok, nil, nil, err
	default:
		require.Fail(t, "the corpus has a new level", c.Level)
		return nil, nil, nil, nil
	}
}

func (c corpusCase) keys(t *testing.T) (*jwks.Set, error) {
	switch {
	case c.SecretB64 != nil:
		secret, err := base64.StdEncoding.DecodeString(*c.SecretB64)
		require.NoError(t, err)
		key, err := jwks.NewSecret("", c.Config.Algorithms[0], secret)
		if err != nil {
			return nil, err
		}
		return jwks.NewSet(key)
	case c.JWKSRaw != nil:
		return jwks.Parse([]byte(*c.JWKSRaw))
	default:
		return jwks.Parse(c.JWKS)
	}
}

func (c corpusCase) token(t *testing.T) string {
	if c.TokenB64 == "" {
		return c.Token
	}
	token, err := base64.StdEncoding.DecodeString(c.TokenB64)
	require.NoError(t, err)
	return string(token)
}

// verifier is the case's policy as a Config.
func (c corpusConfig) verifier(keys jwtverify.KeySource) jwtverify.Config {
	config := jwtverify.Config{
		Issuer:     c.Issuer,
		Audience:   c.Audience,
		Algorithms: c.Algorithms,
		Leeway:     time.Duration(c.LeewayS) * time.Second,
		Keys:       keys,
		Now:        func() time.Time { return time.Unix(c.Now, 0) },
	}
	if c.LeewayS == 0 {
		config.Leeway = -1 // none, where 0 would be the default
	}
	if c.RequireTyp != "" {
		config.Types = []string{c.RequireTyp}
	}
	return config
}

func (c corpusCase) checkAccepted(t *testing.T, tok *jwtverify.Token, payload []byte) {
	if c.Level == "jws" {
		require.Equal(t, c.PayloadB64U, base64.RawURLEncoding.EncodeToString(payload))
		return
	}
	require.NotNil(t, tok)
	claims, err := jwtverify.Claims[map[string]any](tok)
	require.NoError(t, err)
	require.Equal(t, tok.Issuer, claims["iss"])
	require.Equal(t, c.Config.Issuer, tok.Issuer)
	if len(c.WantClaims) == 0 {
		return
	}
	var want map[string]any
	d := json.NewDecoder(bytes.NewReader(c.WantClaims))
	d.UseNumber()
	require.NoError(t, d.Decode(&want))
	require.NotEmpty(t, want)
	for name, value := range want {
		require.Equal(t, value, claims[name], name)
	}
}

// requireRefusal checks what holds for every token that is refused with keys at
// hand: the reason, and an error text that can be logged as it is.
func requireRefusal(t *testing.T, err error, reasons []jwtverify.Reason) {
	t.Helper()
	require.ErrorIs(t, err, jwtverify.ErrInvalidToken)
	require.NotErrorIs(t, err, jwtverify.ErrUnavailable)
	require.Contains(t, reasons, jwtverify.ReasonOf(err), "%v", err)
	require.ErrorIs(t, err, jwtverify.ReasonOf(err))
	var e *jwtverify.Error
	require.True(t, errors.As(err, &e))

	require.Less(t, len(err.Error()), 512)
	unprintable := strings.IndexFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) })
	require.Equal(t, -1, unprintable, "%q", err)
}
