package dispatcher

import (
	"log/slog"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/fairqueue"
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
	if at := l.capacity.Wake(now); !at.IsZero() {
		l.wake.Reset(max(at.Sub(now), 0))
	}
}

// grantNext lets whoever is next start, or ends who can never; false: nobody can
// now.
func (l *leader) grantNext() bool {
	l.never, l.short, l.blocked = nil, false, blocked{}
	r := l.queue.Dispatch(l.admit)
	if r != nil {
		if it, ok := r.Value.(*item); ok {
			l.grant(it)
		}
	}
	if it := l.never; it != nil { // also one that somebody else passed
		l.endQueued(it, neverFits(it))
	}
	return r != nil || l.never != nil
}

func neverFits(it *item) *scheduler.Problem {
	return scheduler.Problemf(scheduler.CodeRequestTooLarge,
		"the request needs more of the model server's memory or slots than it has (%d sequences, about %d prompt tokens); make it smaller",
		it.sequences(), it.entry.InputTokens)
}

// admit tells the fair queue whether a head can start now.
func (l *leader) admit(r *fairqueue.Request, bypass bool) fairqueue.Decision {
	it, ok := r.Value.(*item)
	if !ok {
		return fairqueue.Decision{Verdict: fairqueue.Stop}
	}
	if l.headroomRefuses(it) {
		l.short = l.short || !bypass
		return fairqueue.Decision{Verdict: fairqueue.Skip}
	}
	in := l.estimate.input(it.entry)
	v := l.fit(it, in, !bypass)
	if v == capacity.Fits {
		return fairqueue.Decision{Verdict: fairqueue.Take, Reserve: fairqueue.Reserve(l.weights(), in)}
	}
	if v == capacity.Never {
		l.never = it
	}
	if !bypass {
		l.short = v == capacity.NoSlot || v == capacity.NoKV || v == capacity.Gate
		l.blocked = blockedBy(it, v)
	}
	if v == capacity.NoKV || v == capacity.NoBackend && l.past(it).Attempts > 0 { // others may probe where it may not
		return fairqueue.Decision{Verdict: fairqueue.Bypass}
	}
	return fairqueue.Decision{Verdict: fairqueue.Stop}
}

// fit finds a backend, and a worker that takes grants for it. A backend for which
// there is none at the moment gets nothing for a moment.
func (l *leader) fit(it *item, in fairqueue.Input, head bool) capacity.Verdict {
	now, d := time.Now(), l.demand(it, in)
	for {
		b, v := l.capacity.Fit(now, d, head)
		if v != capacity.Fits {
			return v
		}
		if w := l.workerFor(b.URL(), now); w != nil {
			l.choice, l.by = b, w
			return v
		}
		b.Busy(now)
	}
}

func (l *leader) demand(it *item, in fairqueue.Input) capacity.Demand {
	e, past := it.entry, l.past(it)
	d := capacity.Demand{
		Sequences: e.Sequences, Input: in.Tokens, Cached: in.Cached, Expected: in.Expected,
		Stream: e.Stream, Group: e.PrefixGroup, Chat: e.Chat, Alone: past.Deaths > 0, Faulted: past.Attempts > 0,
	}
	if past.avoid != nil {
		d.Avoid = past.avoid.URL()
	}
	return d
}

func (l *leader) weights() fairqueue.Weights {
	return fairqueue.Weights{Input: l.cfg.Cost.Input, Cached: l.cfg.Cost.Cached, Output: l.cfg.Cost.Output}
}

// headroomRefuses reports whether the slots that are free are kept for others.
// Less than half of what there is can be kept, also while there is little, as on a
// backend that is filled anew; and nothing from who needs all.
func (l *leader) headroomRefuses(it *item) bool {
	kept := 0
	for name, c := range l.policy.Classes {
		if name != it.entry.Class && c.Headroom > 0 {
			kept += max(0, c.Headroom-l.class(name).running)
		}
	}
	if kept == 0 {
		return false
	}
	all, free := 0, 0
	for _, b := range l.capacity.Backends() {
		if s := b.State(); s.Up {
			all += s.Slots
			free += s.Slots - s.Running
		}
	}
	kept = min(kept, (all-1)/2, all-it.sequences())
	return kept > 0 && free-it.sequences() < kept
}

// runs counts an item that is in flight from now on.
func (l *leader) runs(it *item, a *attempt) {
	it.run = a
	a.worker.running[it.entry.ID] = it
	l.class(it.entry.Class).running += it.sequences()
}

// ran counts an item that is not in flight any more and returns its slots.
func (l *leader) ran(it *item, generated int, completed bool) {
	it.run.hold.Release(time.Now(), generated, completed)
	delete(it.run.worker.running, it.entry.ID)
	l.class(it.entry.Class).running -= it.sequences()
	it.run = nil
}

// grant sends an item that the queue gave out to a worker.
func (l *leader) grant(it *item) {
	now, w := time.Now(), l.by
	in := l.estimate.input(it.entry)
	l.waited(it, "granted")
	l.attempts++
	w.granted++
	a := &attempt{
		fence:  scheduler.Fence{Bucket: l.epoch.Bucket, Revision: l.epoch.Revision, Attempt: l.attempts},
		number: w.granted, worker: w, backend: l.choice, hold: l.choice.Take(now, l.demand(it, in)),
		input: in, grantedAt: now,
	}
	l.runs(it, a)
	l.send(it, a)
}

func (l *leader) send(it *item, a *attempt) {
	g := &scheduler.Grant{
		Entry: *it.entry, Fence: a.fence, Number: a.number, Try: l.past(it).Attempts + 1, Backend: a.backend.URL(),
		EnginePriority: -1, Charged: it.req.Charged(), Weights: it.req.Weights(), Input: a.input.Tokens, Cached: a.input.Cached,
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
	l.requeue(it, "worker", "worker")
}

// requeue takes an attempt back: nothing is charged, and the request returns to
// its old place, unless its client is gone. retry says as what the next attempt is
// counted; "": the backend only asked for a moment.
func (l *leader) requeue(it *item, reason, retry string) {
	if it.left {
		l.dropAttempt(it)
		l.forget(it)
		return
	}
	if retry != "" {
		l.cfg.Metrics.retried(l.cfg.Pool, it.run.backend.URL(), retry)
	}
	l.ran(it, 0, false)
	l.queue.Requeue(&it.req)
	l.wait(it, true)
	l.cfg.Metrics.requeued(l.cfg.Pool, reason)
}

// dropAttempt takes an attempt back that did nothing, and the request out of the
// queue.
func (l *leader) dropAttempt(it *item) {
	l.ran(it, 0, false)
	l.queue.Remove(&it.req)
}
