package main

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMedianIsTheMiddleOrTheMeanOfTheMiddleTwo(t *testing.T) {
	require.Equal(t, 2.0, median([]float64{9, 1, 2}))
	require.Equal(t, 2.5, median([]float64{9, 3, 1, 2}))
}

// The clock of a synctest bubble moves only while all sleep, so the ratios
// here are exact.
func TestALaneIsComparedWithTheFloorSlotsOnBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The floor gets slower all the time, as on a machine that throttles.
		pace := 10 * time.Microsecond
		floor := &lane{name: "floor", verify: func(string) error {
			pace += time.Nanosecond
			time.Sleep(pace)
			return nil
		}}
		triple := &lane{name: "triple", verify: func(string) error {
			pace += time.Nanosecond
			time.Sleep(3 * pace)
			return nil
		}}
		h := &heat{lanes: []*lane{triple}, floor: floor}
		require.NoError(t, h.race(9, time.Millisecond))
		require.Len(t, triple.ratios, 9)
		for _, ratio := range triple.ratios {
			require.InDelta(t, 3, ratio, 0.02)
		}
		require.Equal(t, 1.0, median(floor.ratios))
	})
}

func TestASlotLastsAsLongAsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lane{verify: func(string) error { time.Sleep(10 * time.Microsecond); return nil }}
		require.NoError(t, l.calibrate("", 4*time.Millisecond))
		require.Equal(t, 400, l.calls)
		require.Empty(t, l.ns, "the warm-up is not measured")
	})
}

func TestARefusalInARaceEndsIt(t *testing.T) {
	refuse := errors.New("expired meanwhile")
	fine := &lane{name: "fine", verify: func(string) error { return nil }}
	calls := 0
	turns := &lane{name: "turns", verify: func(string) error {
		if calls++; calls > 1000 {
			return refuse
		}
		return nil
	}}
	h := &heat{lanes: []*lane{turns}, floor: fine}
	require.ErrorIs(t, h.race(1_000_000, time.Microsecond), refuse)
	_, _, err := allocations(turns.verify, "")
	require.ErrorIs(t, err, refuse)
}

var sink []byte

func TestAllocationsAreCountedPerCall(t *testing.T) {
	count, bytes, err := allocations(func(string) error {
		sink = make([]byte, 64)
		sink = make([]byte, 1024)
		return nil
	}, "")
	require.NoError(t, err)
	require.EqualValues(t, 2, count)
	require.EqualValues(t, 64+1024, bytes)
}
