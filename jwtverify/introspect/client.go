package introspect

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // what the algorithms of RFC 7518 hash with
	_ "crypto/sha512"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"reflect"
	"slices"
	"time"

	"github.com/bearerguard/bearerguard/internal/fetch"
	"github.com/bearerguard/bearerguard/internal/jose"
)

// authenticator adds what proves to the endpoint who asks (RFC 7662 §2.1).
type authenticator func(*fetch.Form) error

// authenticator is nil where faults says why.
func (c *Config) authenticator() (authenticator, error) {
	id, secret := c.ClientID, c.ClientSecret
	switch {
	case c.ClientKey != nil:
		return c.keyAuthenticator()
	case c.SecretInForm:
		return func(f *fetch.Form) error {
			f.Values.Set("client_id", id)
			f.Values.Set("client_secret", secret)
			return nil
		}, nil
	}
	return func(f *fetch.Form) error {
		// RFC 6749 §2.3.1: form-encoded first, so that a colon in the identifier is
		// not where the secret begins.
		f.User, f.Password = url.QueryEscape(id), url.QueryEscape(secret)
		return nil
	}, nil
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" // RFC 7523 §2.2

// assertionLife is how long an assertion is good for, the time that it is on its way.
const assertionLife = time.Minute

func (c *Config) keyAuthenticator() (authenticator, error) {
	if v := reflect.ValueOf(c.ClientKey); (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil() {
		return nil, fmt.Errorf("introspect: Config.ClientKey is a nil %T: check the error of what made it", c.ClientKey)
	}
	public, err := jose.FromPublic(c.ClientKey.Public())
	if err != nil {
		return nil, fmt.Errorf("introspect: Config.ClientKey: %w: write an RSA key of 2048 bits or more, one of P-256, P-384 or P-521, or an Ed25519 key", err)
	}
	algorithms := public.Algorithms()
	alg := c.KeyAlgorithm
	if alg == "" {
		alg = algorithms[0]
	}
	if !slices.Contains(algorithms, alg) {
		return nil, fmt.Errorf("introspect: Config.KeyAlgorithm is %q: write one of %q, which fit the key", alg, algorithms)
	}
	header := map[string]string{"alg": alg, "typ": "JWT"}
	if c.KeyID != "" {
		header["kid"] = c.KeyID
	}
	protected, err := encoded(header)
	if err != nil {
		return nil, fmt.Errorf("introspect: Config.KeyID: %w", err)
	}
	key, id, issuer := c.ClientKey, c.ClientID, c.Issuer
	return func(f *fetch.Form) error {
		now := time.Now()
		claims, err := encoded(map[string]any{
			"iss": id, "sub": id, "aud": issuer, "jti": rand.Text(),
			"iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
		})
		if err != nil {
			return err
		}
		input := protected + "." + claims
		signature, err := sign(key, alg, []byte(input))
		if err != nil {
			// What a signer of the caller's says may be anything.
			return errors.New("the client's key does not sign")
		}
		f.Values.Set("client_id", id)
		f.Values.Set("client_assertion_type", assertionType)
		f.Values.Set("client_assertion", input+"."+base64.RawURLEncoding.EncodeToString(signature))
		return nil
	}, nil
}

func encoded(v any) (string, error) {
	text, err := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(text), err
}

// sign makes a signature as RFC 7518 §3 and RFC 8037 have it, with an algorithm that
// is known to fit the key.
func sign(key crypto.Signer, alg string, input []byte) ([]byte, error) {
	if alg == "EdDSA" || alg == "Ed25519" {
		return key.Sign(rand.Reader, input, crypto.Hash(0))
	}
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[alg[2:]]
	hasher := hash.New()
	hasher.Write(input)
	digest := hasher.Sum(nil)
	switch alg[:2] {
	case "PS":
		return key.Sign(rand.Reader, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash})
	case "RS":
		return key.Sign(rand.Reader, digest, hash)
	}
	der, err := key.Sign(rand.Reader, digest, hash)
	if err != nil {
		return nil, err
	}
	// RFC 7518 §3.4: two numbers of the curve's length, where Signers write DER.
	var point struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &point); err != nil || len(rest) > 0 {
		return nil, errors.New("no ECDSA signature")
	}
	size := map[string]int{"ES256": 32, "ES384": 48, "ES512": 66}[alg]
	if point.R.Sign() <= 0 || point.S.Sign() <= 0 || max(point.R.BitLen(), point.S.BitLen()) > 8*size {
		return nil, errors.New("no ECDSA signature")
	}
	return append(point.R.FillBytes(make([]byte, size)), point.S.FillBytes(make([]byte, size))...), nil
}
