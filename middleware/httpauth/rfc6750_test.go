package httpauth_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/middleware/httpauth"
)

// raw sends bytes as they are, since a client of net/http would mend many of them,
// and reads the answer with all of its bytes.
func raw(t *testing.T, server *httptest.Server, request string) (res *http.Response, whole string) {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, request)
	require.NoError(t, err)
	method, _, _ := strings.Cut(request, " ")
	var seen bytes.Buffer
	res, err = http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &seen)), &http.Request{Method: method})
	require.NoError(t, err)
	defer res.Body.Close()
	_, err = io.ReadAll(res.Body)
	require.NoError(t, err)
	return res, seen.String()
}

// The sentences of RFC 6750 and RFC 9110 on what a resource server answers, each
// with requests as they stand on the wire.
func TestRFC6750OnTheWire(t *testing.T) {
	issuer, v := setup(t)
	auth := newAuth(t, httpauth.Config{Verifier: v, Realm: `the "orders" API`})
	server := httptest.NewServer(auth.Require(jwtverify.Scopes("read:orders", "write:orders"))(whoami))
	defer server.Close()
	scope := jwttest.Claims{"scope": "read:orders write:orders", "sub": "alice"}
	good := issuer.Token(scope)
	const (
		bare      = `^Bearer realm="the \\"orders\\" API"$`
		invalid   = `^Bearer realm="the \\"orders\\" API", error="invalid_token", error_description="[^"\\]+"$`
		malformed = `^Bearer realm="the \\"orders\\" API", error="invalid_request", error_description="[^"\\]+"$`
		forbidden = `^Bearer realm="the \\"orders\\" API", error="insufficient_scope", error_description="[^"\\]+", scope="read:orders write:orders"$`
	)
	authorized := func(value string) string { return "Authorization: " + value + "\r\n" }
	for _, c := range []struct {
		rule, line, headers string
		status              int
		challenge           string
	}{
		{"9110 §11.1: the scheme in any case", "GET / HTTP/1.1", authorized("bEaReR " + good), 200, ""},
		{"9110 §11.4: one or more spaces", "GET / HTTP/1.1", authorized("Bearer    " + good), 200, ""},
		{"9110 §5.5: white space around a value is no part of it", "GET / HTTP/1.1", "Authorization: \t Bearer " + good + " \t\r\n", 200, ""},
		{"9110 §5.1: a field's name in any case", "GET / HTTP/1.1", "aUTHORIZATION: Bearer " + good + "\r\n", 200, ""},
		{"6750 §2.1: a tab is no space", "GET / HTTP/1.1", authorized("Bearer\t" + good), 400, malformed},
		{"6750 §2.1: a b64token and nothing behind", "GET / HTTP/1.1", authorized("Bearer " + good + " x"), 400, malformed},
		{"6750 §2.1: no comma", "GET / HTTP/1.1", authorized("Bearer " + good + ", Bearer " + good), 400, malformed},
		{"6750 §2.1: no quotes", "GET / HTTP/1.1", authorized(`Bearer "` + good + `"`), 400, malformed},
		{"6750 §2.1: a byte above ASCII", "GET / HTTP/1.1", authorized("Bearer \xc3\xa9." + good), 400, malformed},
		{"6750 §3.1: the scheme alone is a malformed request", "GET / HTTP/1.1", authorized("Bearer"), 400, malformed},
		{"6750 §3.1: so is an empty field", "GET / HTTP/1.1", authorized(""), 400, malformed},
		{"6750 §3.1: so is a token without a scheme that is one", "GET / HTTP/1.1", authorized("@" + good), 400, malformed},
		{"6750 §2: a repeated field", "GET / HTTP/1.1", authorized("Bearer "+good) + authorized("Bearer "+good), 400, malformed},
		{"6750 §2: two schemes at once", "GET / HTTP/1.1", authorized("Basic dTpw") + authorized("Bearer "+good), 400, malformed},
		{"6750 §2: two schemes that a proxy joined", "GET / HTTP/1.1", authorized("Basic dTpw, Bearer " + good), 400, malformed},
		{"6750 §2: two methods", "GET /?access_token=x HTTP/1.1", authorized("Bearer " + good), 400, malformed},
		{"6750 §2.3: never from the query", "GET /?access_token=" + good + " HTTP/1.1", "", 401, bare},
		{"6750 §3.1: who sent nothing is told of no error", "GET / HTTP/1.1", "", 401, bare},
		{"6750 §3.1: nor who sent another scheme", "GET / HTTP/1.1", authorized("Basic dTpw"), 401, bare},
		{"6750 §3.1: nor who sent a token without a scheme", "GET / HTTP/1.1", authorized(good), 401, bare},
		{"6750 §3.1: a token that is none", "GET / HTTP/1.1", authorized("Bearer abc"), 401, invalid},
		{"6750 §3.1: an expired token", "GET / HTTP/1.1", authorized("Bearer " + issuer.Token(jwttest.Claims{"exp": 1})), 401, invalid},
		{"6750 §3.1: too little scope, and which is needed", "GET / HTTP/1.1", authorized("Bearer " + issuer.Token(jwttest.Claims{"scope": "read:orders"})), 403, forbidden},
		{"9110 §9.3.2: HEAD as GET", "HEAD / HTTP/1.1", "", 401, bare},
		{"no method is exempt: OPTIONS", "OPTIONS / HTTP/1.1", "", 401, bare},
		{"no method is exempt: OPTIONS for the whole server", "OPTIONS * HTTP/1.1", "", 0, ""}, // net/http answers it, with nothing of ours
		{"no method is exempt: TRACE", "TRACE / HTTP/1.1", "", 401, bare},
		{"no method is exempt: one that nobody knows", "FROB / HTTP/1.1", "", 401, bare},
		{"an upgrade is no exemption", "GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", 401, bare},
		{"HTTP/1.0 too", "GET / HTTP/1.0", "", 401, bare},
		{"a token of 16 KiB and more", "GET / HTTP/1.1", authorized("Bearer " + strings.Repeat("a.", 9000)), 401, invalid},
		{"a field of 200 KB", "GET / HTTP/1.1", authorized("Bearer " + strings.Repeat("a", 200_000)), 401, invalid},
		{"a control byte, which net/http refuses", "GET / HTTP/1.1", authorized("Bearer a\x01b"), 400, ""},
		{"a NUL, which net/http refuses", "GET / HTTP/1.1", authorized("Bearer a\x00b"), 400, ""},
		{"a folded line, which net/http joins", "GET / HTTP/1.1", "Authorization: Bearer " + good + "\r\n x\r\n", 400, ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			res, whole := raw(t, server, c.line+"\r\nHost: a\r\n"+c.headers+"Connection: close\r\n\r\n")
			if c.status == 0 {
				require.NotContains(t, whole, "alice")
				return
			}
			require.Equal(t, c.status, res.StatusCode, whole)
			challenges := res.Header.Values("WWW-Authenticate")
			switch {
			case c.challenge != "":
				require.Len(t, challenges, 1)
				require.Regexp(t, c.challenge, challenges[0])
				require.Equal(t, []string{"no-store"}, res.Header.Values("Cache-Control"))
				require.NotContains(t, whole, "alice")
				requireEachParameterOnce(t, challenges[0])
			case c.status == 200:
				require.Empty(t, challenges)
				require.Contains(t, whole, "alice")
			}
			require.NotContains(t, whole, good, "a token never comes back")
		})
	}
}

