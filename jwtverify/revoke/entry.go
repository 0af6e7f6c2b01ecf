package revoke

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what of a token an [Entry] names.
type Kind uint8

// The kinds, and which claim each compares.
const (
	ByToken   Kind = iota + 1 // jti
	BySession                 // sid
	BySubject                 // sub, and iat
	ByClient                  // client_id, else azp, cid, appid; and iat
	ByKey                     // kid of the header
	kinds
)

// Entry names tokens that are revoked: those of one issuer with one value of what
// its Kind compares. Make it with [Token], [Session], [Subject], [Client] or [Key].
type Entry struct {
	Kind   Kind
	Issuer string // iss, to the letter
	Value  string // at most 1 KiB
	// Before is the moment before which the tokens were issued, by Kinds that
	// compare iat, and zero with others. A token without iat was issued before any.
	// An iat has no fractions: of the tokens issued in the second of Before, all are
	// revoked if it has one, and none if it has not.
	Before time.Time
	// Until is when the last of the tokens has expired. The Entry is kept five
	// minutes longer, which is the most leeway that a Verifier allows.
	Until time.Time
}

// Token names one token by its jti.
func Token(issuer, id string, until time.Time) Entry {
	return Entry{Kind: ByToken, Issuer: issuer, Value: id, Until: until}
}

// Session names the tokens of a session by its sid.
func Session(issuer, id string, until time.Time) Entry {
	return Entry{Kind: BySession, Issuer: issuer, Value: id, Until: until}
}

// Subject names the tokens of a subject that were issued before some moment. They
// have expired when the issuer's longest lifetime has passed since.
func Subject(issuer, subject string, before, until time.Time) Entry {
	return Entry{Kind: BySubject, Issuer: issuer, Value: subject, Before: before, Until: until}
}

// Client names the tokens of a client that were issued before some moment. They have
// expired when the issuer's longest lifetime has passed since.
func Client(issuer, id string, before, until time.Time) Entry {
	return Entry{Kind: ByClient, Issuer: issuer, Value: id, Before: before, Until: until}
}

// Key names the tokens that a key has signed, by its kid.
func Key(issuer, id string, until time.Time) Entry {
	return Entry{Kind: ByKey, Issuer: issuer, Value: id, Until: until}
}

const maxValue = 1 << 10 // bytes of an Entry's Issuer, and of its Value

// Validate tells what is wrong with an Entry.
func (e Entry) Validate() error {
	timed := e.Kind == BySubject || e.Kind == ByClient
	switch {
	case e.Kind == 0 || e.Kind >= kinds:
		return fmt.Errorf("revoke: an Entry has the Kind %d: make it with Token, Session, Subject, Client or Key", e.Kind)
	case e.Issuer == "" || e.Value == "":
		return errors.New("revoke: an Entry needs an issuer and what to revoke: an empty string names no token")
	case len(e.Issuer) > maxValue || len(e.Value) > maxValue:
		return fmt.Errorf("revoke: an Entry has more than %d bytes of issuer or value", maxValue)
	case timed && e.Before.IsZero():
		return errors.New("revoke: an Entry needs the moment before which its tokens were issued: write time.Now()")
	case !timed && !e.Before.IsZero():
		return errors.New("revoke: Before is for subjects and clients: remove it")
	case e.Until.IsZero():
		return errors.New("revoke: an Entry needs the time until which its tokens could be valid: the token's exp, or now and the issuer's longest lifetime")
	case e.Until.Unix() > latest || timed && e.Before.Unix() > latest:
		return errors.New("revoke: an Entry has a date behind the year 9999")
	}
	return nil
}

const latest = 253402300799 // the last second of the year 9999
