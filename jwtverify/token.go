package jwtverify

import (
	"context"
	stdjson "encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/bearerguard/bearerguard/internal/bounded"
	"github.com/bearerguard/bearerguard/internal/contextkey"
)

// Token is an access token that was verified. It belongs to whoever got it:
// changing it changes no other caller's.
type Token struct {
	Issuer  string // iss
	Subject string // sub; with Issuer it names who this is (RFC 8725 §3.8)
	ID      string // jti; "" if there is none

	ClientID  string // client_id, else azp, cid, appid; "" if there is none
	SessionID string // sid; "" if there is none

	Audience []string // aud, or the claim that Config.AudienceClaim names
	Scopes   []string // from the places that Config.Scopes names
	Roles    []string // from the places that Config.Roles names

	Expiry     time.Time // exp
	NotBefore  time.Time // nbf; zero if there is none
	IssuedAt   time.Time // iat; zero if there is none
	ValidUntil time.Time // Expiry plus the Config's leeway: when to end what the token allows

	Header Header // alg, kid and typ

	claims string // as they were signed; "" in a Token that nothing vouches for
}

// tokenRoom has room for a Token and for the elements of its lists, as many as
// nearly every token has, in one allocation.
type tokenRoom struct {
	token Token
	lists [roomFor]string
}

const roomFor = 8

// clone is a copy that shares nothing that can be changed.
func (t *Token) clone() *Token {
	room := &tokenRoom{token: *t}
	lists := room.lists[:0]
	if elements := len(t.Audience) + len(t.Scopes) + len(t.Roles); elements > roomFor {
		lists = make([]string, 0, elements)
	}
	for _, list := range []*[]string{&room.token.Audience, &room.token.Scopes, &room.token.Roles} {
		if *list == nil {
			continue
		}
		start := len(lists)
		lists = append(lists, *list...)
		*list = slices.Clip(lists[start:])
	}
	return &room.token
}

// Header is what the token's JOSE header says (RFC 7515 §4).
type Header struct {
	Algorithm string // alg
	KeyID     string // kid; "" if there is none
	Type      string // typ as it came; "" if there is none
}

// HasScope reports whether the token has all the scopes named (RFC 6749 §3.3:
// exact, case-sensitive). With none named it is false.
func (t *Token) HasScope(scopes ...string) bool { return t != nil && hasAll(t.Scopes, scopes) }

func hasAll(have, want []string) bool {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return false
		}
	}
	return len(want) > 0
}

// Claims decodes all claims of a verified token into a T: a struct with json
// tags, or a map. Member names match exactly, a number decoded into any is a
// json.Number and loses no digit, and an integer takes no fraction. A Token that
// did not come from Verify or [TrustedToken] is an error.
func Claims[T any](t *Token) (T, error) {
	var claims T
	if t == nil || t.claims == "" {
		return claims, errors.New("jwtverify: Claims: the Token was not verified")
	}
	if err := json.Unmarshal([]byte(t.claims), &claims, json.WithUnmarshalers(exactNumbers)); err != nil {
		var none T
		return none, errors.New("jwtverify: Claims: " + bounded.Text(err.Error()))
	}
	return claims, nil
}

// exactNumbers keeps the digits of a number where the type says nothing of how
// many there are.
var exactNumbers = json.JoinUnmarshalers(
	json.UnmarshalFromFunc(func(dec *jsontext.Decoder, into *any) error {
		if dec.PeekKind() != '0' {
			return errors.ErrUnsupported // by this function: the default does it
		}
		digits, err := dec.ReadValue()
		*into = stdjson.Number(digits)
		return err
	}),
	json.UnmarshalFromFunc(func(dec *jsontext.Decoder, into *stdjson.Number) error {
		switch dec.PeekKind() {
		case '0':
			digits, err := dec.ReadValue()
			*into = stdjson.Number(digits)
			return err
		case '"': // which the default would take, since a Number is a string
			return errors.New("a string where a number belongs")
		}
		return errors.ErrUnsupported
	}),
)

// TrustedToken makes a Token of claims that the caller vouches for, such as an
// introspection answer (RFC 7662) and a test's. They are read as strictly as
// Verify reads them, but nothing is required and nothing is compared: time,
// issuer and audience are the caller's to check. Scopes come from scope and scp;
// there are no roles; ValidUntil is Expiry. The error is an [*Error].
func TrustedToken(h Header, claims []byte) (*Token, error) {
	f, err := readClaims(claims, &reading{audience: "aud", scopes: defaultScopes}, new(tokenRoom))
	if err != nil {
		return nil, err
	}
	f.token.Header = h
	f.token.ValidUntil = f.token.Expiry
	f.token.claims = f.whole
	return f.token, nil
}

// NewContext returns a context that carries a verified token. A nil Token hides
// one that ctx carries.
func NewContext(ctx context.Context, t *Token) context.Context {
	return context.WithValue(ctx, contextkey.Token{}, t)
}

// FromContext returns the token that a request was let in with. It is false
// where there is none.
func FromContext(ctx context.Context) (*Token, bool) {
	t, _ := ctx.Value(contextkey.Token{}).(*Token)
	return t, t != nil
}
