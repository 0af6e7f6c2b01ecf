package jwtverify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

const tenant = "6babcaad-604b-40ac-a9d7-9fd97c0b779f"

// Each is made by a Verifier that refuses a token which is good but for that.
func TestAFrequentMistakeIsExplainedWithWhatToChange(t *testing.T) {
	s := newSigner(t)
	issuer := func(iss string) func(*jwtverify.Config) {
		return func(c *jwtverify.Config) { c.Issuer = iss }
	}
	audience := func(aud ...string) func(*jwtverify.Config) {
		return func(c *jwtverify.Config) { c.Audience = aud }
	}
	strict := func(c *jwtverify.Config) { c.Types = []string{"at+jwt"} }
	seconds := func(n int64) int64 { return signerTime.Unix() + n }
	for name, c := range map[string]struct {
		config func(*jwtverify.Config)
		header string
		claims map[string]any
		change func(string) string // of the token
		want   []string
	}{
		"iss without its slash": {
			config: issuer("https://issuer.example.com/"),
			want: []string{`issuer: iss is not the issuer; expected "https://issuer.example.com/"; came "https://issuer.example.com"; hint: ` +
				`they differ in the last slash only: write Config.Issuer exactly`},
		},
		"iss with a slash": {
			claims: map[string]any{"iss": signerIssuer + "/"}, want: []string{"the last slash only"},
		},
		"iss in other letters": {
			claims: map[string]any{"iss": "https://Issuer.example.com"}, want: []string{"upper and lower case only: write Config.Issuer"},
		},
		"iss with http": {
			claims: map[string]any{"iss": "http://issuer.example.com"}, want: []string{"http and https only: set the issuer's public URL"},
		},
		"iss with https": {
			config: issuer("http://issuer.example.com"), want: []string{"http and https only: write Config.Issuer with https"},
		},
		"iss of Entra's v1.0": {
			config: issuer("https://login.microsoftonline.com/" + tenant + "/v2.0"),
			claims: map[string]any{"iss": "https://sts.windows.net/" + tenant + "/"},
			want:   []string{"hint: a v1.0 token of that Entra tenant: set requestedAccessTokenVersion to 2"},
		},
		"iss of Entra's v2.0": {
			config: issuer("https://sts.windows.net/" + tenant + "/"),
			claims: map[string]any{"iss": "https://login.microsoftonline.com/" + tenant + "/v2.0"},
			want:   []string{"hint: a v2.0 token of that Entra tenant: write Config.Issuer with login.microsoftonline.com and /v2.0"},
		},
		"aud of an ID token": {
			claims: map[string]any{"aud": "web", "azp": "web"},
			want:   []string{`audience: aud names no audience of ours; expected "https://api.example.com"; came "web", for the client "web"; hint: aud is the client itself`},
		},
		"aud with a slash": {
			config: audience("https://other.example.com", signerAudience), claims: map[string]any{"aud": []string{"x", signerAudience + "/"}},
			want: []string{`expected one of "https://other.example.com", "https://api.example.com"; came "x", "https://api.example.com/"; hint: they differ in the last slash only: write Config.Audience`},
		},
		"aud without api://": {
			config: audience("api://" + tenant), claims: map[string]any{"aud": tenant}, want: []string{"api:// only, which Entra's v2.0 tokens do not have"},
		},
		"aud with api://": {
			config: audience(tenant), claims: map[string]any{"aud": "api://" + tenant}, want: []string{"api:// only, which Entra's v2.0 tokens do not have"},
		},
		"aud of Keycloak": {
			claims: map[string]any{"aud": "account", "azp": "web"}, want: []string{"account is what Keycloak writes by itself"},
		},
		"no aud, as Cognito": {
			claims: map[string]any{"aud": absent, "client_id": "web"},
			want:   []string{`claims: aud is missing; expected "https://api.example.com"; came none, for the client "web"; hint: `, "set Config.AudienceClaim to client_id"},
		},
		"typ JWT where at+jwt is asked for": {
			config: strict, header: headerJWT,
			want: []string{`type: typ is "JWT"; expected "at+jwt"; hint: if it is an access token, its issuer does not type them`, "leave Config.Types nil"},
		},
		"no typ where at+jwt is asked for": {
			config: strict, want: []string{`type: typ is ""; expected "at+jwt"; hint: if it is an access token, its issuer does not type them`},
		},
		"an ID token by nonce":     {claims: map[string]any{"nonce": "n"}, want: []string{"hint: an ID token was sent: have the client send the access token"}},
		"an ID token by at_hash":   {claims: map[string]any{"at_hash": "n"}, want: []string{"hint: an ID token was sent"}},
		"an ID token by c_hash":    {claims: map[string]any{"c_hash": "n"}, want: []string{"hint: an ID token was sent"}},
		"an ID token by token_use": {claims: map[string]any{"token_use": "id"}, want: []string{"hint: it says itself that it is an ID token or another kind"}},
		"a refresh token":          {claims: map[string]any{"typ": "Refresh"}, want: []string{"hint: it says itself"}},
		"a DPoP proof":             {claims: map[string]any{"htm": "GET"}, want: []string{"hint: a DPoP proof was sent"}},
		"exp a moment ago": {
			claims: map[string]any{"exp": seconds(-45)},
			want: []string{"expired: exp was 45 s ago; expected later than 2025-12-31T23:59:30Z, which is now less Leeway; came 2025-12-31T23:59:15Z; hint: ",
				"Leeway is 30s: if the token was new, the clocks are 45 s or more apart"},
		},
		"nbf ahead": {
			claims: map[string]any{"nbf": seconds(90)},
			want:   []string{"not_yet_valid: nbf is 90 s ahead; expected no later than 2026-01-01T00:00:30Z, which is now and Leeway; came 2026-01-01T00:01:30Z; hint: Leeway is 30s, and the clocks are 90 s or more apart"},
		},
		"iat ahead":   {claims: map[string]any{"iat": seconds(599)}, want: []string{"iat is 599 s ahead", "came 2026-01-01T00:09:59Z", "the clocks are 599 s or more apart"}},
		"alg none":    {header: `{"alg":"none"}`, want: []string{`algorithm: alg is "none"; expected one of "ES256", `, "hint: it is not signed, and never accepted"}},
		"alg HS256":   {header: `{"alg":"HS256"}`, want: []string{"hint: the issuer signs with a secret that it shares", "name HS256 in Config.Algorithms"}},
		"another alg": {config: func(c *jwtverify.Config) { c.Algorithms = []string{"RS256"} }, want: []string{`alg is "ES256"; expected "RS256"; hint: if the issuer is to sign with it, name it in Config.Algorithms`}},
		"another value": {
			config: func(c *jwtverify.Config) { c.Values = map[string][]string{"tier": {"gold", "silver"}} }, claims: map[string]any{"tier": "secret"},
			want: []string{`claims: tier is none of the Config's Values; expected one of "gold", "silver"`},
		},
		"five segments":     {change: func(token string) string { return token + ".x.y" }, want: []string{"malformed: no three segments; came five segments; hint: an encrypted token (JWE)"}},
		"an opaque token":   {change: func(string) string { return "2YotnFZFEjr1zCsicMWpAA" }, want: []string{"came no dot at all; hint: an opaque token, which needs introspection"}},
		"the scheme":        {change: func(token string) string { return "Bearer " + token }, want: []string{`came the scheme in front of the token; hint: cut "Bearer " off`}},
		"the scheme, small": {change: func(token string) string { return "bearer " + token }, want: []string{"came the scheme in front of the token"}},
		"quotes":            {change: func(token string) string { return `"` + token + `"` }, want: []string{"came a token in quotation marks; hint: send the token alone"}},
		"a quote behind":    {change: func(token string) string { return token + `'` }, want: []string{"came a token in quotation marks"}},
		"a line break":      {change: func(token string) string { return token + "\r\n" }, want: []string{"came white space around the token; hint: cut off the line break"}},
		"a space":           {change: func(token string) string { return " " + token }, want: []string{"came white space around the token"}},
	} {
		t.Run(name, func(t *testing.T) {
			v := s.verifierOf(t, func(config *jwtverify.Config) {
				if c.config != nil {
					c.config(config)
				}
			})
			if c.header == "" {
				c.header = headerUntyped
			}
			token := s.sign(t, c.header, s.claims(t, c.claims))
			if c.change != nil {
				token = c.change(token)
			}
			_, err := v.Verify(t.Context(), token)
			require.Error(t, err)
			for _, want := range c.want {
				require.Contains(t, jwtverify.Explain(err), want)
			}
			for _, wrapped := range []error{fmt.Errorf("w: %w", err), errors.Join(errors.New("another"), err)} {
				require.Equal(t, jwtverify.Explain(err), jwtverify.Explain(wrapped))
			}
		})
	}
}

