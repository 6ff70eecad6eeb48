package dispatcher

import (
	"context"
	"log/slog"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
	"fairlane/scheduler/turn"
)

// recognise reports whether a running attempt is the one we know. An older one
// is cancelled, an unknown one adopted: also one of a request that is over, unless
// its end was told, for it takes room at the backend.
func (l *leader) recognise(w *workerState, r *scheduler.Running, now time.Time) bool {
	g := &r.Grant
	it := l.items[g.Entry.ID]
	switch {
	case it == nil:
		if l.endTold(g) {
			return false
		}
	case it.run != nil && it.run.fence == g.Fence:
		it.run.sent = it.run.sent || r.Sent
		return true
	case !g.Fence.Newer(it.ended):
		return false // its end was told, and the worker has not heard that we know
	case it.run != nil && it.run.First:
		return false // it will be told that it is stale
	case it.run != nil && it.run.fence.Newer(g.Fence):
		if !r.FirstByte { // else ours is stale, and will say so
			l.cancelAttempt(w, g.Entry.ID, g.Fence)
		}
		return false
	}
	l.adopt(w, r, now)
	return true
}

// endTold reports whether the end of an attempt was told whose request is not here.
func (l *leader) endTold(g *scheduler.Grant) bool {
	if e, away := l.elsewhere[g.Entry.ID]; away {
		return g.Fence == e.ended
	}
	x, over := l.over.ids[g.Entry.ID]
	return over && !g.Fence.Newer(x.ended)
}

// adopt takes over an attempt that runs already.
func (l *leader) adopt(w *workerState, r *scheduler.Running, now time.Time) {
	it := l.lift(&r.Grant)
	l.note(it.entry.Proxy, now)
	backend := l.turn.Pool.Backend(r.Grant.Backend)
	if backend == nil { // it was removed: what runs there ends without us
		l.leaveTo(it, r.Grant.Fence, now)
		return
	}
	l.items[it.entry.ID] = it
	a := &attempt{
		Run: turn.Run{
			Backend: backend, Input: l.adoptedInput(it.entry, &r.Grant), At: now, First: r.FirstByte, Generated: r.Generated,
		},
		fence: r.Grant.Fence, number: r.Grant.Number, worker: w, sent: r.Sent,
	}
	a.taken.Store(true)
	charged := max(r.Grant.Charged, l.turn.Cost(a.Spent()))
	if a.paid = l.over.ids[it.entry.ID].paid; a.paid != nil {
		charged = l.turn.Cost(*a.paid)
	}
	l.turn.Adopt(&it.req, it, &a.Run, r.Grant.Weights, charged)
	l.runs(it, a)
}

// lift is the item of a grant, out of the queue or off the older attempt that we
// know. One of a request that is over gets no other attempt.
func (l *leader) lift(g *scheduler.Grant) *item {
	id := g.Entry.ID
	it := l.items[id]
	switch {
	case it == nil:
		e := g.Entry
		x, over := l.over.ids[id]
		away := l.elsewhere[id]
		if x.ended.Newer(away.ended) {
			away.ended = x.ended
		}
		it = &item{entry: &e, seq: away.seq, ended: away.ended, left: over}
		delete(l.elsewhere, id)
	case it.run != nil:
		l.cancelAttempt(it.run.worker, id, it.run.fence)
		l.receipts.stops(it, "replaced")
		l.dropAttempt(it)
	default:
		it.told = true // by who granted it
		l.leaveQueue(it, "granted")
	}
	it.told = true
	if g.Try > 1 {
		x := l.trouble(it)
		x.Attempts = max(x.Attempts, g.Try-1)
	}
	return it
}

// adoptedInput is what the attempt was charged for.
func (l *leader) adoptedInput(e *scheduler.Entry, g *scheduler.Grant) fairqueue.Input {
	in := l.turn.Input(e)
	if g.Input > 0 {
		in.Tokens, in.Cached = g.Input, min(g.Cached, g.Input)
	}
	return in
}

func (l *leader) cancelAttempt(w *workerState, id string, f scheduler.Fence) {
	if !l.cfg.Lease.Valid() {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(l.ctx, 2*time.Second)
		defer cancel()
		if err := w.at.Cancel(ctx, id, f); err != nil {
			l.cfg.Logger.DebugContext(ctx, "cancel of an old attempt failed", slog.Any("error", err)) // its next beat is another chance
		}
	}()
}
