package introspect_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/introspect"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

func TestAnActiveTokenIsATokenOfTheIssuers(t *testing.T) {
	e, i := world(t)
	exp := time.Now().Add(time.Hour).Truncate(time.Second)
	e.say(says(active(e.URL, claims{"exp": exp.Unix(), "tenant": "acme"})))
	token, err := i.Verify(t.Context(), opaque)
	require.NoError(t, err)
	require.Equal(t, e.URL, token.Issuer)
	require.Equal(t, "alice", token.Subject)
	require.Equal(t, "shop", token.ClientID)
	require.Equal(t, "id-1", token.ID)
	require.Equal(t, []string{audience}, token.Audience)
	require.True(t, token.HasScope("read:orders", "write:orders"))
	require.True(t, exp.Equal(token.Expiry))
	require.Equal(t, 30*time.Second, token.ValidUntil.Sub(token.Expiry), "leeway")
	all, err := jwtverify.Claims[struct {
		Tenant string `json:"tenant"`
	}](token)
	require.NoError(t, err)
	require.Equal(t, "acme", all.Tenant)

	r, form := e.request()
	require.Equal(t, http.MethodPost, r.Method)
	require.Equal(t, []string{opaque}, form["token"])
	require.Equal(t, []string{"access_token"}, form["token_type_hint"])
	require.Equal(t, "application/json", r.Header.Get("Accept"))
}

