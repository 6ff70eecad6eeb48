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
		l.dropWorker(r.Worker)
		l.backends(now)
	}
}

func (l *leader) event(ev *scheduler.Event, now time.Time) {
	it := l.items[ev.ID]
	if it == nil {
		l.eventElsewhere(ev, now)
		return
	}
	if it.run == nil || it.run.fence != ev.Fence {
		return // of an attempt that was given up
	}
	it.run.sent = it.run.sent || ev.Sent
	if ev.Kind != scheduler.EventEnd { // then it is what the backend says
		it.run.Generated = max(it.run.Generated, ev.Generated)
	}
	switch ev.Kind {
	case scheduler.EventFirstByte:
		l.firstByte(it, ev, now)
	case scheduler.EventProgress:
		l.progress(it, now)
	default:
		it.ended = ev.Fence
		l.attemptOver(it, ev, now)
	}
}

// attemptOver takes the end of an attempt.
func (l *leader) attemptOver(it *item, ev *scheduler.Event, now time.Time) {
	switch ev.Kind {
	case scheduler.EventEnd:
		l.ended(it, ev, now)
	case scheduler.EventCancelled:
		l.hungUp(it)
	case scheduler.EventGone:
		l.receipts.over(it, string(scheduler.Cancelled))
		l.dropAttempt(it)
		l.forget(it)
	case scheduler.EventStale:
		l.stale(it, now)
	case scheduler.EventBusy:
		it.run.Backend.Busy(now)
		l.requeue(it, reasonBusy, "")
	case scheduler.EventNoProxy:
		l.repeat(it, reasonProxy, reasonProxy, nil)
	case scheduler.EventFault:
		l.fault(it, ev, now)
	case scheduler.EventFirstByte, scheduler.EventProgress:
	}
}

func (l *leader) firstByte(it *item, ev *scheduler.Event, now time.Time) {
	l.turn.FirstToken(now, &it.run.Run, ev.TTFT)
	l.receipts.first(it, now)
}

// progress charges what an answer generated beyond what was reserved.
func (l *leader) progress(it *item, now time.Time) {
	l.deliver(it, l.turn.Progress(now, &it.req, &it.run.Run))
}

// deliver counts what was done for an item since the last time.
func (l *leader) deliver(it *item, more fairqueue.Cost) {
	l.drain.Delivered(more)
	l.class(it.entry.Class).charge += more
}

// progressWhole does the same for answers that do not stream, from how long
// they have been running.
func (l *leader) progressWhole(now time.Time) {
	for _, w := range l.workers {
		for _, it := range w.running {
			if !it.run.sent {
				continue
			}
			if n := l.turn.Unseen(now, it.entry, &it.run.Run); n > it.run.Generated {
				it.run.Generated = n
				l.progress(it, now)
			}
		}
	}
}

// ended settles an answer that came to its end, or broke off after it had begun.
func (l *leader) ended(it *item, ev *scheduler.Event, now time.Time) {
	a, u := it.run, ev.Usage
	if !u.Known {
		u = scheduler.Usage{Input: a.Input.Tokens, Cached: a.Input.Cached, Output: ev.Generated}
	}
	if !u.CachedKnown {
		u.Cached = min(a.Input.Cached, u.Input)
	}
	u = plausible(u, it, now)
	if ev.Outcome == scheduler.Invalid { // the backend refused it: no work was done
		u = scheduler.Usage{}
	}
	l.receipts.over(it, string(ev.Outcome))
	l.settle(it, u, ev.Outcome == scheduler.Completed)
	switch ev.Outcome {
	case scheduler.Completed:
		l.alive(a.Backend, a.Backend.Success(now))
		l.learn(it.entry, a, u, now)
	case scheduler.Invalid:
		l.alive(a.Backend, a.Backend.Answered(now))
	case scheduler.Failed:
		switch {
		case ev.Died:
			a.Backend.Down(now)
		case ev.Answered:
			l.alive(a.Backend, a.Backend.Answered(now))
		default:
			l.blame(it, a.Backend, ev.Problem, now)
		}
	case scheduler.Cancelled, scheduler.Refused, scheduler.Expired, scheduler.Lost:
	}
	l.forget(it)
}

