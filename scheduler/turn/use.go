package turn

// KVUse is the part of the KV budget that is held; 0: no budget is known.
func (d *Decider) KVUse() float64 {
	held, budget := 0.0, 0.0
	for _, b := range d.Pool.Backends() {
		if s := b.State(); s.Up && s.KVBudget > 0 {
			held += s.KVHeld
			budget += s.KVBudget
		}
	}
	if budget == 0 {
		return 0
	}
	return held / budget
}