func TestWhereNothingIsToBeChangedNoHintIsGiven(t *testing.T) {
	s := newSigner(t)
	v := s.verifier(t)
	long := signerIssuer + "/" + strings.Repeat("x", 300)
	for _, claims := range []map[string]any{
		{"iss": "https://issuer.example.org"}, {"iss": ""}, {"iss": absent}, {"aud": "x"}, {"aud": []string{}}, {"aud": absent},
		{"exp": signerTime.Unix() - 601}, {"exp": 0}, {"nbf": signerTime.Unix() + 601}, {"iat": int64(253402300799)}, {"sub": ""},
		{"events": map[string]any{}}, {"iss": long},
	} {
		_, err := v.Verify(t.Context(), s.sign(t, headerUntyped, s.claims(t, claims)))
		require.Error(t, err)
		require.NotContains(t, jwtverify.Explain(err), "hint", "%v", claims)
	}
	for _, token := range []string{"", "a.b", "a.b.c.d", "a.b.c", strings.Repeat("x", maxToken+1)} {
		_, err := v.Verify(t.Context(), token)
		require.Contains(t, jwtverify.Explain(err), "malformed: ")
		require.NotContains(t, jwtverify.Explain(err), "came")
	}
	for header, want := range map[string]string{
		`{"alg":"x"}`:                      `algorithm: alg is "x"; expected one of `,
		`{"alg":"ES256","typ":"dpop+jwt"}`: `type: typ is "dpop+jwt"; expected "at+jwt"`,
		`{"alg":"ES256","typ":""}`:         "type: typ is empty",
		`{"alg":"ES256","typ":"at+jwt"}`:   "type: it has sub, which Config.Forbidden does not allow",
	} {
		_, err := s.verifierOf(t, func(c *jwtverify.Config) {
			c.Types, c.Forbidden = []string{"at+jwt"}, []string{"sub"}
		}).Verify(t.Context(), s.sign(t, header, s.claims(t, nil)))
		require.True(t, strings.HasPrefix(jwtverify.Explain(err), want), jwtverify.Explain(err))
		require.NotContains(t, jwtverify.Explain(err), "hint")
	}
	_, err := s.verifierOf(t, func(c *jwtverify.Config) { c.AudienceClaim = "client_id" }).Verify(t.Context(),
		s.sign(t, headerUntyped, s.claims(t, map[string]any{"client_id": "web"})))
	require.Equal(t, `audience: client_id names no audience of ours; expected "https://api.example.com"; came "web", for the client "web"`,
		jwtverify.Explain(err))
}