// RFC 7662 §4: that a token is active is not all that a resource server has to know.
func TestTheRestOfAnAnswerDecidesToo(t *testing.T) {
	now := time.Now().Unix()
	optional := func(c *introspect.Config) { c.AudienceOptional = true }
	required := func(c *introspect.Config) { c.IssuerRequired = true }
	strict := func(c *introspect.Config) { c.RefuseSenderConstrained = true }
	none := func(c *introspect.Config) { c.Leeway = -1 }
	for name, c := range map[string]struct {
		answer claims
		config func(*introspect.Config)
		reason jwtverify.Reason // "": accepted
	}{
		"inactive":                              {answer: claims{"active": false}, reason: jwtverify.ErrInactive},
		"inactive, whatever else it says":       {answer: claims{"active": false, "iss": 7, "aud": nil}, reason: jwtverify.ErrInactive},
		"active is a string":                    {answer: claims{"active": "true"}, reason: jwtverify.ErrUnavailable},
		"active is a number":                    {answer: claims{"active": 1}, reason: jwtverify.ErrUnavailable},
		"active is an array":                    {answer: claims{"active": []bool{true}}, reason: jwtverify.ErrUnavailable},
		"active is missing":                     {answer: claims{"active": nil}, reason: jwtverify.ErrUnavailable},
		"active in another case":                {answer: claims{"active": nil, "Active": true}, reason: jwtverify.ErrUnavailable},
		"no iss":                                {answer: claims{"iss": nil}},
		"no iss where one is required":          {answer: claims{"iss": nil}, config: required, reason: jwtverify.ErrClaims},
		"an iss where one is required":          {config: required},
		"another iss":                           {answer: claims{"iss": "https://other.example"}, reason: jwtverify.ErrIssuer},
		"an empty iss":                          {answer: claims{"iss": ""}, reason: jwtverify.ErrIssuer},
		"an iss that is no string":              {answer: claims{"iss": 7}, reason: jwtverify.ErrClaims},
		"no aud":                                {answer: claims{"aud": nil}, reason: jwtverify.ErrClaims},
		"no aud where it is optional":           {answer: claims{"aud": nil}, config: optional},
		"another aud":                           {answer: claims{"aud": "https://billing.example"}, reason: jwtverify.ErrAudience},
		"another aud where it is optional":      {answer: claims{"aud": "https://billing.example"}, config: optional, reason: jwtverify.ErrAudience},
		"no element in aud":                     {answer: claims{"aud": []string{}}, config: optional, reason: jwtverify.ErrAudience},
		"ours among the aud":                    {answer: claims{"aud": []string{"https://billing.example", audience}}},
		"an aud that is no list of strings":     {answer: claims{"aud": []any{audience, 7}}, reason: jwtverify.ErrClaims},
		"our aud with a slash at its end":       {answer: claims{"aud": audience + "/"}, reason: jwtverify.ErrAudience},
		"our aud in another case":               {answer: claims{"aud": strings.ToUpper(audience)}, reason: jwtverify.ErrAudience},
		"a prefix of our aud":                   {answer: claims{"aud": audience[:len(audience)-1]}, reason: jwtverify.ErrAudience},
		"no exp":                                {answer: claims{"exp": nil}},
		"exp within leeway":                     {answer: claims{"exp": now - 10}},
		"exp without leeway":                    {answer: claims{"exp": now - 10}, config: none, reason: jwtverify.ErrExpired},
		"exp long ago":                          {answer: claims{"exp": now - 60}, reason: jwtverify.ErrExpired},
		"exp at the beginning of time":          {answer: claims{"exp": 0}, reason: jwtverify.ErrExpired},
		"exp as a string":                       {answer: claims{"exp": strconv.FormatInt(now+60, 10)}, reason: jwtverify.ErrClaims},
		"exp in milliseconds":                   {answer: claims{"exp": (now + 60) * 1000}, reason: jwtverify.ErrClaims},
		"nbf ahead":                             {answer: claims{"nbf": now + 60}, reason: jwtverify.ErrNotYetValid},
		"nbf ahead within leeway":               {answer: claims{"nbf": now + 10}},
		"iat ahead":                             {answer: claims{"iat": now + 60}, reason: jwtverify.ErrNotYetValid},
		"no token_type":                         {answer: claims{"token_type": nil}},
		"token_type in another case":            {answer: claims{"token_type": "bearer"}},
		"token_type DPoP":                       {answer: claims{"token_type": "DPoP"}, reason: jwtverify.ErrType},
		"token_type of a refresh token":         {answer: claims{"token_type": "refresh_token"}, reason: jwtverify.ErrType},
		"token_type that is no string":          {answer: claims{"token_type": []string{"Bearer"}}, reason: jwtverify.ErrType},
		"typ of a refresh token":                {answer: claims{"typ": "Refresh"}, reason: jwtverify.ErrType},
		"typ of an ID token":                    {answer: claims{"typ": "ID"}, reason: jwtverify.ErrType},
		"typ of an offline token":               {answer: claims{"typ": "Offline"}, reason: jwtverify.ErrType},
		"typ of a logout token":                 {answer: claims{"typ": "Logout"}, reason: jwtverify.ErrType},
		"typ of an access token":                {answer: claims{"typ": "Bearer"}},
		"token_use of an ID token":              {answer: claims{"token_use": "id"}, reason: jwtverify.ErrType},
		"token_use of an access token":          {answer: claims{"token_use": "access"}},
		"token_use as Hydra and Dex have it":    {answer: claims{"token_use": "access_token"}},
		"token_use of a refresh token":          {answer: claims{"token_use": "refresh_token"}, reason: jwtverify.ErrType},
		"token_use that is no string":           {answer: claims{"token_use": []string{"access_token"}}, reason: jwtverify.ErrType},
		"a nonce":                               {answer: claims{"nonce": "x"}, reason: jwtverify.ErrType},
		"a nonce, as Keycloak before 25 has it": {answer: claims{"nonce": "x", "typ": "Bearer"}},
		"a nonce in an ID token":                {answer: claims{"nonce": "x", "typ": "ID"}, reason: jwtverify.ErrType},
		"at_hash in a token of typ Bearer":      {answer: claims{"at_hash": "x", "typ": "Bearer"}, reason: jwtverify.ErrType},
		"cnf":                                   {answer: claims{"cnf": claims{"jkt": "x"}}},
		"cnf where it is refused":               {answer: claims{"cnf": claims{"jkt": "x"}}, config: strict, reason: jwtverify.ErrClaims},
		"an empty sub":                          {answer: claims{"sub": ""}, reason: jwtverify.ErrClaims},
		"a scope that is a number":              {answer: claims{"scope": 7}, reason: jwtverify.ErrClaims},
		"an audience that is only in the scope": {answer: claims{"aud": nil, "scope": audience}, reason: jwtverify.ErrClaims},
	} {
		t.Run(name, func(t *testing.T) {
			e, i := world(t, func(config *introspect.Config) {
				if c.config != nil {
					c.config(config)
				}
			})
			e.say(says(active(e.URL, c.answer)))
			if c.reason != "" {
				requireReason(t, i, opaque, c.reason)
				return
			}
			token, err := i.Verify(t.Context(), opaque)
			require.NoError(t, err)
			require.Equal(t, e.URL, token.Issuer)
			require.True(t, token.ValidUntil.After(time.Now()))
			require.False(t, token.ValidUntil.After(time.Now().Add(time.Hour+time.Minute)))
		})
	}
}

