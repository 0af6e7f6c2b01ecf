package revoke_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/jwttest"
	"github.com/bearerguard/bearerguard/jwtverify/revoke"
)

const issuer = "https://issuer.example.com/"

var start = time.Unix(1_800_000_000, 0)

// newList is a List whose clock the test sets.
func newList(t testing.TB, most int) (*revoke.List, *time.Time) {
	t.Helper()
	now := start
	l, err := revoke.New(revoke.Config{MaxEntries: most, Now: func() time.Time { return now }})
	require.NoError(t, err)
	return l, &now
}

func check(l *revoke.List, t jwtverify.Token) jwtverify.Reason {
	return jwtverify.ReasonOf(l.Check(context.Background(), &t))
}

// token has all that an Entry may name, and was issued a minute ago.
func token() jwtverify.Token {
	return jwtverify.Token{
		Issuer: issuer, ID: "id-1", SessionID: "session-1", Subject: "alice", ClientID: "app", IssuedAt: start.Add(-time.Minute),
		Header: jwtverify.Header{KeyID: "key-1"},
	}
}

func TestAnEntryNamesWhatItSaysAndNothingElse(t *testing.T) {
	hour := start.Add(time.Hour)
	for name, c := range map[string]struct {
		entry revoke.Entry
		other func(*jwtverify.Token)
		claim string
	}{
		"token":   {revoke.Token(issuer, "id-1", hour), func(t *jwtverify.Token) { t.ID = "id-2" }, "jti"},
		"session": {revoke.Session(issuer, "session-1", hour), func(t *jwtverify.Token) { t.SessionID = "" }, "sid"},
		"subject": {revoke.Subject(issuer, "alice", start, hour), func(t *jwtverify.Token) { t.Subject = "Alice" }, "sub"},
		"client":  {revoke.Client(issuer, "app", start, hour), func(t *jwtverify.Token) { t.ClientID = "app2" }, "client_id"},
		"key":     {revoke.Key(issuer, "key-1", hour), func(t *jwtverify.Token) { t.Header.KeyID = "key-2" }, "kid"},
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := newList(t, 0)
			revoked := token()
			require.Empty(t, check(l, revoked))
			require.NoError(t, l.Revoke(c.entry))
			err := l.Check(t.Context(), &revoked)
			require.ErrorIs(t, err, jwtverify.ErrRevoked)
			require.ErrorContains(t, err, c.claim)
			other := token()
			c.other(&other)
			require.Empty(t, check(l, other))
			elsewhere := token()
			elsewhere.Issuer = strings.TrimSuffix(issuer, "/")
			require.Empty(t, check(l, elsewhere), "of another issuer")
			require.Equal(t, 1, l.Status().Entries)
		})
	}
}

// One value may be an id, a session, a subject, a client and a key at once.
func TestKindsDoNotMixUp(t *testing.T) {
	l, _ := newList(t, 0)
	hour := start.Add(time.Hour)
	same := jwtverify.Token{Issuer: issuer, ID: "x", IssuedAt: start.Add(-time.Minute)}
	for _, e := range []revoke.Entry{
		revoke.Session(issuer, "x", hour), revoke.Subject(issuer, "x", start, hour), revoke.Client(issuer, "x", start, hour), revoke.Key(issuer, "x", hour),
	} {
		require.NoError(t, l.Revoke(e))
	}
	require.Empty(t, check(l, same))
	require.NoError(t, l.Revoke(revoke.Token(issuer, "x", hour)))
	require.Equal(t, jwtverify.ErrRevoked, check(l, same))
	// Nor do issuers and values run into each other.
	l, _ = newList(t, 0)
	require.NoError(t, l.Revoke(revoke.Token("ab", "c", hour)))
	require.Empty(t, check(l, jwtverify.Token{Issuer: "a", ID: "bc"}))
	require.Empty(t, check(l, jwtverify.Token{Issuer: "c", ID: "ab"}))
}

