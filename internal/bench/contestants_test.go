package main

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryContestantAcceptsTheTokenAndMakesEveryCheck(t *testing.T) {
	iss, err := newIssuer()
	require.NoError(t, err)
	defer iss.Close()
	for _, alg := range algorithms {
		good, err := iss.token(alg, nil)
		require.NoError(t, err)
		forgeries, err := iss.forgeries(alg)
		require.NoError(t, err)
		for _, c := range contestants {
			t.Run(alg+"/"+c.name, func(t *testing.T) {
				verify, err := c.open(t.Context(), iss, alg)
				require.NoError(t, err)
				require.NoError(t, verify(good))
				require.Len(t, forgeries, 5)
				for check, token := range forgeries {
					require.Error(t, verify(token), check)
				}
				require.NoError(t, verify(good), "after the forgeries")
			})
		}
	}
}

func TestTheFloorChecksTheSignatureAndNothingElse(t *testing.T) {
	iss, err := newIssuer()
	require.NoError(t, err)
	defer iss.Close()
	for _, alg := range algorithms {
		t.Run(alg, func(t *testing.T) {
			verify, err := floor.open(t.Context(), iss, alg)
			require.NoError(t, err)
			good, err := iss.token(alg, nil)
			require.NoError(t, err)
			forgeries, err := iss.forgeries(alg)
			require.NoError(t, err)
			require.NoError(t, verify(good))
			require.Error(t, verify(forgeries[checksSignature]))
			require.NoError(t, verify(forgeries["aud"]))
		})
	}
}

func TestAContestantThatLeavesACheckOutIsNotCompared(t *testing.T) {
	forgeries := map[string]string{"aud": "wrong audience", "exp": "expired"}
	careless := func(token string) error {
		if token == "expired" {
			return errors.New("expired")
		}
		return nil
	}
	require.EqualError(t, prove(careless, "good", forgeries), "does not check aud")

	sullen := func(string) error { return errors.New("no") }
	require.EqualError(t, prove(sullen, "good", forgeries), "refuses a good token: no")
}
