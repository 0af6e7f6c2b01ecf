package introspect_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwks"
	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/introspect"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

const signedType = "application/token-introspection+jwt"

// signedWorld is an issuer whose endpoint signs its answers (RFC 9701): as it should,
// but for changes to the header and the claims.
type signedWorld struct {
	*endpoint
	issuer *jwttest.Issuer
	*introspect.Introspector
}

func newSignedWorld(t *testing.T) *signedWorld {
	w := &signedWorld{issuer: jwttest.NewIssuer(clientID)}
	t.Cleanup(w.issuer.Close)
	w.endpoint = newEndpoint(t, nil)
	c := w.config()
	c.Issuer, c.Signed = w.issuer.URL, true
	w.Introspector = start(t, c)
	return w
}

func (w *signedWorld) sign(header jwttest.Header, changes jwttest.Claims) string {
	h := jwttest.Header{"typ": "token-introspection+jwt"}
	for name, value := range header {
		h[name] = value
	}
	all := jwttest.Claims{
		"sub": nil, "client_id": nil, "exp": nil, "jti": nil, "iat": time.Now().Unix(),
		"token_introspection": active(w.issuer.URL, nil),
	}
	for name, value := range changes {
		all[name] = value
	}
	return w.issuer.Mint(h, all)
}

func TestASignedAnswerIsOneOfTheIssuersForThisClient(t *testing.T) {
	now := time.Now().Unix()
	for name, c := range map[string]struct {
		header jwttest.Header
		claims jwttest.Claims
		change func(string) string
		reason jwtverify.Reason // "": accepted
		detail string
	}{
		"as it should be":                     {},
		"typ written out":                     {header: jwttest.Header{"typ": signedType}},
		"another type of JWT":                 {header: jwttest.Header{"typ": "at+jwt"}, reason: jwtverify.ErrUnavailable, detail: "typ"},
		"no typ":                              {header: jwttest.Header{"typ": nil}, reason: jwtverify.ErrUnavailable, detail: "typ"},
		"typ JWT":                             {header: jwttest.Header{"typ": "JWT"}, reason: jwtverify.ErrUnavailable, detail: "typ"},
		"alg none":                            {header: jwttest.Header{"alg": "none"}, reason: jwtverify.ErrUnavailable, detail: "signature"},
		"alg HS256":                           {header: jwttest.Header{"alg": "HS256"}, reason: jwtverify.ErrUnavailable, detail: "alg"},
		"alg HS384":                           {header: jwttest.Header{"alg": "HS384"}, reason: jwtverify.ErrUnavailable, detail: "alg"},
		"alg HS512":                           {header: jwttest.Header{"alg": "HS512"}, reason: jwtverify.ErrUnavailable, detail: "alg"},
		"another alg than the key's":          {header: jwttest.Header{"alg": "RS256"}, reason: jwtverify.ErrUnavailable, detail: "key"},
		"an unknown kid":                      {header: jwttest.Header{"kid": "none"}, reason: jwtverify.ErrUnavailable, detail: "key"},
		"an empty kid":                        {header: jwttest.Header{"kid": ""}, reason: jwtverify.ErrUnavailable, detail: "kid"},
		"a kid of more than 512 bytes":        {header: jwttest.Header{"kid": strings.Repeat("k", 513)}, reason: jwtverify.ErrUnavailable, detail: "kid is empty or too long"},
		"b64":                                 {header: jwttest.Header{"b64": true}, reason: jwtverify.ErrUnavailable, detail: "b64"},
		"enc":                                 {header: jwttest.Header{"enc": "A256GCM"}, reason: jwtverify.ErrUnavailable, detail: "enc"},
		"crit":                                {header: jwttest.Header{"crit": []string{"x"}}, reason: jwtverify.ErrUnavailable, detail: "crit"},
		"cty":                                 {header: jwttest.Header{"cty": "JWT"}, reason: jwtverify.ErrUnavailable, detail: "cty"},
		"another issuer":                      {claims: jwttest.Claims{"iss": "https://other.example"}, reason: jwtverify.ErrUnavailable, detail: "iss"},
		"no issuer":                           {claims: jwttest.Claims{"iss": nil}, reason: jwtverify.ErrUnavailable, detail: "iss"},
		"for another client":                  {claims: jwttest.Claims{"aud": "another"}, reason: jwtverify.ErrUnavailable, detail: "aud"},
		"for this API and not for its client": {claims: jwttest.Claims{"aud": audience}, reason: jwtverify.ErrUnavailable, detail: "aud"},
		"for others too":                      {claims: jwttest.Claims{"aud": []string{"another", clientID}}},
		"no iat":                              {claims: jwttest.Claims{"iat": nil}, reason: jwtverify.ErrUnavailable, detail: "iat"},
		"an old answer":                       {claims: jwttest.Claims{"iat": now - 100}, reason: jwtverify.ErrUnavailable, detail: "iat"},
		"an answer of a minute ago":           {claims: jwttest.Claims{"iat": now - 60}},
		"an answer from ahead":                {claims: jwttest.Claims{"iat": now + 60}, reason: jwtverify.ErrUnavailable, detail: "iat"},
		"exp that has passed":                 {claims: jwttest.Claims{"exp": now - 60}, reason: jwtverify.ErrUnavailable, detail: "exp"},
		"an iat before all time":              {claims: jwttest.Claims{"iat": -1}, reason: jwtverify.ErrUnavailable, detail: "iat is no date"},
		"an exp beyond all time":              {claims: jwttest.Claims{"exp": 1e300}, reason: jwtverify.ErrUnavailable, detail: "exp is no date"},
		"a header larger than 4 KiB":          {header: jwttest.Header{"x": strings.Repeat("x", 4<<10)}, reason: jwtverify.ErrUnavailable, detail: "a header larger than 4 KiB"},
		"exp that is no number":               {claims: jwttest.Claims{"exp": "x"}, reason: jwtverify.ErrUnavailable, detail: "exp"},
		"no token_introspection":              {claims: jwttest.Claims{"token_introspection": nil, "active": true, "aud": clientID}, reason: jwtverify.ErrUnavailable, detail: "token_introspection"},
		"token_introspection in an array":     {claims: jwttest.Claims{"token_introspection": []any{claims{"active": true}}}, reason: jwtverify.ErrUnavailable, detail: "token_introspection"},
		"an inactive token":                   {claims: jwttest.Claims{"token_introspection": claims{"active": false}}, reason: jwtverify.ErrInactive},
		"a token for another API":             {claims: jwttest.Claims{"token_introspection": claims{"active": true, "aud": clientID}}, reason: jwtverify.ErrAudience},
		"four segments":                       {change: func(s string) string { return s + ".e30" }, reason: jwtverify.ErrUnavailable, detail: "segments"},
		"two segments":                        {change: func(s string) string { return s[:strings.LastIndexByte(s, '.')] }, reason: jwtverify.ErrUnavailable, detail: "segments"},
		"no signature":                        {change: func(s string) string { return s[:strings.LastIndexByte(s, '.')+1] }, reason: jwtverify.ErrUnavailable, detail: "signature"},
		"a broken signature":                  {change: func(s string) string { return s[:len(s)-10] + "AAAAAAAAAA" }, reason: jwtverify.ErrUnavailable},
		"a line break":                        {change: func(s string) string { return s + "\n" }, reason: jwtverify.ErrUnavailable},
		"another spelling":                    {change: func(s string) string { return s + "=" }, reason: jwtverify.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSignedWorld(t)
			text := w.sign(c.header, c.claims)
			if c.change != nil {
				text = c.change(text)
			}
			w.say(saysText(signedType+"; charset=utf-8", text))
			if c.reason != "" {
				refused := requireReason(t, w, opaque, c.reason)
				require.Contains(t, refused.Detail, c.detail)
				return
			}
			got, err := w.Verify(t.Context(), opaque)
			require.NoError(t, err)
			require.Equal(t, "alice", got.Subject)
			require.NotEmpty(t, w.Status().Keys.Keys)
			r, _ := w.request()
			require.Equal(t, signedType, r.Header.Get("Accept"))
		})
	}
}