func TestTokensIssuedFromThatMomentOnAreGood(t *testing.T) {
	for name, make := range map[string]func(before time.Time) revoke.Entry{
		"subject": func(before time.Time) revoke.Entry {
			return revoke.Subject(issuer, "alice", before, start.Add(time.Hour))
		},
		"client": func(before time.Time) revoke.Entry { return revoke.Client(issuer, "app", before, start.Add(time.Hour)) },
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := newList(t, 0)
			require.NoError(t, l.Revoke(make(start.Add(500*time.Millisecond))))
			for iat, want := range map[time.Time]jwtverify.Reason{
				{}:                                jwtverify.ErrRevoked, // no iat: issued before any time
				time.Unix(0, 0):                   jwtverify.ErrRevoked,
				start.Add(-1):                     jwtverify.ErrRevoked,
				start:                             jwtverify.ErrRevoked, // iat has no fractions: it may have been before
				start.Add(499 * time.Millisecond): jwtverify.ErrRevoked,
				start.Add(500 * time.Millisecond): "",
				start.Add(time.Second):            "",
				time.Unix(253402300799, 0):        "",
			} {
				tok := token()
				tok.IssuedAt = iat
				require.Equal(t, want, check(l, tok), "%v", iat)
			}
		})
	}
}

// A token lives until its exp and the leeway, so an Entry does too.
func TestAnEntryOutlivesItsTokens(t *testing.T) {
	l, now := newList(t, 0)
	require.NoError(t, l.Revoke(revoke.Token(issuer, "id-1", start.Add(time.Hour))))
	*now = start.Add(time.Hour + 5*time.Minute)
	require.Equal(t, jwtverify.ErrRevoked, check(l, token()))
	*now = now.Add(2 * time.Second)
	require.Empty(t, check(l, token()))
	require.NoError(t, l.Revoke(revoke.Token(issuer, "id-2", start)), "which has expired already")
	require.Equal(t, 1, l.Status().Entries)
}

func TestEntriesThatDifferInTheirTimesAloneAreJoined(t *testing.T) {
	l, now := newList(t, 0)
	minute := func(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }
	late, early := token(), token()
	late.IssuedAt = minute(5)
	require.NoError(t, l.Revoke(revoke.Subject(issuer, "alice", minute(1), minute(60))))
	require.Empty(t, check(l, late))
	require.NoError(t, l.Revoke(revoke.Subject(issuer, "alice", minute(10), minute(30))))
	require.Equal(t, jwtverify.ErrRevoked, check(l, late))
	*now = minute(64)
	require.Equal(t, jwtverify.ErrRevoked, check(l, early), "no Entry shortens another")
	require.Equal(t, 1, l.Status().Entries)
	*now = minute(66)
	require.NoError(t, l.Revoke(revoke.Subject(issuer, "alice", minute(2), minute(100))))
	require.Empty(t, check(l, late), "what is over is not joined")
	require.Equal(t, jwtverify.ErrRevoked, check(l, early))
}

func TestAFullListRefusesEntriesAndForgetsNone(t *testing.T) {
	l, now := newList(t, 100)
	for n := range 100 {
		require.NoError(t, l.Revoke(revoke.Token(issuer, fmt.Sprint(n), start.Add(time.Duration(1+n%2)*time.Hour))))
	}
	require.ErrorIs(t, l.Revoke(revoke.Token(issuer, "more", start.Add(time.Hour)), revoke.Token(issuer, "7", start.Add(9*time.Hour))), revoke.ErrFull)
	require.Equal(t, 100, l.Status().Entries)
	for n := range 100 {
		require.Equal(t, jwtverify.ErrRevoked, check(l, jwtverify.Token{Issuer: issuer, ID: fmt.Sprint(n)}))
	}
	*now = start.Add(90 * time.Minute) // half of them are over
	for n := range 50 {
		require.NoError(t, l.Revoke(revoke.Token(issuer, fmt.Sprint("new", n), start.Add(3*time.Hour))))
	}
	require.Equal(t, jwtverify.ErrRevoked, check(l, jwtverify.Token{Issuer: issuer, ID: "7"}), "which was extended")
	require.Equal(t, jwtverify.ErrRevoked, check(l, jwtverify.Token{Issuer: issuer, ID: "1"}))
	require.Empty(t, check(l, jwtverify.Token{Issuer: issuer, ID: "2"}))
	require.Equal(t, 100, l.Status().Entries)
}

