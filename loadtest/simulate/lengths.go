package simulate

import (
	"errors"
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

func (l *Lengths) validate() error {
	switch {
	case l.Fixed < 0 || l.Median < 0 || l.Sigma < 0 || l.Pareto < 0 || l.Mean < 0 || l.Min < 0 || l.Max < 0:
		return errors.New("no length may be negative")
	case l.Pareto > 0 && l.Min <= 0:
		return errors.New("pareto needs a min")
	case l.Max > 0 && l.Min > l.Max:
		return errors.New("min is larger than max")
	}
	return nil
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
	x = max(x, l.Min)
	if l.Max > 0 {
		x = min(x, l.Max)
	}
	return x
}

func (l *Lengths) tokens(r *rand.Rand) int { return int(math.Round(l.draw(r))) }
