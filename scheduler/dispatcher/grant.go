package dispatcher

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/fairqueue"
)

// grantAll gives out every slot that somebody may have now.
func (l *leader) grantAll() {
	if !l.open || !l.cfg.Lease.Valid() {
		return
	}
	for {
		l.never = nil
		r := l.queue.Dispatch(l.admit)
		if it := l.never; it != nil {
			l.endQueued(it, neverFits(it))
			continue
		}
		if r == nil {
			break
		}
		if it, ok := r.Value.(*item); ok {
			l.grant(it)
		}
	}
	if at := l.capacity.Wake(time.Now()); !at.IsZero() {
		l.wake.Reset(max(time.Until(at), 0))
	}
}

func neverFits(it *item) *scheduler.Problem {
	return scheduler.Problemf(scheduler.CodeRequestTooLarge,
		"the request needs more of the model server's memory or slots than it has (%d sequences, about %d prompt tokens); make it smaller",
		it.entry.Sequences, it.entry.InputTokens)
}

// admit tells the fair queue whether a head can start now.
func (l *leader) admit(r *fairqueue.Request, bypass bool) fairqueue.Decision {
	it, ok := r.Value.(*item)
	if !ok {
		return fairqueue.Decision{Verdict: fairqueue.Stop}
	}
	if l.headroomRefuses(it) {
		return fairqueue.Decision{Verdict: fairqueue.Skip}
	}
	in := l.estimate.input(it.entry)
	b, v := l.capacity.Fit(time.Now(), l.demand(it, in), !bypass)
	switch v {
	case capacity.Fits:
		l.choice = b
		return fairqueue.Decision{Verdict: fairqueue.Take, Reserve: fairqueue.Reserve(l.weights(), in)}
	case capacity.NoKV:
		return fairqueue.Decision{Verdict: fairqueue.Bypass}
	case capacity.Never:
		l.never = it
	case capacity.NoSlot, capacity.Gate, capacity.NoBackend:
	}
	return fairqueue.Decision{Verdict: fairqueue.Stop}
}

func (l *leader) demand(it *item, in fairqueue.Input) capacity.Demand {
	e := it.entry
	return capacity.Demand{
		Sequences: e.Sequences, Input: in.Tokens, Cached: in.Cached, Expected: in.Expected,
		Stream: e.Stream, Group: e.PrefixGroup, Alone: it.suspect(), Avoid: it.avoid,
	}
}

func (l *leader) weights() fairqueue.Weights {
	return fairqueue.Weights{Input: l.cfg.Cost.Input, Cached: l.cfg.Cost.Cached, Output: l.cfg.Cost.Output}
}

// headroomRefuses reports whether the slots that are free are kept for others.
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
	free := 0
	for _, b := range l.capacity.Backends() {
		if s := b.State(); s.Up {
			free += s.Slots - s.Running
		}
	}
	return free-it.entry.Sequences < kept
}

// runs counts an item that is in flight from now on.
func (l *leader) runs(it *item, a *attempt) {
	it.run = a
	a.worker.running[it.entry.ID] = it
	l.class(it.entry.Class).running += max(it.entry.Sequences, 1)
}

// ran counts an item that is not in flight any more and returns its slots.
func (l *leader) ran(it *item, generated int, completed bool) {
	it.run.hold.Release(time.Now(), generated, completed)
	delete(it.run.worker.running, it.entry.ID)
	l.class(it.entry.Class).running -= max(it.entry.Sequences, 1)
	it.run = nil
}

// grant sends an item that the queue gave out to a worker.
func (l *leader) grant(it *item) {
	now := time.Now()
	backend := l.choice
	in := l.estimate.input(it.entry)
	l.waited(it, "granted")
	w := l.workerFor(backend.State().URL)
	if w == nil { // capacity says up, but no worker that says so is left
		l.requeue(it, "no_worker")
		backend.Down(now)
		return
	}
	l.attempts++
	w.granted++
	a := &attempt{
		fence:  scheduler.Fence{Bucket: l.epoch.Bucket, Revision: l.epoch.Revision, Attempt: l.attempts},
		number: w.granted, worker: w, backend: backend, hold: backend.Take(now, l.demand(it, in)),
		input: in, grantedAt: now,
	}
	l.runs(it, a)
	l.send(it, a)
}

func (l *leader) send(it *item, a *attempt) {
	g := &scheduler.Grant{
		Entry: *it.entry, Fence: a.fence, Number: a.number, Try: it.attempts + 1, Backend: a.backend.State().URL,
		EnginePriority: -1, Charged: it.req.Charged(), Weights: it.req.Weights(), Input: a.input.Tokens, Cached: a.input.Cached,
	}
	if l.cfg.PassPriority {
		g.EnginePriority = l.policy.Classes[it.entry.Class].Rank
	}
	id := it.entry.ID
	l.cfg.Bus.Worker(a.worker.id).Grant(g, func(err error) {
		if err != nil {
			// Not from here: a local worker answers before Grant returns.
			go l.post(context.Background(), func() { l.grantRefused(id, a, err) })
		}
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
	l.requeue(it, "worker")
}

// requeue takes an attempt back: nothing is charged, and the request returns to
// its old place.
func (l *leader) requeue(it *item, reason string) {
	if it.run != nil {
		l.ran(it, 0, false)
	}
	l.queue.Requeue(&it.req)
	l.wait(it)
	c := l.class(it.entry.Class)
	c.byAge = slices.Insert(c.byAge, 0, it)
	l.cfg.Metrics.requeued(l.cfg.Pool, reason)
}
