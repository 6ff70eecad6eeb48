package dispatcher

import (
	"cmp"
	"log/slog"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/turn"
)

// grantAll gives out every slot that somebody may have now.
func (l *leader) grantAll() {
	if !l.open {
		return
	}
	for l.cfg.Lease.Valid() && l.grantNext() {
	}
	now := time.Now()
	l.held.note(l, now, l.blocked)
	l.receipts.blocks.note(now, l.obstacle)
	if at := l.turn.Pool.Wake(now); !at.IsZero() {
		l.wake.Reset(max(at.Sub(now), 0))
	}
}

// grantNext lets whoever is next start, or ends who can never; false: nobody can
// now.
func (l *leader) grantNext() bool {
	t := l.turn.Next(time.Now())
	l.short, l.blocked, l.obstacle = t.Short(), blockedBy(t.Blocked, t.Why), obstacleOf(&t)
	if t.Request != nil {
		if it, ok := t.Request.Value.(*item); ok {
			l.grant(it, t.Run)
		}
	}
	if it, ok := t.Never.(*item); ok { // also one that somebody else passed
		l.endQueued(it, neverFits(it))
		return true
	}
	return t.Request != nil
}

func neverFits(it *item) *scheduler.Problem {
	return scheduler.Problemf(scheduler.CodeRequestTooLarge,
		"the request needs more of the model server's memory or slots than it has (%d sequences, about %d prompt tokens); make it smaller",
		it.sequences(), it.entry.InputTokens)
}

// reaches finds the worker for a backend.
func (l *leader) reaches(b *capacity.Backend) bool {
	l.by = l.workerFor(b.URL(), time.Now())
	return l.by != nil
}

// went is what a request went through, as far as it matters for where it goes.
func (l *leader) went(e *scheduler.Entry) turn.Past {
	x := l.troubles[e.ID]
	if x == nil {
		return turn.Past{}
	}
	p := turn.Past{Faulted: x.Attempts > 0, Alone: x.Deaths > 0}
	if x.avoid != nil {
		p.Avoid = x.avoid.URL()
	}
	return p
}

// runs counts an item that is in flight from now on.
func (l *leader) runs(it *item, a *attempt) {
	it.run = a
	a.worker.running[it.entry.ID] = it
	l.receipts.starts(it, a)
}

// ran counts an item that is not in flight any more.
func (l *leader) ran(it *item) {
	delete(it.run.worker.running, it.entry.ID)
	l.receipts.stops(it, "")
	it.run = nil
}

// grant sends an item that the queue gave out to a worker.
func (l *leader) grant(it *item, run turn.Run) {
	w := l.by
	l.waited(it, "granted")
	l.attempts++
	w.granted++
	a := &attempt{
		Run:    run,
		fence:  scheduler.Fence{Bucket: l.epoch.Bucket, Revision: l.epoch.Revision, Attempt: l.attempts},
		number: w.granted, worker: w,
	}
	l.runs(it, a)
	l.send(it, a)
}

func (l *leader) send(it *item, a *attempt) {
	g := &scheduler.Grant{
		Entry: *it.entry, Fence: a.fence, Number: a.number, Try: l.past(it).Attempts + 1, Backend: a.Backend.URL(),
		EnginePriority: -1, Charged: it.req.Charged(), Weights: it.req.Weights(), Input: a.Input.Tokens, Cached: a.Input.Cached,
	}
	if l.cfg.PassPriority {
		g.EnginePriority = l.policy.rank(it.entry.Class)
	}
	id := it.entry.ID
	a.worker.at.Grant(g, func(err error) {
		if err == nil {
			a.taken.Store(true)
			return
		}
		// Not from here: a local worker answers before Grant returns.
		go l.post(func() { l.grantRefused(id, a, err) })
	})
}

// grantRefused takes a grant back that a worker did not take.
func (l *leader) grantRefused(id string, a *attempt, err error) {
	it := l.items[id]
	if it == nil || it.run != a {
		return
	}
	l.cfg.Logger.Warn("a worker did not take a grant", slog.String("worker", a.worker.id), slog.Any("error", err))
	a.worker.shun(time.Now())
	l.requeue(it, reasonWorker, reasonWorker)
}

// requeue takes an attempt back: nothing is charged, and the request returns to
// its old place, unless its client is gone. retry says as what the next attempt is
// counted; "": the backend only asked for a moment.
func (l *leader) requeue(it *item, reason, retry string) {
	if it.left {
		l.receipts.over(it, string(scheduler.Cancelled))
		l.dropAttempt(it)
		l.forget(it)
		return
	}
	if retry != "" {
		l.cfg.Metrics.retried(l.cfg.Pool, it.run.Backend.URL(), retry)
	}
	l.receipts.stops(it, cmp.Or(retry, reason))
	ended := it.run.fence
	l.turn.Requeue(time.Now(), &it.req, &it.run.Run)
	l.ran(it)
	l.wait(it, true)
	l.waiters = append(l.waiters, waiter{it, ended})
	l.cfg.Metrics.requeued(l.cfg.Pool, reason)
}

// dropAttempt takes an attempt back that did nothing, and the request out of the
// queue.
func (l *leader) dropAttempt(it *item) {
	l.turn.Remove(time.Now(), &it.req, &it.run.Run)
	l.ran(it)
}