func TestAPlainAnswerIsNoneWhereItMustBeSigned(t *testing.T) {
	w := newSignedWorld(t)
	text := w.sign(nil, nil)
	for n, answer := range []http.HandlerFunc{
		says(active(w.issuer.URL, nil)), saysText("application/jwt", text), saysText("application/json", text),
	} {
		w.say(answer)
		requireReason(t, w, "opaque-"+strings.Repeat("x", n), jwtverify.ErrUnavailable)
	}
}

func TestKeysThatCannotBeHadAreAnOutage(t *testing.T) {
	w := newSignedWorld(t)
	w.say(saysText(signedType, w.sign(nil, nil)))
	for _, err := range []error{jwks.ErrUnavailable, nil} { // a source of the caller's may forget the error
		c := w.config()
		c.Issuer, c.Signed, c.Keys = w.issuer.URL, true, noKeys{err}
		refused := requireReason(t, start(t, c), opaque, jwtverify.ErrUnavailable)
		require.Contains(t, refused.Detail, "no key of the issuer's for it can be had")
	}
}

// Keys that the Introspector made end with it; those that the Config brought do not.
func TestCloseEndsTheKeysThatAreItsOwn(t *testing.T) {
	w := newSignedWorld(t)
	w.say(saysText(signedType, w.sign(nil, nil)))
	theirs, err := jwks.New(jwks.Config{Issuer: w.issuer.URL})
	require.NoError(t, err)
	defer theirs.Close()
	lent := &closeCounter{KeySource: theirs}
	c := w.config()
	c.Issuer, c.Signed, c.Keys = w.issuer.URL, true, lent
	i := start(t, c)
	_, err = i.Verify(t.Context(), opaque)
	require.NoError(t, err)
	require.NoError(t, i.Close())
	require.Zero(t, lent.times)

	_, err = w.Verify(t.Context(), opaque)
	require.NoError(t, err)
	require.NotZero(t, w.Status().Keys.NextRefresh)
	require.NoError(t, w.Introspector.Close())
	require.Zero(t, w.Status().Keys.NextRefresh, "nothing is fetched any more")
}

