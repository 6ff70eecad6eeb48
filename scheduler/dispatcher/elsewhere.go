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
	at    time.Time       // when something was last heard of it
	fence scheduler.Fence // of the attempt that runs; zero: not known
	ended scheduler.Fence // of the newest attempt whose end was told
}

// serves reports whether an event is of the attempt that serves the request. Only one
// can begin to answer. Where ours came too late, the call is held by a newer one, or by
// any that has begun.
func (e *elsewhere) serves(ev *scheduler.Event) bool {
	switch ev.Kind {
	case scheduler.EventFirstByte, scheduler.EventProgress, scheduler.EventEnd:
		return true
	case scheduler.EventGone: // it tells of the call
		return true
	case scheduler.EventCancelled, scheduler.EventFault, scheduler.EventBusy, scheduler.EventStale, scheduler.EventNoProxy:
	}
	if e.fence == (scheduler.Fence{}) {
		return ev.Generated > 0 || ev.Fence.Newer(e.ended)
	}
	return ev.Fence == e.fence
}

// stale is an attempt that came too late: the request's answer has begun on an
// older one, which a worker's beat will show. Until then only its place in the
// stream is kept.
func (l *leader) stale(it *item, now time.Time) {
	l.dropAttempt(it)
	l.leaveTo(it, scheduler.Fence{}, now)
}

// leaveTo leaves a request, which neither waits nor runs here, to the attempt that
// serves it, if that is known.
func (l *leader) leaveTo(it *item, f scheduler.Fence, now time.Time) {
	delete(l.items, it.entry.ID)
	l.elsewhere[it.entry.ID] = elsewhere{entry: it.entry, seq: it.seq, at: now, fence: f, ended: it.ended}
	l.receipts.write(it)
	it.entry = nil
}

// eventElsewhere takes the end of an attempt that is not ours.
func (l *leader) eventElsewhere(ev *scheduler.Event, now time.Time) {
	e, ok := l.elsewhere[ev.ID]
	if !ok || !e.serves(ev) {
		return // it is over, or not by this
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
	case scheduler.EventStale: // that is how it came here, or will
	case scheduler.EventFirstByte, scheduler.EventProgress:
		e.at, e.fence = now, ev.Fence
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
