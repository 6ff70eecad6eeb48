package dispatcher

import (
	"log/slog"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
)

// report takes what a worker says. The beat comes first: an attempt whose end
// is among the events still runs in it.
func (l *leader) report(r *scheduler.Report) {
	now := time.Now()
	if r.Beat != nil {
		l.beat(r.Worker, r.Beat, now)
	}
	for i := range r.Events {
		l.event(&r.Events[i], now)
	}
	if r.Beat != nil && r.Beat.Leaving {
		l.dropWorker(r.Worker, "worker")
	}
}

func (l *leader) event(ev *scheduler.Event, now time.Time) {
	it := l.items[ev.ID]
	if it == nil || it.run == nil || it.run.fence != ev.Fence {
		return // of an attempt that was given up
	}
	a := it.run
	a.sent = a.sent || ev.Sent
	a.generated = max(a.generated, ev.Generated)
	switch ev.Kind {
	case scheduler.EventFirstByte:
		l.firstByte(it, ev, now)
	case scheduler.EventProgress:
		l.progress(it, now)
	case scheduler.EventEnd:
		l.ended(it, ev, now)
	case scheduler.EventCancelled:
		l.hungUp(it, now)
	case scheduler.EventGone:
		l.dropAttempt(it)
		l.forget(it)
	case scheduler.EventStale:
		l.stale(it, now)
	case scheduler.EventBusy:
		a.backend.Busy(now)
		l.requeue(it, "busy")
	case scheduler.EventNoProxy:
		l.repeat(it, "proxy", nil)
	case scheduler.EventFault:
		l.fault(it, ev, now)
	}
}

func (l *leader) firstByte(it *item, ev *scheduler.Event, now time.Time) {
	it.run.first = true
	it.run.hold.FirstToken(now)
	l.estimate.firstToken(ev.TTFT)
}

// progress charges what a stream generated beyond what was reserved.
func (l *leader) progress(it *item, now time.Time) {
	in := it.run.input
	l.queue.Progress(&it.req, fairqueue.Actual(l.weights(), in.Tokens, in.Cached, it.run.generated))
	it.run.hold.Progress(now, it.run.generated)
}

// progressWhole does the same for answers that do not stream, from how long
// they have been running.
func (l *leader) progressWhole(now time.Time) {
	itl := l.estimate.itl()
	if itl <= 0 {
		return
	}
	for _, w := range l.workers {
		for _, it := range w.running {
			if it.entry.Stream || !it.run.sent && now.Sub(it.run.grantedAt) < tick {
				continue
			}
			perSequence := int((now.Sub(it.run.grantedAt) - l.estimate.ttft()) / itl)
			if it.entry.MaxTokens > 0 {
				perSequence = min(perSequence, it.entry.MaxTokens)
			}
			if n := perSequence * it.entry.Sequences; n > it.run.generated {
				it.run.generated = n
				l.progress(it, now)
			}
		}
	}
}

// ended settles an answer that came to its end, or broke off after it had begun.
func (l *leader) ended(it *item, ev *scheduler.Event, now time.Time) {
	a, u := it.run, ev.Usage
	if !u.Known {
		u = scheduler.Usage{Input: a.input.Tokens, Cached: a.input.Cached, Output: a.generated}
	}
	if !u.CachedKnown {
		u.Cached = min(a.input.Cached, u.Input)
	}
	if ev.Outcome == scheduler.Invalid { // the backend refused it: no work was done
		u = scheduler.Usage{}
	}
	l.settle(it, u, ev.Outcome == scheduler.Completed)
	switch ev.Outcome {
	case scheduler.Completed:
		a.backend.Success(now)
		l.estimate.learn(it.entry, a, ev.Usage, now)
		l.cfg.Metrics.learned(l.cfg.Pool, a.input, ev.Usage)
	case scheduler.Failed:
		if ev.Died {
			a.backend.Down(now)
		} else {
			a.backend.Fault(now)
		}
	case scheduler.Cancelled, scheduler.Refused, scheduler.Expired, scheduler.Invalid, scheduler.Lost:
	}
	if ev.Usage.CachedKnown && it.entry.PrefixGroup != 0 {
		l.capacity.Learn(it.entry.PrefixGroup, ev.Usage.Cached/max(it.entry.Sequences, 1))
	}
	l.cfg.Metrics.tokens(l.cfg.Pool, it.entry, u)
	l.forget(it)
}

