package dispatcher

import (
	"container/heap"
	"time"

	"fairlane/scheduler"
)

// expiries is a heap of the waiting items by deadline.
type expiries []*item

func (x expiries) Len() int           { return len(x) }
func (x expiries) Less(i, j int) bool { return x[i].entry.Deadline.Before(x[j].entry.Deadline) }
func (x expiries) Swap(i, j int) {
	x[i], x[j] = x[j], x[i]
	x[i].expiry, x[j].expiry = i, j
}

// Push implements heap.Interface.
func (x *expiries) Push(v any) {
	if it, ok := v.(*item); ok {
		it.expiry = len(*x)
		*x = append(*x, it)
	}
}

// Pop implements heap.Interface.
func (x *expiries) Pop() any {
	last := len(*x) - 1
	it := (*x)[last]
	(*x)[last] = nil
	*x = (*x)[:last]
	return it
}

// add lets an item wait for its deadline, if it has one.
func (x *expiries) add(it *item) {
	if !it.entry.Deadline.IsZero() {
		heap.Push(x, it)
	}
}

func (x *expiries) remove(it *item) {
	if !it.entry.Deadline.IsZero() {
		heap.Remove(x, it.expiry)
	}
}

// expire ends what waited for too long. A deadline bounds waiting only, so until we
// know what runs nothing expires.
func (l *leader) expire(now time.Time) {
	if !l.open {
		return
	}
	for len(l.expiries) > 0 && !now.Before(l.expiries[0].entry.Deadline) {
		it := l.expiries[0]
		l.endQueued(it, l.expired(it, now))
	}
}

// past reports whether an entry's deadline is over.
func past(e *scheduler.Entry, now time.Time) bool {
	return !e.Deadline.IsZero() && !now.Before(e.Deadline)
}

// expired says why a request waited in vain.
func (l *leader) expired(it *item, now time.Time) *scheduler.Problem {
	waited := now.Sub(it.entry.AcceptedAt)
	since := it.entry.AcceptedAt
	if since.Before(l.started) { // what was before we don't know
		since = l.started
	}
	if !l.noneUp.IsZero() && !l.noneUp.After(since.Add(tick)) {
		const after = 30 * time.Second
		p := scheduler.Problemf(scheduler.CodeNoBackend, "no model server was up for %s; please try again later", scheduler.Words(waited))
		p.Reason, p.RetryAfter = scheduler.ReasonNoBackend, l.jitter(after)
		return p
	}
	return scheduler.Overdue(waited)
}
