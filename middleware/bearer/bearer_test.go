package bearer_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/middleware/bearer"
)

func TestACredentialIsOneBearerToken(t *testing.T) {
	for name, c := range map[string]struct {
		values []string
		token  string
		err    error
	}{
		"none":                        {nil, "", bearer.ErrNoCredentials},
		"a token":                     {[]string{"Bearer a.b.c"}, "a.b.c", nil},
		"scheme in lower case":        {[]string{"bearer a.b.c"}, "a.b.c", nil},
		"scheme in upper case":        {[]string{"BEARER a.b.c"}, "a.b.c", nil},
		"several spaces":              {[]string{"Bearer   a.b.c"}, "a.b.c", nil},
		"the whole alphabet":          {[]string{"Bearer azAZ09-._~+/=="}, "azAZ09-._~+/==", nil},
		"another scheme":              {[]string{"Basic dXNlcjpwYXNz"}, "", bearer.ErrNoCredentials},
		"a scheme that begins alike":  {[]string{"BearerX a.b.c"}, "", bearer.ErrNoCredentials},
		"a bare token":                {[]string{"a.b.c"}, "", bearer.ErrNoCredentials},
		"empty":                       {[]string{""}, "", bearer.ErrMalformedRequest},
		"the scheme alone":            {[]string{"Bearer"}, "", bearer.ErrMalformedRequest},
		"the scheme and a space":      {[]string{"Bearer "}, "", bearer.ErrMalformedRequest},
		"a tab":                       {[]string{"Bearer\ta.b.c"}, "", bearer.ErrMalformedRequest},
		"a tab after the space":       {[]string{"Bearer \ta.b.c"}, "", bearer.ErrMalformedRequest},
		"a space before":              {[]string{" Bearer a.b.c"}, "", bearer.ErrMalformedRequest},
		"a space behind":              {[]string{"Bearer a.b.c "}, "", bearer.ErrMalformedRequest},
		"two tokens":                  {[]string{"Bearer a.b.c d.e.f"}, "", bearer.ErrMalformedRequest},
		"joined by a comma":           {[]string{"Bearer a.b.c, Bearer d.e.f"}, "", bearer.ErrMalformedRequest},
		"quoted":                      {[]string{`Bearer "a.b.c"`}, "", bearer.ErrMalformedRequest},
		"parameters":                  {[]string{`Bearer token="a.b.c"`}, "", bearer.ErrMalformedRequest},
		"padding only":                {[]string{"Bearer =="}, "", bearer.ErrMalformedRequest},
		"padding inside":              {[]string{"Bearer a=b"}, "", bearer.ErrMalformedRequest},
		"a line break":                {[]string{"Bearer a.b.c\r\nX: y"}, "", bearer.ErrMalformedRequest},
		"a NUL":                       {[]string{"Bearer a.b\x00.c"}, "", bearer.ErrMalformedRequest},
		"not ASCII":                   {[]string{"Bearer é.b.c"}, "", bearer.ErrMalformedRequest},
		"two fields joined":           {[]string{"Basic dXNlcjpwYXNz, bearer a.b.c"}, "", bearer.ErrMalformedRequest},
		"joined with a tab":           {[]string{"Basic dXNlcjpwYXNz,\tBearer a.b.c"}, "", bearer.ErrMalformedRequest},
		"a scheme beyond ASCII":       {[]string{"B\xe9arer a.b.c"}, "", bearer.ErrMalformedRequest},
		"a scheme with a DEL":         {[]string{"Basic\x7f dXNlcjpwYXNz"}, "", bearer.ErrMalformedRequest},
		"another scheme's parameters": {[]string{`Digest username="u", realm="r", uri="/"`}, "", bearer.ErrNoCredentials},
		"two fields":                  {[]string{"Bearer a.b.c", "Bearer a.b.c"}, "", bearer.ErrMalformedRequest},
		"another scheme and a bearer": {[]string{"Basic dXNlcjpwYXNz", "Bearer a.b.c"}, "", bearer.ErrMalformedRequest},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := bearer.Token(c.values)
			require.Equal(t, c.err, err)
			require.Equal(t, c.token, token)
		})
	}
}

