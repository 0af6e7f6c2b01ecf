package main

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"time"

	"github.com/bearerguard/bearerguard/jwtverify"
)

// outcome is one cell of the table.
type outcome struct {
	ideal bool
	note  string
}

// trial is one contestant in one scenario, with an endpoint of its own.
type trial struct {
	*material
	*endpoint
	open   func() (verifyFunc, error)
	verify verifyFunc // once opened
}

// material is what all trials share.
type material struct {
	unit       time.Duration // the times of every scenario are multiples of it
	flood      int           // bytes of an oversized answer
	a, b, c    *key
	tooShort   *key // RSA of 1024 bits
	good       string
	underB     string
	underC     string
	underShort string
	forged     []string // each with a kid of its own, under a key that nobody publishes
}

func newMaterial(unit time.Duration) (*material, error) {
	m := &material{unit: unit, flood: 200 * mib}
	for _, k := range []struct {
		key   **key
		token *string
		kid   string
		bits  int
	}{
		{&m.a, &m.good, "a", 2048}, {&m.b, &m.underB, "b", 2048}, {&m.c, &m.underC, "c", 2048}, {&m.tooShort, &m.underShort, "short", 1024},
	} {
		private, err := rsa.GenerateKey(rand.Reader, k.bits)
		if err != nil {
			return nil, err
		}
		*k.key = &key{k.kid, private}
		if *k.token, err = (*k.key).token(k.kid); err != nil {
			return nil, err
		}
	}
	for n := range 2000 {
		token, err := m.b.token(fmt.Sprintf("forged-%d", n))
		if err != nil {
			return nil, err
		}
		m.forged = append(m.forged, token)
	}
	return m, nil
}

// patience is what nobody should have to wait for a known key. It is generous:
// what waits for the network waits longer.
func (m *material) patience() time.Duration { return m.unit }

// warm opens the contestant, and returns once it takes a good token.
func (t *trial) warm() error {
	verify, err := t.open()
	if err != nil {
		return err
	}
	t.verify = verify
	if _, err := t.accepts(t.good, 3*t.unit); err != nil {
		return fmt.Errorf("refuses a good token while all is well: %w", err)
	}
	return nil
}

// accepts waits for the token to be accepted, and returns how long that took.
func (t *trial) accepts(token string, limit time.Duration) (time.Duration, error) {
	start := time.Now()
	for {
		err := t.verify(token)
		if took := time.Since(start); err == nil || took > limit {
			return took, err
		}
		time.Sleep(t.unit / 100)
	}
}

// refuses waits for the token to be refused.
func (t *trial) refuses(token string, limit time.Duration) (took time.Duration, refused bool) {
	start := time.Now()
	for {
		err := t.verify(token)
		if took = time.Since(start); err != nil || took > limit {
			return took, err != nil
		}
		time.Sleep(t.unit / 100)
	}
}

// tally sums up a token that was shown again and again.
type tally struct {
	shown, refused int
	invalid        int // of the refused, with ErrInvalidToken: an outage taken for a bad token
	worst          time.Duration
}

func (t *trial) show(token string, length time.Duration) tally {
	var n tally
	for start := time.Now(); time.Since(start) < length; time.Sleep(t.unit / 20) {
		asked := time.Now()
		err := t.verify(token)
		n.worst = max(n.worst, time.Since(asked))
		n.shown++
		if err != nil {
			n.refused++
		}
		if errors.Is(err, jwtverify.ErrInvalidToken) {
			n.invalid++
		}
	}
	return n
}

// undisturbed judges a token under a known key that was shown while something
// was wrong.
func (t *trial) undisturbed(n tally) outcome {
	switch {
	case n.refused > 0:
		return outcome{note: fmt.Sprintf("%d of %d refused", n.refused, n.shown)}
	case n.worst > t.patience():
		return outcome{note: "waits " + short(n.worst)}
	}
	return outcome{ideal: true}
}

func short(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