// An answer has only one spelling of the issuer: a tenant's name in other letters is
// another tenant.
func TestIssOfAnAnswerIsTheIssuerLetterByLetter(t *testing.T) {
	e, i := world(t)
	for n, iss := range []string{strings.ToUpper(e.URL), e.URL + "/", " " + e.URL, e.URL[:len(e.URL)-1]} {
		e.say(says(active(iss, nil)))
		requireReason(t, i, "token-"+strconv.Itoa(n), jwtverify.ErrIssuer)
	}
}

// A Verifier and an Introspector must not differ about what shows another kind of token.
func TestWhatShowsAVerifierAnotherKindOfTokenShowsAnIntrospectorToo(t *testing.T) {
	b := newBoth(t)
	for name, value := range map[string]any{
		"at_hash": "x", "c_hash": "x", "nonce": "x", "events": claims{}, "htm": "GET", "htu": "x", "ath": "x",
		"token_introspection": claims{}, "status_list": claims{}, "token_use": "refresh_token", "typ": "ID",
	} {
		requireReason(t, b.jwt, b.issuer.Mint(jwttest.Header{"typ": "JWT"}, jwttest.Claims{name: value}), jwtverify.ErrType)
		b.say(says(active(b.issuer.URL, claims{name: value})))
		refused := requireReason(t, b.opaque, "token-with-"+name, jwtverify.ErrType)
		require.Contains(t, refused.Detail, name)
	}
}

func TestATokenWithoutExpIsGoodForAsLongAsAnAnswerIsKept(t *testing.T) {
	e, i := world(t, func(c *introspect.Config) { c.TTL = time.Minute })
	e.say(says(active(e.URL, claims{"exp": nil})))
	before := time.Now()
	token, err := i.Verify(t.Context(), opaque)
	require.NoError(t, err)
	require.Zero(t, token.Expiry)
	require.False(t, token.ValidUntil.Before(before.Add(time.Minute)))
	require.False(t, token.ValidUntil.After(time.Now().Add(time.Minute)))
}

