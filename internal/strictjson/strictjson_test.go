package strictjson_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/internal/strictjson"
)

// names reads text and returns its members' names, or the error.
func names(text string) ([]string, error) {
	var seen []string
	err := strictjson.Object([]byte(text), func(name []byte, _ strictjson.Value) error {
		seen = append(seen, string(name))
		return nil
	})
	return seen, err
}

func TestOnlyOneStrictObjectIsRead(t *testing.T) {
	for name, text := range map[string]string{
		"empty":                          "",
		"blank":                          "  ",
		"array":                          `["a"]`,
		"string":                         `"a"`,
		"null":                           `null`,
		"unterminated":                   `{"a":1`,
		"trailing comma":                 `{"a":1,}`,
		"two objects":                    `{"a":1}{"a":1}`,
		"trailing letters":               `{"a":1}x`,
		"trailing NUL":                   "{\"a\":1}\x00",
		"byte order mark":                "\xef\xbb\xbf{\"a\":1}",
		"comment":                        `{"a":1/**/}`,
		"single quotes":                  `{'a':1}`,
		"NaN":                            `{"a":NaN}`,
		"leading zero":                   `{"a":01}`,
		"hexadecimal":                    `{"a":0x1}`,
		"control character in a string":  "{\"a\":\"\n\"}",
		"invalid UTF-8 in a value":       "{\"a\":\"\xff\"}",
		"invalid UTF-8 in a name":        "{\"\xff\":1}",
		"overlong UTF-8":                 "{\"a\":\"\xc0\xaf\"}",
		"lone surrogate":                 `{"a":"\ud800"}`,
		"duplicate":                      `{"a":1,"a":2}`,
		"duplicate by escape":            `{"a":1,"\u0061":2}`,
		"duplicate far down":             `{"a":{"b":[{"c":1,"c":1}]}}`,
		"duplicate after other members":  `{"a":1,"b":2,"a":3}`,
		"invalid after a checked member": `{"a":{"b":1},"c":tru}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := names(text)
			require.Error(t, err)
		})
	}
}

func TestMemberNamesAreExact(t *testing.T) {
	got, err := names(` {"exp":1, "Exp":2, "e\u0078p2":3, "EXP":4, "":5} `)
	require.NoError(t, err)
	require.Equal(t, []string{"exp", "Exp", "exp2", "EXP", ""}, got)
}

func TestDepthIsBounded(t *testing.T) {
	nest := func(levels int) string { // the outermost object is a level too
		return `{"a":` + strings.Repeat(`[`, levels-1) + strings.Repeat(`]`, levels-1) + `}`
	}
	_, err := names(nest(strictjson.MaxDepth))
	require.NoError(t, err)
	_, err = names(nest(strictjson.MaxDepth + 1))
	require.Error(t, err)
	_, err = names(nest(100_000))
	require.Error(t, err)
	_, err = names(`{"a":"` + strings.Repeat(`[`, 100) + `\"{{{"}`)
	require.NoError(t, err, "brackets in a string are no nesting")
	_, err = names(`{"a":["` + strings.Repeat(`[`, 100) + `","\\\"` + strings.Repeat(`{`, 100) + `",1]}`)
	require.NoError(t, err, "nor are they in a string further down")
	_, err = names(`{"a":[` + strings.Repeat(`[],{},`, 100) + `1]}`)
	require.NoError(t, err, "what stands side by side is not nested")
	_, err = names(`{"a":["\\",` + strings.Repeat(`[`, 100) + strings.Repeat(`]`, 100) + `]}`)
	require.Error(t, err, "an escaped backslash does not keep a string open")
}

func TestTheCallersErrorEndsTheReading(t *testing.T) {
	mine := errors.New("mine")
	calls := 0
	err := strictjson.Object([]byte(`{"a":1,"b":2}`), func([]byte, strictjson.Value) error {
		calls++
		return mine
	})
	require.Equal(t, mine, err)
	require.Equal(t, 1, calls)
}

func TestTextInIsAPartOfTheWhole(t *testing.T) {
	const escaped = ` {"a" : "one", "e":"t\u0077o","l":[ "three" , ["four"],{"x":"five"}], "o": {"k":[{"m":"six"}]},"n":1} `
	for _, whole := range []string{escaped, strings.ReplaceAll(escaped, `\u0077`, "w")} { // the second is a plain text
		var got []string
		var walk func(v strictjson.Value) error
		walk = func(v strictjson.Value) error {
			plain, isText := v.Text()
			text, ok := v.TextIn(whole)
			require.Equal(t, isText, ok)
			require.Equal(t, plain, text)
			if ok {
				got = append(got, text)
			}
			require.NoError(t, v.Elements(walk))
			return v.Members(func(_ []byte, m strictjson.Value) error { return walk(m) })
		}
		require.NoError(t, strictjson.Object([]byte(whole), func(_ []byte, v strictjson.Value) error { return walk(v) }))
		require.Equal(t, []string{"one", "two", "three", "four", "five", "six"}, got)
	}
}

func TestValuesAreNotCoerced(t *testing.T) {
	err := strictjson.Object([]byte(`{"s":"a\u0062\n","n":"1","i":1,"z":null,"t":true,"l":["x",["y"]],"o":{"k":"v"}}`),
		func(name []byte, v strictjson.Value) error {
			text, isText := v.Text()
			switch string(name) {
			case "s":
				require.True(t, isText)
				require.Equal(t, "ab\n", text)
				require.True(t, v.Is("ab\n"))
				require.False(t, v.Is("ab"))
			case "n":
				require.True(t, v.Is("1"))
			case "i":
				require.Equal(t, byte('0'), v.Kind())
				require.False(t, isText)
				require.False(t, v.Is("1"))
				require.Equal(t, "1", string(v.Raw()))
			case "z":
				require.Equal(t, byte('n'), v.Kind())
				require.False(t, v.Is(""))
			case "t":
				require.Equal(t, byte('t'), v.Kind())
			case "l":
				var kinds []byte
				require.NoError(t, v.Elements(func(e strictjson.Value) error {
					kinds = append(kinds, e.Kind())
					return nil
				}))
				require.Equal(t, `"[`, string(kinds))
				require.NoError(t, v.Members(func([]byte, strictjson.Value) error { panic("a list has no members") }))
			case "o":
				seen := false
				require.NoError(t, v.Members(func(name []byte, m strictjson.Value) error {
					seen = string(name) == "k" && m.Is("v")
					return nil
				}))
				require.True(t, seen)
				require.NoError(t, v.Elements(func(strictjson.Value) error { panic("an object has no elements") }))
			}
			return nil
		})
	require.NoError(t, err)
}

// What this reader takes, encoding/json takes too, and with the same members:
// strict means a subset, never another reading.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1}`, `{"a":{"b":[1,2,{"c":null}]},"d":"\u00e9"}`, `{"a":1,"a":2}`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}",
		`[1]`, `{"a":[[[[[]]]]]}`, `{"a":1e400}`, ` {"a" : -0.0 } `, `{"a":1}{}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		seen := map[string]string{}
		err := strictjson.Object(text, func(name []byte, v strictjson.Value) error {
			seen[string(name)] = string(v.Raw())
			v.Text()
			if err := v.Elements(func(strictjson.Value) error { return nil }); err != nil {
				t.Fatalf("an element of checked text fails: %v", err)
			}
			if err := v.Members(func([]byte, strictjson.Value) error { return nil }); err != nil {
				t.Fatalf("a member of checked text fails: %v", err)
			}
			return nil
		})
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(text, &want))
		require.Len(t, seen, len(want))
		for name, raw := range want {
			require.Equal(t, string(raw), seen[name])
		}
	})
}