func TestABareCredentialIsOneToken(t *testing.T) {
	for _, c := range []struct {
		values []string
		err    error
	}{
		{nil, bearer.ErrNoCredentials},
		{[]string{"a.b.c"}, nil},
		{[]string{""}, bearer.ErrMalformedRequest},
		{[]string{"Bearer a.b.c"}, bearer.ErrMalformedRequest},
		{[]string{"a.b.c", "a.b.c"}, bearer.ErrMalformedRequest},
	} {
		token, err := bearer.Bare(c.values)
		require.Equal(t, c.err, err)
		require.Equal(t, err == nil, token == "a.b.c")
	}
}

func FuzzToken(f *testing.F) {
	for _, seed := range []string{"", "Bearer", "Bearer a.b.c", "bearer  x==", "Basic dTpw", "Bearer a,b", "Bearer\ta", "Bearer \x00", "ſ Bearer a", "Bearer é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		token, err := bearer.Token([]string{value})
		if err != nil {
			require.Empty(t, token)
			require.True(t, err == bearer.ErrNoCredentials || err == bearer.ErrMalformedRequest)
			return
		}
		require.Regexp(t, regexp.MustCompile(`\A[A-Za-z0-9._~+/-]+=*\z`), token)
		require.Regexp(t, regexp.MustCompile(`\A(?i:bearer) +\z`), strings.TrimSuffix(value, token))
		_, err = bearer.Token([]string{value, value})
		require.Equal(t, bearer.ErrMalformedRequest, err)
	})
}

type verifierFunc func() (*jwtverify.Token, error)

func (f verifierFunc) Verify(context.Context, string) (*jwtverify.Token, error) { return f() }

// What a Verifier may return, and what becomes of it.
func TestAnOutageIsNeverTakenForABadToken(t *testing.T) {
	invalid, token := jwtverify.ErrExpired, &jwtverify.Token{}
	outage := &jwtverify.Error{Reason: jwtverify.ErrUnavailable, RetryAfter: 1500 * time.Millisecond}
	const userReason jwtverify.Reason = "tenant"
	for name, c := range map[string]struct {
		token  *jwtverify.Token
		err    error
		status int
		code   string
		retry  time.Duration
	}{
		"expired":                       {nil, &jwtverify.Error{Reason: invalid}, 401, "invalid_token", 0},
		"a bare reason":                 {nil, invalid, 401, "invalid_token", 0},
		"a reason of the user's own":    {nil, fmt.Errorf("no: %w", userReason), 401, "invalid_token", 0},
		"an error beside a token":       {token, invalid, 401, "invalid_token", 0},
		"unavailable":                   {nil, outage, 503, "", 1500 * time.Millisecond},
		"unavailable, wrapped":          {nil, fmt.Errorf("span: %w", outage), 503, "", 1500 * time.Millisecond},
		"unavailable, no time":          {nil, jwtverify.ErrUnavailable, 503, "", time.Second},
		"unavailable, a zero time":      {nil, &jwtverify.Error{Reason: jwtverify.ErrUnavailable}, 503, "", time.Second},
		"unavailable and invalid":       {nil, errors.Join(invalid, outage), 503, "", time.Second},
		"nothing at all":                {nil, nil, 503, "", time.Second},
		"an error that nobody knows":    {nil, errors.New("boom"), 503, "", time.Second},
		"a context's error":             {nil, context.Canceled, 503, "", time.Second},
		"an error of this package's":    {nil, bearer.ErrNoCredentials, 503, "", time.Second},
		"another error of this package": {nil, bearer.ErrForbidden, 503, "", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := bearer.Authenticate(t.Context(), verifierFunc(func() (*jwtverify.Token, error) { return c.token, c.err }), "a.b.c")
			require.Nil(t, got)
			require.Error(t, err, "no token, no silence")
			d := bearer.Decide(err)
			require.Equal(t, c.status, d.Status)
			require.Equal(t, c.code, d.Code)
			require.Equal(t, c.status != 503, d.Challenge, "an outage is no challenge")
			if name != "unavailable and invalid" {
				require.Equal(t, c.retry, d.RetryAfter)
			}
		})
	}
}

