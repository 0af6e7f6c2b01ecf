// Package introspect accepts opaque access tokens, of which only their issuer knows
// what they say: it asks the issuer's introspection endpoint (RFC 7662), and takes
// the token if the answer says that it is active and the rest of the answer holds.
//
//	i, err := introspect.New(introspect.Config{
//		Issuer:       "https://issuer.example.com/",
//		Audience:     []string{"https://api.example.com"},
//		ClientID:     "orders-api",
//		ClientSecret: secret,
//	})
//
// An [Introspector] has the one method that the adapters below middleware/ ask for.
// A [Hybrid] joins one with a jwtverify.Verifier where an issuer hands out both
// kinds, or where a JWT must be dead soon after it was revoked. With Config.CacheBytes:
// -1 that is as soon as the exchanges with the issuer have ended that began before.
//
// # What it costs
//
// A Verifier judges a JWT by itself: in microseconds, also while its issuer is down,
// and until exp whatever the issuer has come to think of it. An introspected token is
// dead soon after it was revoked; for that the issuer stands in the way of requests:
//
//   - The first request with a token waits for an exchange with the issuer, and so
//     does one each time that Config.TTL has passed. In between an answer is kept, and
//     a revoked token lives on: TTL is the time that a revocation may take, and a TTL
//     half as long costs the issuer twice as many exchanges.
//     A stream that was let in goes on until the token's exp, as with a JWT.
//   - While the issuer is down every token is refused as soon as its answer is older
//     than TTL, with [jwtverify.ErrUnavailable]: a 503 that asks to come back.
//   - An issuer that repeats the token in its answers is asked each time, and that is
//     logged as an error: kept with an answer the token would be there for whoever can
//     read this memory.
//   - Whoever sends a flood of made-up tokens sends it to the issuer too, as far as it
//     is let: 64 exchanges at once, and a token of characters that none has, or of
//     more than 16 KiB, causes none.
//
// Where the endpoint is found by discovery, the first request would wait for that too, and
// a wrong Issuer would show only then: [Introspector.Ready] is for start-up and for
// readiness probes.
//
// So prefer JWTs of a short life where the issuer can make them, and introspect where
// it cannot or where revocation must bite at once.
//
// # What is checked
//
// active must be the boolean true (RFC 7662 §2.2). The rest of the answer decides as a
// JWT's claims would (§4): iss, where it is there, is the issuer; aud names this API;
// exp, nbf and iat hold, with leeway; token_type, where it is there, is Bearer, and
// nothing shows another kind of token, since an endpoint may know refresh tokens too.
// With Config.Signed the answer must be a JWT for this very client (RFC 9701). Such a
// JWT is no access token: neither an Introspector nor a Verifier takes it for one.
//
// # What an outage is
//
// An endpoint that cannot be reached, or says what is no answer, has not said that a
// token is inactive. That is ErrUnavailable, never ErrInactive.
//
//	what the endpoint does                            what Verify says    about what, how long
//	active is true, and the rest holds                a Token             the token, TTL and not past exp
//	active is false                                   ErrInactive         the token, NegativeTTL
//	active is true, and the rest does not hold        ErrIssuer, …        the token, NegativeTTL
//	no connection, no TLS, 401, 404, 405, 410, 429,   ErrUnavailable      every token, 1 s, doubling to 30 s
//	no metadata, a ClientKey that does not sign
//	no answer in 5 s, a connection that ends, 408,    ErrUnavailable      the token, 1 s; every token, likewise,
//	5xx, 2xx other than 200, a redirect, no JSON, no                      after three different ones in a row
//	boolean, another media type, larger than
//	256 KiB, a JWT that does not hold
//	400, 403, 4xx else                                ErrUnavailable      the token, 1 s
//
// 400, 401 and 403 mean that the Config is wrong, and are logged as an error, once a
// minute at most.
//
// A dead endpoint is not asked again by everyone. After an exchange that says so calls
// fail at once, and when the time is over up to four at once try again, of which each
// waits a second at most. Any answer to one of them ends the outage. Answers that are
// kept hold meanwhile, until TTL.
//
// That is so too for a token that alone had trouble, so that a dead endpoint costs nobody
// five seconds twice: what is asked about it next, its caller waits a second for, and the
// answer is kept for the call after, as far as answers are kept.
//
// What may be one token's doing is not held against the others: a stranger who finds a
// token at which the endpoint answers 5xx, or a firewall before it 403, takes nobody
// else's along. Only three different tokens at which it fails, with no answer to any
// other between, look like an endpoint that is dead; 400, 403 and other 4xx never do. A
// 503 with Retry-After keeps the one token from being asked about for as long as it says,
// 30 s at most.
//
// Whoever has many tokens at which the endpoint hangs can still make it look dead, and,
// while it is tried out with them, keep others from trying: their answer is 503 meanwhile,
// but for tokens with an answer that is kept. What hangs at a made-up token has to be
// mended at the issuer.
package introspect