// learn takes what a completed request turned out to be. Of what broke off, settling
// it learns.
func (l *leader) learn(e *scheduler.Entry, a *attempt, u scheduler.Usage, now time.Time) {
	l.turn.Learn(now, e, &a.Run, u)
	l.cfg.Metrics.learned(l.cfg.Pool, a.Input, u)
	if !a.Adopted {
		l.service.add(now.Sub(a.At))
	}
	l.drain.Completed()
}

// hungUp settles a client that left. If the backend had the request, its
// prefill was done for nobody, and who left pays for it: else leaving before
// the first byte, again and again, would be free.
func (l *leader) hungUp(it *item) {
	l.receipts.over(it, string(scheduler.Cancelled))
	if it.run.sent {
		l.settle(it, it.run.Spent(), false)
	} else {
		l.dropAttempt(it)
	}
	l.forget(it)
}

// beyond is what u is more than what was paid.
func beyond(u, paid scheduler.Usage) scheduler.Usage {
	u.Input, u.Cached, u.Output = max(u.Input-paid.Input, 0), max(u.Cached-paid.Cached, 0), max(u.Output-paid.Output, 0)
	return u
}

func (l *leader) settle(it *item, u scheduler.Usage, completed bool) {
	cost := l.turn.Cost(u)
	l.receipts.settles(it, cost, u)
	rest, more := u, cost
	if paid := it.run.paid; paid != nil {
		rest, more = beyond(u, *paid), max(cost-l.turn.Cost(*paid), 0)
	}
	l.deliver(it, l.turn.Settle(time.Now(), &it.req, &it.run.Run, u, completed))
	l.ran(it)
	l.cfg.Metrics.spent(l.cfg.Pool, it.entry, rest, more)
}

// fault is a backend that failed before the first byte.
func (l *leader) fault(it *item, ev *scheduler.Event, now time.Time) {
	backend := it.run.Backend
	x := l.trouble(it)
	x.avoid = backend
	switch {
	case ev.Refused: // it never got there
		backend.Down(now)
		l.requeue(it, reasonUnreachable, reasonUnreachable)
	case ev.Died:
		backend.Down(now)
		if x.Deaths++; x.Deaths >= 2 {
			l.crashed(it, now)
			return
		}
		l.repeat(it, reasonBackend, retryDied, ev.Problem)
	default:
		if ev.Answered {
			l.alive(backend, backend.Answered(now))
		} else {
			l.blame(it, backend, ev.Problem, now)
		}
		if ev.Final {
			l.receipts.stops(it, "failed")
			l.failed(it)
			l.fail(it, ev.Problem)
			return
		}
		l.repeat(it, reasonBackend, retryFailed, ev.Problem)
	}
}

// crashed ends a request that was in flight at two deaths of a backend.
func (l *leader) crashed(it *item, now time.Time) {
	l.cfg.Logger.Error("a request was in flight at two deaths of a backend and is not tried again",
		slog.String("pool", l.cfg.Pool), slog.String("call_id", it.entry.ID), slog.String("user_key", it.entry.User),
		slog.String("model", it.entry.Model), slog.Int("input_tokens", it.entry.InputTokens))
	l.receipts.stops(it, retryDied)
	l.failed(it)
	l.cfg.Metrics.suspect(l.cfg.Pool)
	l.list(it, now)
	p := scheduler.Problemf(scheduler.CodeBackendCrashed, "the model server went down twice while it worked on this request; please change it before you try again")
	p.NoRetry = true
	l.fail(it, p)
}

// repeat gives a request another attempt, or ends it if it had enough of them.
func (l *leader) repeat(it *item, reason, retry string, p *scheduler.Problem) {
	x := l.failed(it)
	if x.Attempts < l.cfg.Attempts {
		l.requeue(it, reason, retry)
		return
	}
	l.receipts.stops(it, retry)
	l.fail(it, p)
}

// fail ends a request in flight with a problem before its first byte, unless its
// client is gone or was told already.
func (l *leader) fail(it *item, p *scheduler.Problem) {
	l.dropAttempt(it)
	if it.left {
		l.receipts.ends(it, string(scheduler.Cancelled))
		l.forget(it)
		return
	}
	if p == nil {
		p = scheduler.Problemf(scheduler.CodeBackendFailed, "the request could not be served in %d attempts; please try again", l.past(it).Attempts)
	}
	l.tell(it, p)
}
