// Package contextkey is the key under which a request's context carries its
// token. It stands apart because a context of an adapter's own may answer to it
// too, and nobody outside this module may.
package contextkey

// Token is the key; its value is a *jwtverify.Token.
type Token struct{}
