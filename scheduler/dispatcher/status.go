package dispatcher

import (
	"cmp"
	"slices"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/fairqueue"
)

// mostSuspects is how many crash suspects are listed.
const mostSuspects = 20

// Status is how a pool stands, as the process that leads it sees it.
type Status struct {
	Classes  []ClassStatus    // by name
	Backends []capacity.State // as configured, then those that drain
	Suspects []Suspect        // the last ones, oldest first
	Inverted []fairqueue.Inversion
	Load     float64 // how loaded the pool is, from -1, idle, to 1
}

// ClassStatus is how a class stands.
type ClassStatus struct {
	Name     string
	Weight   float64
	Waiting  int           // requests
	Running  int           // sequences
	Oldest   time.Duration // age of the request that waits longest; 0: none waits
	Share    float64       // of the cost delivered in the last minute
	Entitled float64       // to that share
}

// Suspect is a request that was in flight at two deaths of a backend.
type Suspect struct {
	ID          string    `json:"id"` // of the call, not the client's
	User        string    `json:"user"`
	Model       string    `json:"model"`
	InputTokens int       `json:"input_tokens"`
	At          time.Time `json:"at"`
}

// Status tells how the pool stood at the last tick; false: another process leads.
func (d *Dispatcher) Status() (s Status, leading bool) {
	if p := d.status.Load(); p != nil {
		return *p, true
	}
	return Status{}, false
}

// standing is what Status tells until the next tick. Nobody changes it any more.
func (l *leader) standing(now time.Time) *Status {
	s := &Status{Suspects: slices.Clone(l.suspects), Inverted: l.inverted(), Load: float64(l.load.Level()) / scheduler.MostLoad}
	share, entitled := l.delivered(), l.entitled()
	for name, c := range l.classes {
		s.Classes = append(s.Classes, ClassStatus{
			Name: name, Weight: l.turn.Policy().Weight(name), Waiting: c.queued, Running: l.turn.Running(name), Oldest: c.age(now),
			Share: share[name], Entitled: entitled[name],
		})
	}
	slices.SortFunc(s.Classes, func(a, b ClassStatus) int { return cmp.Compare(a.Name, b.Name) })
	for _, b := range l.turn.Pool.Backends() {
		s.Backends = append(s.Backends, b.State())
	}
	return s
}

// list keeps a suspect for the status.
func (l *leader) list(it *item, now time.Time) {
	if len(l.suspects) == mostSuspects {
		l.suspects = slices.Delete(l.suspects, 0, 1)
	}
	e := it.entry
	l.suspects = append(l.suspects, Suspect{ID: e.ID, User: e.User, Model: e.Model, InputTokens: e.InputTokens, At: now})
}