type closeCounter struct {
	jwtverify.KeySource
	times int
}

func (c *closeCounter) Close() error { c.times++; return nil }

type noKeys struct{ err error }

func (n noKeys) Key(context.Context, string, string) (*jwks.Key, error) { return nil, n.err }

// RFC 9701 §8.1: an answer about a token must not pass for one, with anybody. This one
// has all that an access token needs, beside its typ.
func TestASignedAnswerIsNoAccessToken(t *testing.T) {
	w := newSignedWorld(t)
	whole := jwttest.Claims{
		"sub": "alice", "aud": []string{clientID, audience}, "exp": time.Now().Add(time.Hour).Unix(), "client_id": "shop", "jti": "1",
		"scope": "read:orders",
	}
	v, err := jwtverify.New(jwtverify.Config{Issuer: w.issuer.URL, Audience: []string{audience}})
	require.NoError(t, err)
	defer v.Close()
	require.NoError(t, v.Ready(t.Context()))
	hybrid, err := introspect.NewHybrid(introspect.HybridConfig{JWT: v, Opaque: w})
	require.NoError(t, err)
	w.say(saysText(signedType, w.sign(nil, nil)))

	for _, typ := range []any{"token-introspection+jwt", signedType, "Token-Introspection+JWT"} {
		answer := w.sign(jwttest.Header{"typ": typ}, whole)
		for _, i := range []introspect.Verifier{v, w.Introspector, hybrid} {
			requireReason(t, i, answer, jwtverify.ErrType)
		}
	}
	// An issuer that forgets the typ has the claim give it away.
	answer := w.sign(jwttest.Header{"typ": nil}, whole)
	requireReason(t, v, answer, jwtverify.ErrType)
	requireReason(t, hybrid, answer, jwtverify.ErrType)
	require.Zero(t, w.asked.Load())
}
