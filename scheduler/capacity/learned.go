package capacity

// Learned is what a backend has shown of itself, for a successor that has to
// begin with it rather than with guesses.
type Learned struct {
	URL     string  `json:"url"`
	Slots   int     `json:"slots,omitempty"`   // 0: they are configured
	Ceiling int     `json:"ceiling,omitempty"` // of the slots, once the backend queued by itself
	Beta    float64 `json:"beta"`
	Rho     float64 `json:"rho"`
	Rate    float64 `json:"rate"` // of prefill, in tokens a second
}

// Learned is what is known of the backend beyond its configuration.
func (b *Backend) Learned() Learned {
	x := Learned{URL: b.url, Beta: b.beta, Rho: b.rho, Rate: b.prefill.rate}
	if !b.fixed {
		x.Slots, x.Ceiling = b.slots, b.learner.ceiling
	}
	return x
}

// Recall begins where a predecessor was. What lies outside of what can be
// learned is left out, and so is what is configured.
func (b *Backend) Recall(x Learned) {
	if !b.fixed && x.Slots > 0 {
		b.slots = min(x.Slots, mostSlots)
		b.learner = slotLearner{ceiling: min(max(x.Ceiling, 0), mostSlots)}
	}
	recall(&b.rho, x.Rho, leastRho, mostRho)
	recall(&b.prefill.rate, x.Rate, leastRate, mostRate)
	if !b.pool.fixed {
		recall(&b.beta, x.Beta, leastBeta, mostBeta)
	}
}

// recall takes x if it lies within bounds; NaN lies nowhere.
func recall(to *float64, x, least, most float64) {
	if x >= least && x <= most {
		*to = x
	}
}
