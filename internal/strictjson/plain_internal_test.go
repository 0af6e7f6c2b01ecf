package strictjson

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"
)

// isPlain asks plain, and holds a yes and where the members are against jsontext and
// the walk that all other texts are read by.
func isPlain(t testing.TB, text []byte) bool {
	var found members
	n, ok := plain(text, &found)
	if !ok {
		return false
	}
	if !jsontext.Value(text).IsValid() || tooDeep(text) {
		t.Fatalf("%q is plain, and not valid or too deep", text)
	}
	start, i := skipSpace(text, 0), 0
	_ = Value{text[start:], start}.Members(func(name []byte, v Value) error {
		if i == n {
			t.Fatalf("%q has more members than the %d that were found", text, n)
		}
		m := found[i]
		if at := int(m.value); string(text[m.name:m.nameEnd]) != string(name) || at != v.at || string(text[at:m.valueEnd]) != string(v.raw) {
			t.Fatalf("member %d of %q is at %+v, which is not %q: %q at %d", i, text, m, name, v.raw, v.at)
		}
		i++
		return nil
	})
	if i != n {
		t.Fatalf("%q has %d members, and %d were found", text, i, n)
	}
	return true
}

func TestHeadersAndClaimsArePlain(t *testing.T) {
	for _, text := range []string{
		`{"alg":"RS256","kid":"2026-11","typ":"at+jwt"}`,
		`{"iss":"https://issuer.example.com/","aud":["a","b"],"exp":1790000000,"x":-0,"n":null,"t":true,"f":false,"o":{"l":[]}}`,
		" {\t\"a\" :\r\n[ 1 , { } ,[ ]] , \"b\": \"\" } ",
		`{` + strings.Repeat(`"a":[`, 1) + strings.Repeat(`[`, MaxDepth-2) + strings.Repeat(`]`, MaxDepth-1) + `}`,
		numbered(32),
	} {
		require.True(t, isPlain(t, []byte(text)), text)
	}
}

// numbered is an object of n members.
func numbered(n int, more ...string) string {
	var members []string
	for i := range n {
		members = append(members, fmt.Sprintf(`"member%d":%d`, i, i))
	}
	return "{" + strings.Join(append(members, more...), ",") + "}"
}

var notPlain = []string{
	"", " ", "{", `{"`, `{"a`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":"`, `{"a":[`, `{"a":[1`, `{"a":[1,`,
	`{"a":1,}`, `{,}`, `{,"a":1}`, `{"a" 1}`, `{"a"::1}`, `{a:1}`, `{1:1}`, `{"a":1 "b":2}`, `{"a":1}}`, `{"a":1}{}`, `{"a":1}x`,
	`{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1 2]}`, `{"a":[}`, `{"a":[1}`, `{"a":{]`, `["a":1]`,
	`{"a":01}`, `{"a":-}`, `{"a":-01}`, `{"a":+1}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":1x}`, `{"a":--1}`, `{"a":0x1}`, `{"a":1_0}`,
	`{"a":tru}`, `{"a":truE}`, `{"a":nul}`, `{"a":nulll}`, `{"a":falsefalse}`, `{"a":t`, `{"a":NaN}`, `{"a":}`,
	`{"a":1,"a":2}`, `{"":1,"":2}`, `{"a":{"b":1,"b":1}}`, `{"a":[{"b":1,"c":2,"b":1}]}`, `{"exp":1,"azp":2,"exp":3}`,
	strings.TrimSuffix(numbered(32), "}") + ",", `{"a":` + strings.TrimSuffix(numbered(32), "}") + ",}",
	numbered(31, `"member30":1`), numbered(32, `"member0":1`), numbered(40, `"member0":1`),
	"{\"a\":\"\n\"}", "{\"a\":\"\x00\"}", "{\"a\":\"\x1f\"}", "{\"\t\":1}", "{\"a\":\"\x7f\"}", "{\"a\":\"\x80\"}", "{\"a\":\"\xff\"}", "{\"a\":\"\xc0\xaf\"}", "{\"a\":1}\x00", "{\v\"a\":1}", "{\"a\":\xa01}",
	`{"a":"\"}`, `{"a":"\x"}`, `{"a":"\ud800"}`, `{"a":1,"\u0061":2}`, `{"a":'b'}`, `{"a":1/**/}`, "\xef\xbb\xbf{}",
	`{"a":` + strings.Repeat(`[`, MaxDepth) + strings.Repeat(`]`, MaxDepth) + `}`,
	strings.Repeat(`[`, 100_000), strings.Repeat(`{"a":`, 100_000),
}

// Strings are looked at eight characters at a time, so every character in every place,
// alone and with another one before or behind it.
func TestAStringIsPlainUpToItsEndAndNoFurther(t *testing.T) {
	for place := range 20 {
		for c := range 256 {
			for _, other := range "\x00\x1f !\"#[\\]~\x7f\u0080\u00ff" {
				text := []byte(`{"a":"` + strings.Repeat("x", 20) + `"}`)
				text[len(`{"a":"`)+place] = byte(c)
				allowed := c >= ' ' && c <= '~' && c != '"' && c != '\\'
				require.Equal(t, allowed, isPlain(t, text), "%q", text)
				text[len(`{"a":"`)+(place+1)%20] = byte(other)
				allowed = allowed && other >= ' ' && other <= '~' && other != '"' && other != '\\'
				require.Equal(t, allowed, isPlain(t, text), "%q", text)
			}
		}
	}
}

func TestWhatIsInDoubtIsNotPlain(t *testing.T) {
	for _, text := range notPlain {
		require.False(t, isPlain(t, []byte(text)), text)
	}
}

// Every text of up to seven of the characters that mean something, and many more of
// them inside an object.
func TestNothingIsPlainThatIsNotValid(t *testing.T) {
	const letters = `{}[]":,1-0 a`
	yes := 0
	var extend func(text []byte, left int, before, after string)
	extend = func(text []byte, left int, before, after string) {
		whole := append(append(append(make([]byte, 0, 32), before...), text...), after...)
		if isPlain(t, whole) {
			yes++
		}
		if left == 0 {
			return
		}
		for _, c := range []byte(letters) {
			extend(append(text, c), left-1, before, after)
		}
	}
	extend(nil, 5, "", "")
	for _, around := range [][2]string{{`{"a":`, `}`}, {`{"a":[`, `]}`}, {`{"a":1`, `}`}, {`{"a":{`, `}}`}, {`{"`, `":1}`}} {
		extend(nil, 5, around[0], around[1])
	}
	require.Greater(t, yes, 5000, "or it was never asked")
}

func FuzzPlain(f *testing.F) {
	for _, text := range append(notPlain, numbered(5), `{"a":{"b":[1,-2,{"c":null}],"d":"e"}}`, ` { "a" : [ true , false ] } `) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		isPlain(t, text)
	})
}
