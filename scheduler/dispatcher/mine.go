package dispatcher

import (
	"cmp"
	"slices"
	"time"

	"fairlane/scheduler"
)

// mostListed bounds what a list costs, whoever asks.
const mostListed = 100

// mine is what the pool has of a user: what runs, and then what waits.
func (l *leader) mine(user string) []scheduler.Listed {
	now := time.Now()
	var out, waiting []scheduler.Listed
	for _, w := range l.workers {
		for _, it := range w.running {
			if it.entry.User == user && !it.left && len(out) < mostListed {
				x := listed(it.entry, it.run.At)
				x.Running = true
				out = append(out, x)
			}
		}
	}
	slices.SortFunc(out, func(a, b scheduler.Listed) int { return cmp.Compare(a.ID, b.ID) })
	for _, r := range l.turn.Queue.Waiting(user, mostListed) {
		it, ok := r.Value.(*item)
		if !ok {
			continue // not reached: only items are pushed
		}
		x, n := listed(it.entry, now), l.place(it)
		x.Position, x.ETA, x.NoBackend = n.Position, n.ETA, n.NoBackend
		waiting = append(waiting, x)
	}
	slices.SortStableFunc(waiting, func(a, b scheduler.Listed) int { return cmp.Compare(a.Position, b.Position) })
	waiting = waiting[:min(len(waiting), mostListed-len(out))]
	return append(out, waiting...)
}

func listed(e *scheduler.Entry, until time.Time) scheduler.Listed {
	return scheduler.Listed{ID: e.ID, Model: e.Model, Class: e.Class, Waited: max(until.Sub(e.AcceptedAt), 0)}
}
