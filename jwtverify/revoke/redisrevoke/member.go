package redisrevoke

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bearerguard/bearerguard/jwtverify/revoke"
)

// An Entry stands in Redis as a member of a sorted set and the score that it has
// there. The score is its Until in Unix seconds, rounded up, so that an Entry that is
// revoked again for longer replaces itself. The member is all else of it:
//
//	member  = version kind issuer value [before]
//	version = "1"
//	kind    = "t" / "s" / "u" / "c" / "k"   ; token, session, subject, client, key
//	issuer  = length ":" bytes              ; value is written alike
//	before  = seconds "." nanoseconds       ; of subject and client: Unix time, nine digits
//
// Each Entry has one way to be written, and any other is refused.

const (
	memberVersion = '1'
	maxMember     = 4 << 10
	lastSecond    = 253402300799 // of the year 9999
)

var letters = map[revoke.Kind]byte{
	revoke.ByToken: 't', revoke.BySession: 's', revoke.BySubject: 'u', revoke.ByClient: 'c', revoke.ByKey: 'k',
}

var errMember = errors.New("an entry is not written as this version writes it")

// encode writes an Entry that is valid.
func encode(e revoke.Entry) (member string, until int64) {
	out := make([]byte, 0, 64+len(e.Issuer)+len(e.Value))
	out = append(out, memberVersion, letters[e.Kind])
	for _, text := range []string{e.Issuer, e.Value} {
		out = strconv.AppendInt(out, int64(len(text)), 10)
		out = append(append(out, ':'), text...)
	}
	if !e.Before.IsZero() {
		out = strconv.AppendInt(out, e.Before.Unix(), 10)
		out = fmt.Appendf(out, ".%09d", e.Before.Nanosecond())
	}
	until = e.Until.Unix()
	if e.Until.Nanosecond() > 0 {
		until++
	}
	return string(out), min(max(until, 1), lastSecond)
}

// decode reads what encode wrote, and nothing else.
func decode(member, score string) (revoke.Entry, error) {
	if len(member) < 2 || len(member) > maxMember || member[0] != memberVersion {
		return revoke.Entry{}, errMember
	}
	var e revoke.Entry
	for kind, letter := range letters {
		if letter == member[1] {
			e.Kind = kind
		}
	}
	rest := member[2:]
	for _, field := range []*string{&e.Issuer, &e.Value} {
		digits, behind, _ := strings.Cut(rest, ":")
		length, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || length > uint64(len(behind)) {
			return revoke.Entry{}, errMember
		}
		*field, rest = behind[:length], behind[length:]
	}
	if seconds, fraction, found := strings.Cut(rest, "."); found {
		s, err1 := strconv.ParseInt(seconds, 10, 64)
		n, err2 := strconv.ParseUint(fraction, 10, 32)
		if err1 != nil || err2 != nil {
			return revoke.Entry{}, errMember
		}
		e.Before = time.Unix(s, int64(n))
	}
	until, err := strconv.ParseInt(score, 10, 64)
	if err != nil || until < 1 || until > lastSecond {
		return revoke.Entry{}, errMember
	}
	e.Until = time.Unix(until, 0)
	if e.Validate() != nil {
		return revoke.Entry{}, errMember
	}
	if again, _ := encode(e); again != member {
		return revoke.Entry{}, errMember
	}
	return e, nil
}