func TestAnUnknownKeyIsExplainedByTheKeysThatThereAre(t *testing.T) {
	issuer := jwttest.NewIssuer("https://api.example.com")
	t.Cleanup(issuer.Close)
	issuer.AddKey("ES384")
	cache, err := jwks.New(jwks.Config{URL: issuer.URL + "/jwks.json"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cache.Close()) })
	config := issuer.Config()
	config.Keys = cache
	v, err := jwtverify.New(config)
	require.NoError(t, err)
	require.NoError(t, v.Ready(t.Context()))
	cache.Deny("key-2")
	for _, c := range []struct {
		header jwttest.Header
		want   string
	}{
		{jwttest.Header{"kid": "key-2", "alg": "ES384"}, `; expected one of "key-1", "key-2"; hint: that key was denied, by Deny`},
		{jwttest.Header{"kid": "key-1", "alg": "ES384"}, "hint: there is a key of that kid, but not for that alg"},
		{jwttest.Header{"kid": nil, "alg": "ES512"}, "hint: with several keys a token has to name its own"},
		{jwttest.Header{"kid": "x"}, "hint: the issuer had 2 keys at "},
	} {
		_, err := v.Verify(t.Context(), issuer.Mint(c.header, nil))
		require.ErrorIs(t, err, jwtverify.ErrUnknownKey)
		require.Contains(t, jwtverify.Explain(err), c.want)
	}
}

