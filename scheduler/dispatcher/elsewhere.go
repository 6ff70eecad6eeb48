package dispatcher

import (
	"time"

	"fairlane/scheduler"
)

// elsewhere is a request whose answer runs on an attempt that is not ours: its
// worker has not told us yet, or its backend is not in the pool any more.
type elsewhere struct {
	entry *scheduler.Entry
	seq   uint64
	at    time.Time // when something was last heard of it
}

// stale is an attempt that came too late: the request's answer has begun on an
// older one, which a worker's beat will show. Until then only its place in the
// stream is kept.
func (l *leader) stale(it *item, now time.Time) {
	l.dropAttempt(it)
	l.leaveTo(it, now)
}

// leaveTo leaves a request, which neither waits nor runs here, to who serves it.
func (l *leader) leaveTo(it *item, now time.Time) {
	delete(l.items, it.entry.ID)
	l.elsewhere[it.entry.ID] = elsewhere{it.entry, it.seq, now}
	it.entry = nil
}

// eventElsewhere takes the end of an attempt that is not ours.
func (l *leader) eventElsewhere(ev *scheduler.Event, now time.Time) {
	e, ok := l.elsewhere[ev.ID]
	if !ok {
		return // it is over
	}
	switch ev.Kind {
	case scheduler.EventEnd, scheduler.EventCancelled, scheduler.EventGone:
		l.endElsewhere(ev.ID, ev.Fence, now)
	case scheduler.EventBusy, scheduler.EventFault, scheduler.EventNoProxy:
		if l.over.has(ev.ID) {
			l.endElsewhere(ev.ID, ev.Fence, now)
			return
		}
		delete(l.elsewhere, ev.ID)
		it := &item{entry: e.entry, seq: e.seq, ended: ev.Fence, told: true}
		l.items[ev.ID] = it
		l.enqueue(it)
	case scheduler.EventStale: // that is how it came here
	case scheduler.EventFirstByte, scheduler.EventProgress:
		e.at = now
		l.elsewhere[ev.ID] = e
	}
}

// endElsewhere ends one; ended is the attempt that ended it, if there was one.
func (l *leader) endElsewhere(id string, ended scheduler.Fence, now time.Time) {
	e := l.elsewhere[id]
	delete(l.elsewhere, id)
	delete(l.troubles, id)
	l.over.add(id, tombstone{at: now, ended: ended})
	l.delete(e.seq)
}

// sweepElsewhere gives up those of which nothing is heard.
func (l *leader) sweepElsewhere(now time.Time) {
	for id, e := range l.elsewhere {
		if now.Sub(e.at) > remembered {
			l.endElsewhere(id, scheduler.Fence{}, now)
		}
	}
}