func TestAnEntryThatNamesNothingIsRefused(t *testing.T) {
	l, _ := newList(t, 0)
	hour := start.Add(time.Hour)
	good := revoke.Token(issuer, "good", hour)
	for want, e := range map[string]revoke.Entry{
		"make it with Token":        {},
		"Kind 9: make it":           {Kind: 9, Issuer: issuer, Value: "x", Until: hour},
		"an empty string names no":  revoke.Token(issuer, "", hour),
		"empty string names":        revoke.Session("", "x", hour),
		"more than 1024 bytes":      revoke.Key(issuer, strings.Repeat("x", 1025), hour),
		"more than 1024 bytes of":   revoke.Key(strings.Repeat("x", 1025), "x", hour),
		"moment before which":       revoke.Subject(issuer, "alice", time.Time{}, hour),
		"the moment before which":   revoke.Client(issuer, "app", time.Time{}, hour),
		"Before is for subjects":    {Kind: revoke.ByKey, Issuer: issuer, Value: "x", Before: start, Until: hour},
		"time until which its":      revoke.Token(issuer, "x", time.Time{}),
		"behind the year 9999":      revoke.Token(issuer, "x", time.Unix(253402300800, 0)),
		"date behind the year 9999": revoke.Subject(issuer, "x", time.Unix(253402300800, 0), hour),
	} {
		require.ErrorContains(t, l.Revoke(good, e), want)
	}
	require.Zero(t, l.Status().Entries, "all or none")
	require.NoError(t, l.Revoke(revoke.Subject(issuer, "alice", time.Unix(253402300799, 0), time.Unix(253402300799, 0))))
	tok := token()
	tok.IssuedAt = time.Unix(253402300700, 0)
	check(l, tok) // beyond the range of nanoseconds: no panic
	_, err := revoke.New(revoke.Config{MaxEntries: -1})
	require.ErrorContains(t, err, "write 0 for 1000000")
}

func TestAListThatNobodyMadeFailsClosed(t *testing.T) {
	tok := token()
	made, _ := newList(t, 0)
	for _, l := range []*revoke.List{nil, {}} {
		require.ErrorIs(t, l.Check(t.Context(), &tok), jwtverify.ErrUnavailable)
		require.Error(t, l.Revoke(revoke.Token(issuer, "x", start)))
		require.Zero(t, l.Status())
	}
	require.ErrorIs(t, made.Check(t.Context(), nil), jwtverify.ErrUnavailable)
}

// As an API uses it: with an issuer, keys and signatures, and with tokens that were
// verified before.
func TestARevokedTokenIsRefusedThoughItWasGoodAMomentAgo(t *testing.T) {
	idp := jwttest.NewIssuer("https://api.example.com")
	defer idp.Close()
	l, err := revoke.New(revoke.Config{})
	require.NoError(t, err)
	config := idp.Config()
	config.Checks = append(config.Checks, l.Check)
	v, err := jwtverify.New(config)
	require.NoError(t, err)
	defer v.Close()

	stolen, other := idp.Token(jwttest.Claims{"jti": "1", "sub": "alice"}), idp.Token(jwttest.Claims{"jti": "2", "sub": "alice"})
	for _, compact := range []string{stolen, stolen, other, other} {
		_, err := v.Verify(t.Context(), compact)
		require.NoError(t, err)
	}
	require.NotZero(t, v.Status().Cache.Hits)
	require.NoError(t, l.Revoke(revoke.Token(idp.URL, "1", time.Now().Add(time.Hour))))
	_, err = v.Verify(t.Context(), stolen)
	require.ErrorIs(t, err, jwtverify.ErrRevoked)
	require.ErrorIs(t, err, jwtverify.ErrInvalidToken)
	_, err = v.Verify(t.Context(), other)
	require.NoError(t, err)
	require.NoError(t, l.Revoke(revoke.Subject(idp.URL, "alice", time.Now().Add(time.Second), time.Now().Add(time.Hour))))
	_, err = v.Verify(t.Context(), other)
	require.ErrorIs(t, err, jwtverify.ErrRevoked)
}