func TestAnUnknownKeyThatWasLeftOutIsExplainedByWhy(t *testing.T) {
	issuer := jwttest.NewIssuer("https://api.example.com")
	t.Cleanup(issuer.Close)
	issuer.Respond(func(w http.ResponseWriter, _ *http.Request) {
		keys := strings.TrimSuffix(string(issuer.JWKS()), "]}") + `,{"kty":"EC","crv":"P-256","kid":"bad","x":"AA","y":"AA"}]}`
		_, _ = w.Write([]byte(keys))
	})
	config := issuer.Config()
	config.JWKS.URL = issuer.URL + "/jwks.json"
	v, err := jwtverify.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	require.NoError(t, v.Ready(t.Context()))
	_, err = v.Verify(t.Context(), issuer.Mint(jwttest.Header{"kid": "bad"}, nil))
	require.ErrorIs(t, err, jwtverify.ErrUnknownKey)
	require.Contains(t, jwtverify.Explain(err), `; expected "key-1"; hint: the issuer has a key of that kid, but it was left out: "`)
}

func TestAnOutageIsExplainedByTheLastFetch(t *testing.T) {
	issuer := jwttest.NewIssuer("https://api.example.com")
	token := issuer.Token(nil)
	v, err := jwtverify.New(issuer.Config())
	issuer.Close()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	require.Eventually(t, func() bool { return v.Status().Keys.LastError != "" }, 10*time.Second, time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = v.Verify(ctx, token)
	require.ErrorIs(t, err, jwtverify.ErrUnavailable)
	require.Contains(t, jwtverify.Explain(err), "unavailable: the key source: ")
	require.Contains(t, jwtverify.Explain(err), "; hint: the last fetch of keys failed at 20")
	require.Contains(t, jwtverify.Explain(err), "connection refused")

	err = v.Ready(ctx)
	require.ErrorIs(t, err, jwtverify.ErrUnavailable)
	require.Contains(t, jwtverify.Explain(err), "connection refused")
	require.NotContains(t, jwtverify.Explain(err), "hint", "it has been said")
}

// What a Check said is explained by the Check alone: its Reasons may be those of
// this package, but not for what this package compares.
func TestWhatACheckSaidIsShownAsItSaidIt(t *testing.T) {
	s := newSigner(t)
	token := s.sign(t, headerUntyped, s.claims(t, nil))
	for _, reason := range append(reasons, errTenant) {
		v := s.verifierOf(t, func(c *jwtverify.Config) {
			c.Checks = []func(context.Context, *jwtverify.Token) error{func(context.Context, *jwtverify.Token) error {
				return fmt.Errorf("café\n: %w", reason)
			}}
		})
		for range 2 { // the second time from the cache
			_, err := v.Verify(t.Context(), token)
			require.Equal(t, string(reason)+`: a check: caf\u00e9\n: jwtverify: `+string(reason), jwtverify.Explain(err))
		}
	}
}

func TestATokenFromTheCacheIsExplainedAsAnyOther(t *testing.T) {
	s := newSigner(t)
	now := signerTime
	v := s.verifierOf(t, func(c *jwtverify.Config) { c.Now = func() time.Time { return now } })
	token := s.sign(t, headerUntyped, s.claims(t, nil))
	requireAccepted(t, v, token)
	now = now.Add(2 * time.Minute)
	_, err := v.Verify(t.Context(), token)
	require.EqualValues(t, 1, v.Status().Cache.Hits)
	require.Contains(t, jwtverify.Explain(err), "expired: exp was 60 s ago; expected later than 2026-01-01T00:01:30Z, which is now less Leeway; came 2026-01-01T00:01:00Z; hint: ")
}

func TestAnErrorThatNoVerifierMadeIsExplainedByItsText(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{errors.New("dial\n\x1b[31m\u202e\xff"), `dial\n\x1b[31m\u202e\xff`},
		{(*jwtverify.Error)(nil), "jwtverify: a nil Error"},
		{fmt.Errorf("w: %w", (*jwtverify.Error)(nil)), "w: jwtverify: a nil Error"},
		{jwtverify.ErrIssuer, "jwtverify: issuer"},
		{&jwtverify.Error{Reason: jwtverify.ErrIssuer}, "issuer"},
		{&jwtverify.Error{Reason: "a\r", Detail: "b\tc…é"}, `a\r: b\tc…\u00e9`},
	} {
		require.Equal(t, c.want, jwtverify.Explain(c.err))
	}
	for _, err := range []error{errors.New(strings.Repeat("é\n…", 9000)), &jwtverify.Error{Reason: jwtverify.Reason(strings.Repeat("…", 9000)), Detail: strings.Repeat("é", 9000)}} {
		requireExplained(t, jwtverify.Explain(err))
		require.True(t, strings.HasSuffix(jwtverify.Explain(err), "…"))
	}
	_, err := jwtverify.TrustedToken(jwtverify.Header{}, []byte(`{"iss":1}`))
	require.Equal(t, "claims: iss is not a string", jwtverify.Explain(err))
}

