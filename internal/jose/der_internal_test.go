package jose

import (
	"bytes"
	"encoding/asn1"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestASignatureIsWrittenAsTheStandardLibraryWritesIt(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	check := func(r, s []byte) {
		want, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(r), new(big.Int).SetBytes(s)})
		require.NoError(t, err)
		require.Equal(t, want, appendDER(nil, r, s))
		require.LessOrEqual(t, len(want), maxDER)
	}
	for _, size := range []int{32, 48, 66} {
		zero, ones := make([]byte, size), bytes.Repeat([]byte{0xff}, size)
		check(zero, zero)
		check(ones, ones)
		check(zero, ones)
		for range 2000 {
			r, s := make([]byte, size), make([]byte, size)
			for _, half := range [][]byte{r, s} {
				for i := random.IntN(size + 1); i < size; i++ {
					half[i] = byte(random.Uint32())
				}
			}
			check(r, s)
		}
	}
}
