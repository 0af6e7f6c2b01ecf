// Package wycheproof holds tests alone: Project Wycheproof's vectors for JSON
// Web Signature and JSON Web Key, run against jwks and jwtverify.
//
// A vector's payload is the text "foo" and the like, which is no claims set, so
// that Verify refuses the valid ones too. Each vector is therefore judged twice.
// First as a bare signature: its key is admitted and looked up by jwks, and
// checks the signature over the vector's own octets. Then as an access token:
// the vector's header goes unchanged in front of a proper claims set. Under the
// vector's own signature Verify must refuse that; signed anew with the vector's
// private key Verify must accept it if, and only if, header and key are good.
//
// Where our verdict is not the label's, verdicts_test.go names the vector and
// says why; no vector is skipped.
package wycheproof
