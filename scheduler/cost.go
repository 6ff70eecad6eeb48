package scheduler

// CostWeights turn tokens into cost, the unit of the fair queue. The defaults
// weigh output twice, as VTC does (Sheng et al., "Fairness in Serving Large
// Language Models", OSDI'24).
type CostWeights struct {
	Input  float64 // of a prompt token that is not cached
	Cached float64 // of a prompt token found in the prefix cache
	Output float64 // of a generated token
}

// DefaultCost is the cost of a pool that configures none.
func DefaultCost() CostWeights { return CostWeights{Input: 1, Cached: 0.1, Output: 2} }

// Of is the cost of u in tokens.
func (w CostWeights) Of(u Usage) float64 {
	cached := min(max(u.Cached, 0), max(u.Input, 0))
	return w.Input*float64(max(u.Input, 0)-cached) + w.Cached*float64(cached) + w.Output*float64(max(u.Output, 0))
}
