package wycheproof_test

// verdict is ours where it is not the label's.
type verdict struct {
	accept bool
	reason string
}

const (
	identical    = "upstream defect: the padding that the comment speaks of is not there; the octets are those of the valid vector 357"
	question     = "upstream defect: a segment holds '?', which is not of base64url's alphabet (RFC 7515 §2, RFC 4648 §3.3)"
	forPS256     = "upstream defect: the JWK is for PS256 and the header says PS384 (RFC 7517 §4.4, RFC 8725 §3.1)"
	es521        = "upstream defect: the JWK's alg is spelt ES521, which no registry has; RFC 7518 §3.1 calls it ES512"
	roca         = "out of scope: whether a well-formed modulus was made by a weak generator is the issuer's to know; SECURITY.md says so"
	noEncryption = "access tokens are JWS in compact form here; five segments are refused by their number (RFC 9068 §4 leaves encryption to be agreed)"
)

var ours = map[string]map[int]verdict{
	signatureFile: {
		346: {false, forPS256},
		347: {false, es521},
		350: {false, forPS256},
		351: {false, es521},
		367: {true, identical},
		370: {true, identical},
		372: {false, question},
		373: {false, question},
	},
	keyFile: {
		7: {true, roca},
	},
	cryptoFile: {
		46: {true, roca},
	},
	encryptionFile: {},
}

// verdictOn says whether we accept a vector, and, where that is not its label,
// why.
func verdictOn(file string, v vector) verdict {
	if own, ok := ours[file][v.ID]; ok {
		return own
	}
	if v.Result == "valid" && v.JWE != nil {
		return verdict{false, noEncryption}
	}
	return verdict{v.Result == "valid", ""}
}

// embeddedKeys lists the vectors whose header carries a "jwk" of the attacker's.
// The header is never a source of keys, so it does no harm: the signature by the
// attacker's key is refused and one by the issuer's key is accepted.
var embeddedKeys = map[string]int{signatureFile: 32, cryptoFile: 32}