// What comes with status 200 and is no answer says nothing about the token.
func TestWhatIsNoAnswerIsAnOutageAndNotARefusal(t *testing.T) {
	const ok = `{"active":true,"aud":"` + audience + `"}`
	for name, answer := range map[string]http.HandlerFunc{
		"nothing":                  saysText("application/json", ""),
		"a page":                   saysText("text/html", "<title>Welcome</title>"),
		"a page that says JSON":    saysText("application/json", "<title>Welcome</title>"),
		"another media type":       saysText("text/json", ok),
		"no media type":            saysText("", ok),
		"a JWT that nobody wanted": saysText("application/token-introspection+jwt", "a.b.c"),
		"JSON cut short":           saysText("application/json", ok[:len(ok)-1]),
		"two objects":              saysText("application/json", ok+ok),
		"an array":                 saysText("application/json", "["+ok+"]"),
		"active twice":             saysText("application/json", `{"active":false,"active":true,"aud":"`+audience+`"}`),
		"aud twice":                saysText("application/json", `{"active":true,"aud":"x","aud":"`+audience+`"}`),
		"invalid UTF-8":            saysText("application/json", `{"active":true,"aud":"`+audience+`","x":"`+"\xff"+`"}`),
		"nested too deep":          saysText("application/json", `{"active":true,"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`}`),
		"too large":                saysText("application/json", `{"active":true,"x":"`+strings.Repeat("x", 300<<10)+`"}`),
		"204":                      fails(204),
	} {
		t.Run(name, func(t *testing.T) {
			e, i := world(t)
			e.say(answer)
			err := requireReason(t, i, opaque, jwtverify.ErrUnavailable)
			if name != "204" {
				require.Equal(t, time.Second, err.RetryAfter)
				requireReason(t, i, opaque, jwtverify.ErrUnavailable)
				require.EqualValues(t, 1, e.asked.Load(), "remembered for that token")
				e.say(says(active(e.URL, nil)))
				_, other := i.Verify(t.Context(), "another")
				require.NoError(t, other, "one token's trouble is nobody else's")
			}
		})
	}
}

func TestScopesAndRolesStandWhereTheConfigSays(t *testing.T) {
	e, i := world(t, func(c *introspect.Config) {
		c.Scopes = [][]string{{"permissions"}, {"scope"}}
		c.Roles = [][]string{{"realm_access", "roles"}, {"role"}}
	})
	e.say(says(active(e.URL, claims{
		"permissions": []string{"a", "b"}, "scope": " c  d\te ",
		"realm_access": claims{"roles": []string{"admin"}, "other": 1}, "role": "clerk of the court",
	})))
	token, err := i.Verify(t.Context(), opaque)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a", "b", "c", "d\te"}, token.Scopes)
	require.ElementsMatch(t, []string{"admin", "clerk of the court"}, token.Roles)

	for name, fault := range map[string]claims{
		"a number": {"role": 7}, "an element": {"permissions": []any{"a", 1}}, "an object": {"permissions": claims{"a": true}},
	} {
		e.say(says(active(e.URL, fault)))
		requireReason(t, i, "token-with-"+strings.ReplaceAll(name, " ", "-"), jwtverify.ErrClaims)
	}
}

// Zitadel's way, which a Verifier takes too: the roles are the names of members.
func TestRolesMayBeTheNamesInAnObject(t *testing.T) {
	const member = "urn:zitadel:iam:org:project:roles"
	e, i := world(t, func(c *introspect.Config) { c.Roles = [][]string{{member}, {"nested", "roles"}} })
	e.say(says(active(e.URL, claims{
		member:   claims{"admin": claims{"1": "example.com"}, "clérk": claims{}},
		"nested": claims{"roles": claims{"reader": 1}},
	})))
	token, err := i.Verify(t.Context(), opaque)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"admin", "clérk", "reader"}, token.Roles)

	e.say(says(active(e.URL, claims{member: claims{}})))
	token, err = i.Verify(t.Context(), "no-roles")
	require.NoError(t, err)
	require.Empty(t, token.Roles)
}

// RFC 6750 §2.1; and no issuer hands out what its clients could not send.
func TestATokenThatNobodyIssuesIsRefusedWithoutAnExchange(t *testing.T) {
	e, i := world(t)
	for _, token := range []string{
		"", "=", "a b", "a\n", "a\x00b", "ü", "a=b", "%41", `"`, "a,b", "{}", strings.Repeat("a", 16<<10+1),
	} {
		_, err := i.Verify(t.Context(), token)
		require.ErrorIs(t, err, jwtverify.ErrMalformed, "%q", token)
	}
	require.Zero(t, e.asked.Load())
	_, err := i.Verify(t.Context(), strings.Repeat("a", 16<<10))
	require.NoError(t, err)
}