func TestWithoutAVerifierNobodyGetsIn(t *testing.T) {
	token, err := new(bearer.Guard).Admit(t.Context(), "a.b.c", nil)
	require.Nil(t, token)
	require.Equal(t, 503, bearer.Decide(err).Status)
}

func TestTheAnswerNamesTheErrorOnlyToThoseWhoSentAToken(t *testing.T) {
	for err, want := range map[error]bearer.Decision{
		bearer.ErrNoCredentials:    {Status: 401, Challenge: true, GRPC: 16},
		bearer.ErrMalformedRequest: {Status: 400, Challenge: true, Code: "invalid_request", GRPC: 16, Reason: "INVALID_TOKEN"},
		bearer.ErrStreamExpired:    {Status: 401, Challenge: true, Code: "invalid_token", GRPC: 16, Reason: "TOKEN_EXPIRED"},
		bearer.ErrForbidden:        {Status: 403, Challenge: true, Code: "insufficient_scope", GRPC: 7, Reason: "INSUFFICIENT_SCOPE"},
		jwtverify.ErrExpired:       {Status: 401, Challenge: true, Code: "invalid_token", GRPC: 16, Reason: "INVALID_TOKEN"},
		jwtverify.ErrUnavailable:   {Status: 503, GRPC: 14, Reason: "UNAVAILABLE", RetryAfter: time.Second},
		errors.New("unknown"):      {Status: 503, GRPC: 14, Reason: "UNAVAILABLE", RetryAfter: time.Second},
	} {
		got := bearer.Decide(err)
		require.NotEmpty(t, got.Detail)
		got.Detail = ""
		require.Equal(t, want, got, err.Error())
	}
}

func TestARuleIsAskedOnlyAboutAToken(t *testing.T) {
	token := &jwtverify.Token{Scopes: []string{"a"}}
	require.NoError(t, bearer.Authorize(t.Context(), jwtverify.Scopes("a"), token))
	require.Equal(t, bearer.ErrForbidden, bearer.Authorize(t.Context(), jwtverify.Scopes("b"), token))
	require.Equal(t, bearer.ErrForbidden, bearer.Authorize(t.Context(), jwtverify.Rule{}, token))
	require.Equal(t, bearer.ErrNoCredentials, bearer.Authorize(t.Context(), jwtverify.Scopes("a"), nil))
}

// What something outer put in the context is another token, perhaps of another
// issuer.
func TestARuleFindsItsOwnTokenInTheContext(t *testing.T) {
	token := &jwtverify.Token{Subject: "alice"}
	rule := jwtverify.RuleFunc("own", func(ctx context.Context, given *jwtverify.Token) bool {
		found, ok := jwtverify.FromContext(ctx)
		return ok && found == token && given == token
	})
	outer := jwtverify.NewContext(t.Context(), &jwtverify.Token{Subject: "mallory"})
	require.NoError(t, bearer.Authorize(t.Context(), rule, token))
	require.NoError(t, bearer.Authorize(outer, rule, token))
}

func TestChallenge(t *testing.T) {
	require.Equal(t, `Bearer realm="api"`, bearer.Challenge{}.String())
	require.Equal(t, `Bearer realm="say \"hi\" \\o/"`, bearer.Challenge{Realm: "say \"hi\" \\o/\r\n"}.String())
	require.Equal(t, `Bearer realm="api", error="insufficient_scope", `+
		`error_description="The access token does not have the scopes or roles that are needed", scope="read:a write:b"`,
		bearer.Challenge{Code: "insufficient_scope", Scopes: []string{"read:a", "", "write\":b\n"}}.String())
}