// RFC 6750 §3: no parameter more than once.
func requireEachParameterOnce(t *testing.T, challenge string) {
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?:^Bearer |", )([a-z_]+)="`).FindAllStringSubmatch(challenge, -1) {
		require.False(t, seen[m[1]], m[1])
		seen[m[1]] = true
	}
	require.True(t, seen["realm"])
}

// Whatever stands in a token: of the answer's bytes none is a stranger's.
func TestNothingOfATokenReachesTheWire(t *testing.T) {
	issuer, v := setup(t)
	server := httptest.NewServer(newAuth(t, httpauth.Config{Verifier: v}).Require(jwtverify.Scopes("read"))(whoami))
	defer server.Close()
	const mark = "zqj"
	for _, nasty := range []string{
		mark + "\r\nSet-Cookie: a=b", mark + `"`, mark + `\`, mark + "<script>", mark + "\u202e", mark + "\x1b[31m", mark + strings.Repeat("x", 5000),
	} {
		for _, token := range []string{
			issuer.Mint(jwttest.Header{"alg": nasty}, nil),
			issuer.Mint(jwttest.Header{"kid": nasty}, nil),
			issuer.Mint(jwttest.Header{"typ": nasty}, nil),
			issuer.Mint(jwttest.Header{nasty: 1, "crit": []string{nasty}}, nil),
			issuer.Token(jwttest.Claims{"iss": nasty}),
			issuer.Token(jwttest.Claims{"aud": nasty}),
			issuer.Token(jwttest.Claims{"exp": nasty}),
			issuer.Token(jwttest.Claims{"scope": nasty, "sub": nasty}),
		} {
			res, whole := raw(t, server, fmt.Sprintf("GET /%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n", mark, mark, token))
			require.GreaterOrEqual(t, res.StatusCode, 400)
			require.NotContains(t, strings.ToLower(whole), mark)
			require.Empty(t, res.Header.Values("Set-Cookie"))
		}
	}
}