// inAMinute is an error like those of package jwks.
type inAMinute struct{}

func (inAMinute) Error() string { return "later" }

func (inAMinute) RetryAfter() time.Duration { return time.Minute }

func TestChecksHaveTheLastWordEachTime(t *testing.T) {
	const errTenant jwtverify.Reason = "tenant"
	var verdict error
	e, i := world(t, func(c *introspect.Config) {
		c.Checks = []func(context.Context, *jwtverify.Token) error{
			func(_ context.Context, token *jwtverify.Token) error { token.Scopes[0] = "changed"; return nil },
			func(context.Context, *jwtverify.Token) error { return verdict },
		}
	})
	for _, c := range []struct {
		says   error
		reason jwtverify.Reason
	}{
		{nil, ""}, {errTenant, errTenant}, {jwtverify.ErrRevoked, jwtverify.ErrRevoked}, {context.Canceled, jwtverify.ErrUnavailable},
		{&jwtverify.Error{Reason: jwtverify.ErrUnavailable, RetryAfter: time.Minute}, jwtverify.ErrUnavailable}, {http.ErrNoCookie, jwtverify.ErrRejected},
		{fmt.Errorf("%w: %w", jwtverify.ErrUnavailable, inAMinute{}), jwtverify.ErrUnavailable},
	} {
		verdict = c.says
		token, err := i.Verify(t.Context(), opaque)
		require.Equal(t, c.reason, jwtverify.ReasonOf(err))
		var own *jwtverify.Error
		if errors.As(err, &own) && own.Reason == jwtverify.ErrUnavailable && c.says != context.Canceled {
			require.Equal(t, time.Minute, own.RetryAfter)
		}
		if c.says == nil {
			require.Equal(t, "changed", token.Scopes[0])
		}
	}
	require.EqualValues(t, 1, e.asked.Load())
}

// An issuer that says the token again would have it kept with the answer: in memory, and
// in whatever is dumped of that. However it spells it, such an answer counts and is not
// kept, and the operator hears why the issuer is asked each time.
func TestAnAnswerThatRepeatsTheTokenIsNotKept(t *testing.T) {
	escaped := strings.NewReplacer("/", `\/`, "o", `\u006f`).Replace(opaque)
	for name, c := range map[string]struct{ token, more string }{
		"in a claim":           {opaque, `"token":"` + opaque + `"`},
		"as the subject":       {opaque, `"sub":"` + opaque + `"`},
		"with a scheme before": {opaque, `"x":"Bearer ` + opaque + `"`},
		"escaped":              {opaque, `"x":"` + escaped + `"`},
		"nested":               {opaque, `"x":[1,{"y":[null,{"z":"` + escaped + `"}]}]`},
		"as a name":            {opaque, `"x":{"` + escaped + `":1}`},
		"as the first name":    {opaque, `"` + opaque + `":true`},
		"as a number":          {"31415926535897", `"x":[31415926535897]`},
	} {
		t.Run(name, func(t *testing.T) {
			var log journal
			e, i := world(t, func(c *introspect.Config) { c.Logger = log.logger() })
			e.say(saysText("application/json", `{"active":true,"aud":"`+audience+`",`+c.more+`}`))
			for n := range 3 {
				token, err := i.Verify(t.Context(), c.token)
				require.NoError(t, err)
				require.True(t, token.ValidUntil.After(time.Now()))
				require.EqualValues(t, n+1, e.asked.Load())
				require.Zero(t, i.Status().Active.Entries)
			}
			require.Equal(t, 1, strings.Count(log.String(), "level=ERROR"), log.String())
			require.Contains(t, log.String(), "repeats the token")
			require.NotContains(t, log.String(), c.token)

			_, err := i.Verify(t.Context(), "another")
			require.NoError(t, err)
			require.Equal(t, 1, i.Status().Active.Entries, "nor is it held against other tokens")
		})
	}
}
