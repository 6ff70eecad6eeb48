package simulate

import "time"

// Asker is one user of a workload, for who plays it elsewhere than here. It draws
// what the simulator draws.
type Asker struct{ s *source }

// Ask is what an Asker asks for, in tokens.
type Ask struct{ Input, Output int }

// Askers are the users of a workload that is described.
func (w *Workload) Askers() []*Asker {
	var out []*Asker
	for _, s := range newSources(w) {
		if s.user != nil {
			out = append(out, &Asker{s})
		}
	}
	return out
}

// Name is who it is.
func (a *Asker) Name() string { return a.s.key }

// Row is where its figures belong, an index of the workload's users.
func (a *Asker) Row() int { return a.s.row }

// User is its description.
func (a *Asker) User() *User { return a.s.user }

// Next is the next request.
func (a *Asker) Next() Ask {
	w := a.s.draw()
	return Ask{w.input, w.output}
}

// Gap is the time until the next request of somebody who asks at a rate, in a run
// that ends at end; false: there is none.
func (a *Asker) Gap(now, end time.Duration) (time.Duration, bool) { return a.s.gap(now, end) }