func requireExplained(t *testing.T, text string) {
	t.Helper()
	require.LessOrEqual(t, len(text), 2<<10)
	require.Regexp(t, `\A[\x20-\x7e…]+\z`, text)
}

func TestAnExplanationShowsAStrangersWordsEscapedAndCut(t *testing.T) {
	s := newSigner(t)
	nasty := "\n\r\x1b[31m\u202e\"; hint: é" + strings.Repeat("\U0001f600", 400)
	v := s.verifier(t)
	for name, claims := range map[string]map[string]any{
		"iss":    {"iss": nasty},
		"aud":    {"aud": []string{nasty, nasty, nasty, nasty, nasty}, "client_id": nasty},
		"no aud": {"aud": absent, "client_id": nasty},
	} {
		t.Run(name, func(t *testing.T) {
			token := s.sign(t, headerUntyped, s.claims(t, claims))
			_, err := v.Verify(t.Context(), token)
			text := jwtverify.Explain(err)
			requireExplained(t, text)
			require.Contains(t, text, `"\n\r\x1b[31m\u202e\"; hint: \u00e9\U0001f600`)
			require.NotContains(t, text, strings.Repeat(`\U0001f600`, 20), text)
			require.Equal(t, name == "no aud", strings.Contains(text, `"…; hint: `), text)
		})
	}
	_, err := v.Verify(t.Context(), s.sign(t, headerUntyped, s.claims(t, map[string]any{"aud": []string{"a", "b", "c", "d"}})))
	require.True(t, strings.HasSuffix(jwtverify.Explain(err), `; came "a", "b", "c", …`), jwtverify.Explain(err))
}

func TestALongListOfTheConfigsLeavesRoomForTheHint(t *testing.T) {
	s := newSigner(t)
	v := s.verifierOf(t, func(c *jwtverify.Config) {
		for n := range 100 {
			c.Audience = append(c.Audience, fmt.Sprintf("https://api-%d.example.com", n))
		}
	})
	_, err := v.Verify(t.Context(), s.sign(t, headerUntyped, s.claims(t, map[string]any{"aud": "web", "client_id": "web"})))
	require.Contains(t, jwtverify.Explain(err), `.example.com", …; came "web"`)
	require.Contains(t, jwtverify.Explain(err), "; hint: aud is the client itself")
	require.Less(t, len(jwtverify.Explain(err)), 1000)
}

