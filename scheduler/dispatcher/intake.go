package dispatcher

import (
	"container/heap"
	"fmt"
	"log/slog"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
)

// arrive takes an entry that was read from the stream.
func (l *leader) arrive(seq uint64, e *scheduler.Entry, err error) {
	if err != nil {
		l.cfg.Logger.Error("an entry can't be read and is dropped", slog.String("pool", l.cfg.Pool), slog.Uint64("seq", seq), slog.Any("error", err))
		l.cfg.Stream.Delete(seq)
		return
	}
	if it := l.items[e.ID]; it != nil { // adopted before its entry was read
		it.seq = seq
		return
	}
	now := time.Now()
	if l.over.has(e.ID) {
		l.cfg.Stream.Delete(seq)
		return
	}
	it := &item{entry: e, seq: seq}
	if _, known := l.proxies[e.Proxy]; !known {
		l.proxies[e.Proxy] = now // three beats from now it has to have said so itself
	}
	l.items[e.ID] = it
	if p := l.bounds(it, now); p != nil {
		l.endQueued(it, p)
		return
	}
	l.enqueue(it)
}

// bounds refuses what may not wait. A queue that is being loaded takes all that
// its predecessor had taken.
func (l *leader) bounds(it *item, now time.Time) *scheduler.Problem {
	e := it.entry
	switch {
	case !now.Before(e.Deadline):
		return l.expired(it, now)
	case !l.open:
		return nil
	case e.MaxQueued > 0 && l.users[e.User] >= e.MaxQueued:
		return l.refusal(it, scheduler.CodeQueueLimit, scheduler.ReasonUserQueue,
			fmt.Sprintf("you have %d requests waiting already, the most that is allowed", e.MaxQueued))
	case l.class(e.Class).full(l.policy.Classes[e.Class].MaxQueued):
		return l.refusal(it, scheduler.CodeOverloaded, scheduler.ReasonClassQueue,
			fmt.Sprintf("the queue of the class %q is full", e.Class))
	}
	return nil
}

func (c *classState) full(bound int) bool { return bound > 0 && c.queued >= bound }

func (l *leader) class(name string) *classState {
	c := l.classes[name]
	if c == nil {
		c = &classState{}
		l.classes[name] = c
	}
	return c
}

// enqueue puts an item into the queue for the first time.
func (l *leader) enqueue(it *item) {
	e := it.entry
	it.req = requestOf(it, l.estimate.input(e), l.weights())
	l.queue.Push(&it.req, l.path(e), userOf(e))
	l.wait(it)
	c := l.class(e.Class)
	c.byAge = append(c.byAge, it)
	if l.open {
		l.waiters = append(l.waiters, it)
	}
}

func requestOf(it *item, in fairqueue.Input, w fairqueue.Weights) fairqueue.Request {
	e := it.entry
	return fairqueue.Request{
		ID: e.ID, Priority: e.Priority, AcceptedAt: e.AcceptedAt, Sequences: max(e.Sequences, 1),
		Estimate: fairqueue.Actual(w, in.Tokens, in.Cached, in.Sequences*in.Expected), Value: it,
	}
}

func userOf(e *scheduler.Entry) fairqueue.User {
	return fairqueue.User{Key: e.User, MaxRunning: e.MaxRunning}
}

// path is the item's way through the tree.
func (l *leader) path(e *scheduler.Entry) []fairqueue.Step {
	class, ok := l.policy.Classes[e.Class]
	if !ok || class.Weight <= 0 {
		class.Weight = 1
	}
	steps := make([]fairqueue.Step, 0, len(l.cfg.Share))
	for _, level := range l.cfg.Share {
		switch level {
		case "class":
			steps = append(steps, fairqueue.Step{Key: e.Class, Weight: class.Weight})
		case "group":
			steps = append(steps, fairqueue.Step{Key: e.Group, Weight: 1})
		default:
			w := e.UserWeight
			if len(l.cfg.Share) == 1 {
				w *= class.Weight
			}
			steps = append(steps, fairqueue.Step{Key: e.User, Weight: w})
		}
	}
	return steps
}

// wait counts an item that is in the queue from now on.
func (l *leader) wait(it *item) {
	c := l.class(it.entry.Class)
	c.queued++
	c.tokens += it.req.Estimate
	l.users[it.entry.User]++
	heap.Push(&l.expiries, it)
}

// waited counts an item that is not in the queue any more.
func (l *leader) waited(it *item, end string) {
	c := l.class(it.entry.Class)
	c.queued--
	c.tokens -= it.req.Estimate
	if l.users[it.entry.User]--; l.users[it.entry.User] <= 0 {
		delete(l.users, it.entry.User)
	}
	heap.Remove(&l.expiries, it.expiry)
	l.cfg.Metrics.waited(l.cfg.Pool, it.entry.Class, end, time.Since(it.entry.AcceptedAt))
}

// cancelled is a client that left.
func (l *leader) cancelled(id string) {
	it := l.items[id]
	switch {
	case it == nil:
		l.over.add(id, time.Now())
	case it.queued():
		l.leaveQueue(it, "cancelled")
		l.forget(it)
	default: // its worker hears from the proxy, or the handshake says gone
	}
}

// endQueued ends a request that waits, or never got so far, with a problem.
func (l *leader) endQueued(it *item, p *scheduler.Problem) {
	end := string(scheduler.Refused)
	if p.Code.Outcome() == scheduler.Expired {
		end = string(scheduler.Expired)
	}
	if it.req.Value != nil {
		l.leaveQueue(it, end)
	}
	l.notify(it, scheduler.Notice{ID: it.entry.ID, Kind: scheduler.NoticeEnded, Problem: p})
	l.forget(it)
}

// leaveQueue takes an item out of the queue without any charge.
func (l *leader) leaveQueue(it *item, end string) {
	l.queue.Remove(&it.req)
	l.waited(it, end)
}

// forget deletes an item everywhere.
func (l *leader) forget(it *item) {
	delete(l.items, it.entry.ID)
	l.over.add(it.entry.ID, time.Now())
	if it.seq != 0 {
		l.cfg.Stream.Delete(it.seq)
	}
	it.entry = nil
}

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

func (l *leader) expire(now time.Time) {
	for len(l.expiries) > 0 && !now.Before(l.expiries[0].entry.Deadline) {
		it := l.expiries[0]
		l.endQueued(it, l.expired(it, now))
	}
}

// expired says why a request waited in vain.
func (l *leader) expired(it *item, now time.Time) *scheduler.Problem {
	waited := now.Sub(it.entry.AcceptedAt).Round(time.Second)
	if !l.noneUp.IsZero() && !l.noneUp.After(it.entry.AcceptedAt.Add(tick)) {
		p := scheduler.Problemf(scheduler.CodeNoBackend, "no model server was up for %s; please try again later", waited)
		p.Reason, p.RetryAfter = scheduler.ReasonNoBackend, 30*time.Second
		return p
	}
	p := scheduler.Problemf(scheduler.CodeQueueTimeout, "the request waited %s for its turn, as long as its class may; please try again later", waited)
	p.NoRetry = true
	return p
}

// refusal is a bound that was met; when to come back follows from how fast the
// queue drains.
func (l *leader) refusal(it *item, code scheduler.Code, reason scheduler.Reason, what string) *scheduler.Problem {
	after := l.drainTime(it)
	return scheduler.Refusal(code, reason, after, fmt.Sprintf("%s; please try again in %s", what, after))
}
