package simulate

import (
	"math"
	"math/rand/v2"
)

// Lengths is a distribution. One of Fixed, Median (log-normal, with Sigma), Pareto
// (from Min, with that exponent), Mean (exponential), and Min with Max (even) is
// given; Min and Max bound what is drawn.
type Lengths struct {
	Fixed    float64
	Median   float64
	Sigma    float64
	Pareto   float64
	Mean     float64
	Min, Max float64
}

func (l *Lengths) draw(r *rand.Rand) float64 {
	var x float64
	switch {
	case l.Fixed > 0:
		x = l.Fixed
	case l.Median > 0:
		x = l.Median * math.Exp(l.Sigma*r.NormFloat64())
	case l.Pareto > 0:
		x = l.Min * math.Pow(1-r.Float64(), -1/l.Pareto)
	case l.Mean > 0:
		x = l.Mean * r.ExpFloat64()
	default:
		x = l.Min + (l.Max-l.Min)*r.Float64()
	}
	return l.clip(x)
}

func (l *Lengths) clip(x float64) float64 {
	x = max(x, l.Min)
	if l.Max > 0 {
		x = min(x, l.Max)
	}
	return min(x, mostLength)
}

// usual is what about half of what is drawn does not exceed.
func (l *Lengths) usual() float64 {
	switch {
	case l.Fixed > 0:
		return l.clip(l.Fixed)
	case l.Median > 0:
		return l.clip(l.Median)
	case l.Pareto > 0:
		return l.clip(l.Min * math.Pow(2, 1/l.Pareto))
	case l.Mean > 0:
		return l.clip(l.Mean * math.Ln2)
	default:
		return l.clip((l.Min + l.Max) / 2)
	}
}

func (l *Lengths) tokens(r *rand.Rand) int { return int(math.Round(l.draw(r))) }