// An Error is often printed or sent on by what knows nothing of it. Nothing that
// does so gets at the Verifier, which has the claims of other tokens in its cache.
func TestPrintingAnErrorWholeShowsNothingOfItsVerifier(t *testing.T) {
	s := newSigner(t)
	v := s.verifier(t)
	requireAccepted(t, v, s.sign(t, headerUntyped, s.claims(t, map[string]any{"sub": "hunter2"})))
	_, err := v.Verify(t.Context(), s.sign(t, headerUntyped, s.claims(t, map[string]any{"iss": "x"})))
	text, fault := json.Marshal(err)
	require.NoError(t, fault)
	require.JSONEq(t, `{"Reason":"issuer","Detail":"iss is not the issuer","RetryAfter":0}`, string(text))
	require.Equal(t, "jwtverify: issuer: iss is not the issuer", fmt.Sprintf("%+v", err))
	var failure failed
	require.Equal(&failure, &jwtverify.Error{}, err) // which dumps both
	for _, text := range []string{fmt.Sprintf("%#v", err), string(failure)} {
		require.Contains(t, text, "iss is not the issuer")
		require.NotContains(t, text, "hunter2")
		require.NotContains(t, text, signerIssuer)
	}
}

// failed is what a failed assertion says.
type failed string

func (f *failed) Errorf(format string, args ...any) { *f += failed(fmt.Sprintf(format, args...)) }

func (*failed) FailNow() {}

// words are all that an explanation may show of a token.
func words(token string) (all []string) {
	segments := strings.Split(token, ".")
	for i, names := range [][]string{{"alg", "kid", "typ"}, {"iss", "aud", "client_id", "azp", "cid", "appid"}} {
		if i >= len(segments) {
			break
		}
		text, _ := decodeSegment(segments[i])
		var members map[string]any
		_ = json.Unmarshal(text, &members)
		for _, name := range names {
			switch value := members[name].(type) {
			case string:
				all = append(all, value)
			case []any:
				for _, element := range value {
					if s, ok := element.(string); ok {
						all = append(all, s)
					}
				}
			}
		}
	}
	return all
}

var quotedWord = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// FuzzExplain: any text is explained in bounded ASCII, whose quoted parts begin a
// word that may be shown, and whose other parts are nothing of the token's.
func FuzzExplain(f *testing.F) {
	s := newSigner(f)
	for _, claims := range []map[string]any{
		nil, {"iss": "x"}, {"iss": signerIssuer + "/"}, {"aud": "web", "azp": "web"}, {"aud": absent, "client_id": "web"},
		{"aud": []string{"a", "b", "c", strings.Repeat("d", 500)}}, {"exp": 1}, {"nbf": int64(1 << 40)}, {"nonce": "n"}, {"sub": 1},
	} {
		f.Add(s.sign(f, headerJWT, s.claims(f, claims)))
	}
	f.Add("Bearer a.b.c")
	f.Add("a.b.c.d.e")
	f.Add(s.sign(f, `{"alg":"none","kid":"\u202e"}`, `{}`))
	f.Add(s.sign(f, `{"alg":"ES256","kid":"`+strings.Repeat("k", 300)+`"}`, s.claims(f, nil)))
	config := jwtverify.Config{
		Issuer: signerIssuer, Audience: []string{signerAudience}, Keys: source{err: jwks.ErrKeyNotFound}, Now: func() time.Time { return signerTime },
	}
	lenient, err := jwtverify.New(config)
	require.NoError(f, err)
	config.Types = []string{"at+jwt"}
	strict, err := jwtverify.New(config)
	require.NoError(f, err)
	ours := append([]string{signerIssuer, signerAudience, "at+jwt", "Bearer "}, strings.Fields("RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519")...)
	f.Fuzz(func(t *testing.T, token string) {
		for _, v := range []*jwtverify.Verifier{lenient, strict} {
			_, err := v.Verify(t.Context(), token)
			require.Error(t, err)
			text := jwtverify.Explain(err)
			requireExplained(t, text)
			may := append(ours, words(token)...)
			for _, quoted := range quotedWord.FindAllString(text, -1) {
				word, err := strconv.Unquote(quoted)
				require.NoError(t, err)
				require.True(t, slices.ContainsFunc(may, func(m string) bool { return strings.HasPrefix(m, word) }), "%s in %s", quoted, text)
			}
			rest := quotedWord.ReplaceAllString(text, "")
			for _, segment := range strings.Split(token, ".") {
				if len(segment) >= 20 {
					require.NotContains(t, rest, segment)
				}
			}
		}
	})
}