// Random histories, played to a List and to a map.
func TestAListSaysWhatAMapWouldSay(t *testing.T) {
	type key struct {
		kind  revoke.Kind
		value string
	}
	type times struct{ before, until time.Time }
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		l, now := newList(t, 0)
		model := map[key]times{}
		for range 4000 {
			value := fmt.Sprint(random.IntN(12))
			kind := revoke.Kind(1 + random.IntN(5))
			at := func(spread int) time.Time { return now.Add(time.Duration(random.IntN(2*spread)-spread) * time.Second) }
			switch random.IntN(10) {
			case 0:
				*now = now.Add(time.Duration(random.IntN(200)) * time.Second)
			case 1, 2, 3, 4:
				e := revoke.Entry{Kind: kind, Issuer: issuer, Value: value, Until: at(900)}
				if kind == revoke.BySubject || kind == revoke.ByClient {
					e.Before = at(900)
				}
				require.NoError(t, l.Revoke(e))
				until := e.Until.Add(5*time.Minute + time.Second)
				if !now.Before(e.Until.Add(5 * time.Minute)) {
					continue
				}
				k := key{kind, value}
				old, there := model[k]
				if !there || !now.Before(old.until) {
					old = times{}
				}
				if e.Before.After(old.before) {
					old.before = e.Before
				}
				if until.After(old.until) {
					old.until = until
				}
				model[k] = old
			default:
				tok := jwtverify.Token{Issuer: issuer, IssuedAt: at(900)}
				switch kind {
				case revoke.ByToken:
					tok.ID = value
				case revoke.BySession:
					tok.SessionID = value
				case revoke.BySubject:
					tok.Subject = value
				case revoke.ByClient:
					tok.ClientID = value
				case revoke.ByKey:
					tok.Header.KeyID = value
				}
				want := jwtverify.Reason("")
				if m, there := model[key{kind, value}]; there && now.Before(m.until) && (m.before.IsZero() || tok.IssuedAt.Before(m.before)) {
					want = jwtverify.ErrRevoked
				}
				require.Equal(t, want, check(l, tok))
			}
		}
	}
}

func TestReadersAndWritersDoNotMissEachOther(t *testing.T) {
	l, err := revoke.New(revoke.Config{})
	require.NoError(t, err)
	const writers, each = 4, 1000
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			for n := range each {
				id := fmt.Sprint(w, "-", n)
				assert.NoError(t, l.Revoke(revoke.Token(issuer, id, time.Now().Add(time.Hour))))
				for _, seen := range []int{n, n / 2, 0} { // whatever tables were replaced meanwhile
					assert.Equal(t, jwtverify.ErrRevoked, check(l, jwtverify.Token{Issuer: issuer, ID: fmt.Sprint(w, "-", seen)}))
				}
				assert.Empty(t, check(l, jwtverify.Token{Issuer: issuer, ID: id + "x"}))
			}
		})
	}
	work.Wait()
	require.Equal(t, writers*each, l.Status().Entries)
}

func TestLookingIsFreeOfAllocations(t *testing.T) {
	l, now := newList(t, 0)
	require.NoError(t, l.Revoke(revoke.Token(issuer, "id-1", now.Add(time.Hour)), revoke.Key(issuer, "x", now.Add(time.Hour))))
	tok := token()
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if !errors.Is(l.Check(t.Context(), &tok), jwtverify.ErrRevoked) {
			t.Error("it is let in")
		}
	}))
}

// BenchmarkCheck asks about tokens of which none, or each, is among a million, with
// entries of one kind or of all five.
func BenchmarkCheck(b *testing.B) {
	for _, kinds := range []int{1, 5} {
		l, now := newList(b, 2_000_000)
		hour := now.Add(time.Hour)
		for n := range 1_000_000 {
			require.NoError(b, l.Revoke(revoke.Token(issuer, fmt.Sprintf("id%07d", n), hour)))
		}
		if kinds == 5 {
			require.NoError(b, l.Revoke(revoke.Session(issuer, "s", hour), revoke.Subject(issuer, "s", start, hour),
				revoke.Client(issuer, "s", start, hour), revoke.Key(issuer, "s", hour)))
		}
		for _, name := range []string{"none", "each"} {
			// In one piece, and read from front to end, so that it is the list that
			// is waited for and not these.
			const many, width = 1 << 16, len("id0000000")
			var text []byte
			for range many {
				text = fmt.Appendf(text, "id%07d", rand.IntN(1_000_000))
			}
			if name == "none" {
				text = bytes.ReplaceAll(text, []byte("id"), []byte("no"))
			}
			ids := string(text)
			b.Run(fmt.Sprintf("%d kinds/%s", kinds, name), func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					t := token()
					for i := rand.IntN(many); pb.Next(); i++ {
						at := i % many * width
						t.ID = ids[at : at+width]
						if err := l.Check(b.Context(), &t); (err != nil) != (name == "each") {
							b.Fatal(err)
						}
					}
				})
			})
		}
	}
}