// hungUp settles a client that left. If the backend had the request, its
// prefill was done for nobody, and who left pays for it: else leaving before
// the first byte, again and again, would be free.
func (l *leader) hungUp(it *item, now time.Time) {
	a := it.run
	if !a.sent {
		l.dropAttempt(it)
		l.forget(it)
		return
	}
	u := scheduler.Usage{Input: a.input.Tokens, Cached: a.input.Cached, Output: a.generated}
	l.settle(it, u, false)
	l.cfg.Metrics.tokens(l.cfg.Pool, it.entry, u)
	l.forget(it)
}

func (l *leader) settle(it *item, u scheduler.Usage, completed bool) {
	cost := fairqueue.Actual(l.weights(), u.Input, u.Cached, u.Output)
	l.queue.Settle(&it.req, cost)
	l.ran(it, u.Output, completed)
	l.rate.delivered(cost)
	l.class(it.entry.Class).charge += cost
	l.cfg.Metrics.cost(l.cfg.Pool, it.entry.Class, cost)
}

// dropAttempt takes an attempt back that did nothing, and the request with it.
func (l *leader) dropAttempt(it *item) {
	l.ran(it, 0, false)
	l.queue.Requeue(&it.req)
	l.queue.Remove(&it.req)
}

// fault is a backend that failed before the first byte.
func (l *leader) fault(it *item, ev *scheduler.Event, now time.Time) {
	backend := it.run.backend
	it.avoid = ev.Backend
	l.cfg.Metrics.retried(l.cfg.Pool, ev, it)
	switch {
	case ev.Refused:
		backend.Down(now)
		l.requeue(it, "unreachable")
		return
	case ev.Died:
		backend.Down(now)
		it.deaths++
	default:
		backend.Fault(now)
	}
	if it.deaths >= 2 {
		l.crashed(it)
		return
	}
	if ev.Final {
		it.attempts = l.cfg.Attempts
	}
	l.repeat(it, "backend", ev.Problem)
}

// crashed ends a request that was in flight at two deaths of a backend.
func (l *leader) crashed(it *item) {
	l.cfg.Logger.Error("a request was in flight at two deaths of a backend and is not tried again",
		slog.String("pool", l.cfg.Pool), slog.String("call_id", it.entry.ID), slog.String("user_key", it.entry.User),
		slog.String("model", it.entry.Model), slog.Int("input_tokens", it.entry.InputTokens))
	l.cfg.Metrics.suspect(l.cfg.Pool)
	l.list(it, time.Now())
	p := scheduler.Problemf(scheduler.CodeBackendCrashed, "the model server went down twice while it worked on this request; please change it before you try again")
	p.NoRetry = true
	l.fail(it, p)
}

// repeat gives a request another attempt, or ends it if it had enough of them.
func (l *leader) repeat(it *item, reason string, p *scheduler.Problem) {
	if it.attempts++; it.attempts < l.cfg.Attempts {
		l.requeue(it, reason)
		return
	}
	if p == nil {
		p = scheduler.Problemf(scheduler.CodeBackendFailed, "the request could not be served in %d attempts; please try again", it.attempts)
	}
	l.fail(it, p)
}

// stale is an attempt that came too late: the request's answer has begun on an
// older one, which a worker's beat will show. Until then only its place in the
// stream is kept.
func (l *leader) stale(it *item, now time.Time) {
	l.dropAttempt(it)
	delete(l.items, it.entry.ID)
	l.elsewhere[it.entry.ID] = elsewhere{it.seq, now}
	it.entry = nil
}

// fail ends a request in flight with a problem before its first byte.
func (l *leader) fail(it *item, p *scheduler.Problem) {
	l.notify(it, scheduler.Notice{ID: it.entry.ID, Kind: scheduler.NoticeEnded, Problem: p})
	l.dropAttempt(it)
	l.forget(it)
}
