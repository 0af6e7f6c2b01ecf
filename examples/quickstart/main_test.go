package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
)

// quickstart runs to its end, as the command line would.
func quickstart(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e strings.Builder
	code = run(t.Context(), args, &o, &e)
	return code, o.String(), e.String()
}

func TestEveryAnswerIsAsItOughtToBe(t *testing.T) {
	code, out, errs := quickstart(t)
	require.Equal(t, 0, code, out+errs)
	require.Empty(t, errs)
	require.NotContains(t, out, "WRONG")
	for _, row := range []string{
		`no token +401 +- +Bearer realm="orders"\n`,
		`a good token +200 +valid +none; body: the orders of alice\n`,
		`another API +401 +audience +Bearer realm="orders", error="invalid_token"\n`,
		`expired an hour ago +401 +expired +Bearer`,
		`alice made admin +401 +signature +Bearer`,
		`alg none +401 +algorithm +Bearer`,
		`without the scope +403 +valid +Bearer realm="orders", error="insufficient_scope",\n +scope="read:orders"\n`,
		`a key made just now +200 +valid`,
		`issuer down: a token of a known key +200 +valid`,
		`issuer down: a token of a newer key +503 +unavailable +none; Retry-After: 1\n`,
	} {
		require.Regexp(t, row, out)
	}
}

func TestTheTableFits120Columns(t *testing.T) {
	for _, args := range [][]string{nil, {"-break"}} {
		_, out, _ := quickstart(t, args...)
		for line := range strings.Lines(out) {
			line = strings.TrimSuffix(line, "\n")
			require.LessOrEqual(t, utf8.RuneCountInString(line), 120, line)
			require.Equal(t, strings.TrimRight(line, " "), line)
		}
	}
}

func TestAWrongAnswerIsNamedAndExits1(t *testing.T) {
	code, out, errs := quickstart(t, "-break")
	require.Equal(t, 1, code)
	require.Equal(t, 1, strings.Count(out, "WRONG"), out)
	require.Regexp(t, `7  WRONG  a good token without the scope +200 +valid .*\n +it ought to be +403 +valid`, out)
	require.NotContains(t, out, "All 10 answers")
	require.Equal(t, "quickstart: 1 of 10 answers wrong: row 7 (a good token without the scope)\n", errs)
}

func TestMistakesOnTheCommandLineExit2(t *testing.T) {
	for _, args := range [][]string{
		{"-nonsense"}, {"extra"}, {"-issuer", "https://issuer.example.com"}, {"-audience", "x"}, {"-break", "-serve"},
	} {
		code, out, errs := quickstart(t, args...)
		require.Equal(t, 2, code, args)
		require.Empty(t, out)
		require.NotEmpty(t, errs)
	}
}

func TestHelpExits0(t *testing.T) {
	code, _, errs := quickstart(t, "-h")
	require.Equal(t, 0, code)
	require.Contains(t, errs, "quickstart -issuer URL -audience A")
}

func TestTheTokensOfServeDoWhatTheySay(t *testing.T) {
	out := serve(t, "-serve")
	curls := regexp.MustCompile(`# (.*)\ncurl -i (?:-H 'Authorization: (Bearer .*)' )?(http.*)\n`).FindAllStringSubmatch(out, -1)
	require.Len(t, curls, 4, out)
	for i, want := range []struct {
		what   string
		status int
	}{{"a good token", 200}, {"a tampered one", 401}, {"a good one without the scope", 403}, {"no token", 401}} {
		require.Equal(t, want.what, curls[i][1])
		require.Equal(t, want.status, status(t, curls[i][3], curls[i][2]), want.what)
	}
}

func TestTheAPITakesTokensOfAnyIssuer(t *testing.T) {
	issuer := jwttest.NewIssuer("https://mine.example.com")
	defer issuer.Close()
	token := issuer.Token(jwttest.Claims{"scope": "read:orders"})
	noScope := issuer.Token(nil)
	api := regexp.MustCompile(`http\S+/orders`)

	url := api.FindString(serve(t, "-issuer", issuer.URL, "-audience", "https://mine.example.com"))
	require.Equal(t, 200, status(t, url, "Bearer "+token))
	require.Equal(t, 403, status(t, url, "Bearer "+noScope))

	url = api.FindString(serve(t, "-issuer", issuer.URL, "-audience", "https://mine.example.com", "-scope", ""))
	require.Equal(t, 200, status(t, url, "Bearer "+noScope))
}

// serve runs until the test ends, when a signal must end it cleanly, and
// returns what it printed before it said that it waits for one.
func serve(t *testing.T, args ...string) string {
	t.Helper()
	ctx, signal := context.WithCancel(t.Context())
	read, write := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, args, write, os.Stderr)
		write.Close()
	}()
	t.Cleanup(func() {
		signal()
		require.Equal(t, 0, <-code)
	})

	var out strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(out.String(), "Ctrl-C") {
		n, err := read.Read(buf)
		out.Write(buf[:n])
		require.NoError(t, err, out.String())
	}
	go io.Copy(io.Discard, read)
	return out.String()
}

func status(t *testing.T, url, authorization string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	return res.StatusCode
}
