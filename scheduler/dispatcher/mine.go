package dispatcher

import (
	"cmp"
	"slices"
	"time"

	"fairlane/scheduler"
)

// person is what waits of one user: how many, and the line of them, those that came
// first in front.
type person struct {
	waiting int
	line
}

// join counts an item of the user that waits.
func (l *leader) join(it *item) {
	p := l.users[it.entry.User]
	p.waiting++
	p.insert(inUser, it, p.back)
	l.users[it.entry.User] = p
}

// leave counts an item out that waits no longer.
func (l *leader) leave(it *item) {
	p := l.users[it.entry.User]
	p.waiting--
	p.remove(inUser, it)
	if p.waiting == 0 {
		delete(l.users, it.entry.User)
		return
	}
	l.users[it.entry.User] = p
}

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
	for it := l.users[user].front; it != nil && len(out)+len(waiting) < mostListed; it = it.inUser.behind {
		x, n := listed(it.entry, now), l.place(it)
		x.Position, x.ETA, x.NoBackend = n.Position, n.ETA, n.NoBackend
		waiting = append(waiting, x)
	}
	slices.SortStableFunc(waiting, func(a, b scheduler.Listed) int { return cmp.Compare(a.Position, b.Position) })
	return append(out, waiting...)
}

func listed(e *scheduler.Entry, until time.Time) scheduler.Listed {
	return scheduler.Listed{ID: e.ID, Model: e.Model, Class: e.Class, Waited: max(until.Sub(e.AcceptedAt), 0)}
}
