package fairqueue

import "math"

const (
	// fraction is the resolution of virtual time and of weights.
	fraction = 1 << 20
	// rebaseAt is the virtual time at which a level starts again near 0.
	rebaseAt = 1 << 61
	// farthest is where virtual time saturates; one more span still fits into an
	// int64.
	farthest = 1 << 62

	lightest = 0.01
	heaviest = 1000
)

// weight is a weight in units of 1/fraction: sums of integers come back to
// exactly 0, those of floats do not.
type weight int64

// weightOf takes what is below the lightest (NaN too) or above the heaviest
// weight as that.
func weightOf(w float64) weight {
	if !(w > lightest) {
		w = lightest
	}
	return weight(math.Round(min(w, heaviest) * fraction))
}

func (w weight) float() float64 { return float64(w) / fraction }

// span is how far a cost moves the virtual time of a node of weight w, rounded
// up. It is monotone in c: a charge that grows from a to b moves V by
// span(b) − span(a), so however it is split, a refund takes back all of it.
func span(c Cost, w weight) int64 {
	return int64(math.Ceil(float64(c) * (fraction * fraction) / float64(w)))
}

// costs is the cost that moves a node of weight w by v.
func costs(v int64, w weight) Cost {
	return Cost(min(float64(v)*float64(w)/(fraction*fraction), math.MaxInt64/2))
}

// mean is the average cost of the requests that were settled; old ones fade.
type mean struct {
	n     int
	value float64
}

const meanMemory = 256

func (m *mean) add(c Cost) {
	m.n = min(m.n+1, meanMemory)
	m.value += (float64(c) - m.value) / float64(m.n)
}

// span is Q: the mean cost at weight 1, and 0 before the first settlement.
func (m *mean) span() int64 { return span(Cost(m.value), fraction) }