// parseChallenge reads a challenge by the grammars of RFC 9110 §11.6.1 and RFC
// 6750 §3, and knows nothing of how it was written.
func parseChallenge(t *testing.T, text string) map[string]string {
	rest, ok := strings.CutPrefix(text, "Bearer ")
	require.True(t, ok, text)
	params := map[string]string{}
	parameter := regexp.MustCompile(`\A([a-z_]+)="((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*)"(, |\z)`)
	for rest != "" {
		m := parameter.FindStringSubmatch(rest)
		require.NotNil(t, m, "%q stands where a parameter should", rest)
		require.NotContains(t, params, m[1], "each parameter once")
		params[m[1]] = m[2]
		rest = rest[len(m[0]):]
		require.False(t, rest == "" && m[3] != "", "a comma leads nowhere")
	}
	return params
}

func FuzzChallenge(f *testing.F) {
	f.Add("api", "invalid_token", "read write")
	f.Add("", "", "")
	f.Add("a\"\\\r\n\x00é", "in\"valid\r\nSet-Cookie: a=b", "re\"ad \\ \n \x7f x")
	f.Fuzz(func(t *testing.T, realm, code, scopes string) {
		text := bearer.Challenge{Realm: realm, Code: code, Scopes: strings.Split(scopes, " ")}.String()
		params := parseChallenge(t, text)
		require.Contains(t, params, "realm")
		for name, alphabet := range map[string]string{
			"error": `\A[\x21\x23-\x5b\x5d-\x7e]+\z`, "error_description": `\A[\x20-\x21\x23-\x5b\x5d-\x7e]+\z`,
			"scope": `\A[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*\z`,
		} {
			if value, ok := params[name]; ok {
				require.Regexp(t, regexp.MustCompile(alphabet), value)
			}
		}
	})
}

func TestAContextEndsWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		ctx, cancel := bearer.Until(t.Context(), &jwtverify.Token{ValidUntil: now.Add(time.Minute)}, now)
		defer cancel()
		time.Sleep(time.Minute - time.Nanosecond)
		synctest.Wait()
		require.NoError(t, ctx.Err())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.ErrorIs(t, context.Cause(ctx), jwtverify.ErrExpired)

		ctx, cancel = bearer.Until(t.Context(), &jwtverify.Token{}, now)
		defer cancel()
		require.ErrorIs(t, context.Cause(ctx), jwtverify.ErrExpired, "a token that does not say when it ends, since no end would be one by accident")

		ctx, cancel = bearer.Until(t.Context(), nil, now)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		require.NoError(t, ctx.Err())
		cancel()
		require.ErrorIs(t, context.Cause(ctx), context.Canceled)
	})
}

func TestAGuardSaysWhatItLacks(t *testing.T) {
	var none *jwtverify.Verifier
	g := bearer.Guard{Verifier: none, Realm: "é"}
	require.ErrorContains(t, g.Validate(), "Config.Verifier is required")
	require.ErrorContains(t, g.Validate(), "Config.Realm is")
	require.Nil(t, g.With().Rule)
	g = bearer.Guard{Realm: "orders"}.With(jwtverify.Scopes("a"), jwtverify.AnyScope("b", "c"))
	require.Equal(t, bearer.Challenge{Realm: "orders", Code: "insufficient_scope", Scopes: g.Rule.Scopes()}.String(),
		g.Challenge(bearer.Decide(bearer.ErrForbidden)))
	require.Equal(t, `Bearer realm="orders"`, g.Challenge(bearer.Decide(bearer.ErrNoCredentials)), "no scope for who sent nothing")
	require.Empty(t, g.Challenge(bearer.Decide(jwtverify.ErrUnavailable)))
}

func TestACharacterOutsideTheAlphabetIsFoundWhereverItStands(t *testing.T) {
	alphabet := regexp.MustCompile(`\A[A-Za-z0-9._~+/-]\z`)
	for c := range 256 {
		for at := range 19 {
			token := []byte(strings.Repeat("a", 20))
			token[at] = byte(c)
			_, err := bearer.Token([]string{"Bearer " + string(token)})
			fits := alphabet.Match([]byte{byte(c)}) || c == ' ' && at == 0 // one more space before the token
			require.Equal(t, fits, err == nil, "%q at %d", c, at)
		}
	}
}
