package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// Each replica sees this many tokens a second, at random.
const tokensPerSecond = 1

// A client uses a token for this long, so that after a rotation the share of
// tokens under the new key grows for as long.
const tokenLife = 5 * time.Minute

// issuer is one history of an issuer's, from its earliest start of a replica to
// the end. Its keys are numbered: 0 before a rotation, 1 after.
type issuer struct {
	publishes  time.Duration // key 1
	rotates    time.Duration // signs with key 1; never
	falls      time.Duration // the outage; never
	rises      time.Duration
	retryAfter bool // its 503 says when it will be back
	end        time.Duration
}

func (i *issuer) up(now time.Duration) bool { return now < i.falls || now >= i.rises }

func (i *issuer) published(now time.Duration) int {
	if now >= i.publishes {
		return 1
	}
	return 0
}

// after is what the Retry-After of a failed request says.
func (i *issuer) after(now time.Duration) time.Duration {
	if !i.retryAfter {
		return 0
	}
	return i.rises - now
}

// token is the time of the first token from now on that a replica does not have
// the key of. Tokens have no memory, so it may be asked again at any time.
func (i *issuer) token(now time.Duration, known int, random *rand.Rand) time.Duration {
	switch {
	case now >= i.end:
		return never
	case known == noKey:
		return now + time.Duration(random.ExpFloat64()/tokensPerSecond*float64(time.Second))
	case known >= 1 || i.rotates == never:
		return never
	}
	// The rate of tokens under key 1 grows from nothing to all in tokenLife. The
	// integral of that rate up to the first such token is exponential.
	life := tokenLife.Seconds()
	since := max(0, (now - i.rotates).Seconds())
	var seen float64
	if since < life {
		seen = tokensPerSecond * since * since / (2 * life)
	} else {
		seen = tokensPerSecond * (since - life/2)
	}
	seen += random.ExpFloat64()
	if full := tokensPerSecond * life / 2; seen < full {
		since = math.Sqrt(2 * life * seen / tokensPerSecond)
	} else {
		since = seen/tokensPerSecond + life/2
	}
	return i.rotates + time.Duration(since*float64(time.Second))
}
