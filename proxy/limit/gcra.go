package limit

import (
	"math"
	"math/bits"
)

// span is a time in nanoseconds, exact: whole + part/N of the limit it belongs
// to, 0 <= part < N.
type span struct{ whole, part int64 }

// span is how long cost takes to flow back: cost·Period/N. What has no place in
// an int64 is the longest time there is. Nothing here is negative.
func (l Limit) span(cost int64) span {
	hi, lo := bits.Mul64(unsigned(cost), unsigned(int64(l.Period)))
	n := unsigned(l.N)
	if hi >= n {
		return span{whole: math.MaxInt64}
	}
	whole, part := bits.Div64(hi, lo, n)
	return span{signed(whole), signed(part)}
}

func unsigned(v int64) uint64 { return uint64(max(v, 0)) }

func signed(v uint64) int64 { return int64(min(v, math.MaxInt64)) }
