package dispatcher

import (
	"fmt"
	"log/slog"
	"time"

	"fairlane/scheduler"
)

// arrive takes an entry that was read from the stream.
func (l *leader) arrive(seq uint64, e *scheduler.Entry, err error) {
	if err != nil {
		l.cfg.Logger.Error("an entry can't be read and is dropped", slog.String("pool", l.cfg.Pool), slog.Uint64("seq", seq), slog.Any("error", err))
		l.delete(seq)
		return
	}
	if l.known(seq, e.ID) {
		return
	}
	l.names.entry(e)
	now := time.Now()
	l.note(e.Proxy, now)
	it := &item{entry: e, seq: seq}
	l.items[e.ID] = it
	p := l.bounds(it, now)
	if p == nil {
		l.enqueue(it)
		p = l.hopeless(it, now)
	}
	switch {
	case p != nil:
		l.receipts.stands(it)
		l.endQueued(it, p)
	case l.open:
		l.waiters = append(l.waiters, waiter{it: it})
	}
}

// known reports whether an entry's request is known already: it was adopted
// before its entry was read, or is over, or there twice.
func (l *leader) known(seq uint64, id string) bool {
	it, e := l.items[id], l.elsewhere[id]
	switch {
	case it != nil && it.seq == 0:
		it.seq = seq
	case e.entry != nil && e.seq == 0:
		e.seq = seq
		l.elsewhere[id] = e
	case it != nil || e.entry != nil || l.over.has(id):
		l.delete(seq)
	default:
		return false
	}
	return true
}

// note begins to count a proxy's silence: three beats from now it has to have
// said itself that it is alive.
func (l *leader) note(proxy string, now time.Time) {
	if _, known := l.proxies[proxy]; !known {
		l.proxies[proxy] = now
	}
}

// bounds refuses what may not wait. A queue that is being loaded takes all that
// its predecessor had taken, also what is past its deadline: it may run. What came together is not refused for a bound while
// there are slots for it.
func (l *leader) bounds(it *item, now time.Time) *scheduler.Problem {
	if !l.open {
		return nil
	}
	if past(it.entry, now) {
		return l.expired(it, now)
	}
	p := l.bound(it)
	if p != nil {
		l.grantAll()
		p = l.bound(it)
	}
	return p
}

func (l *leader) bound(it *item) *scheduler.Problem {
	e := it.entry
	switch {
	case e.MaxQueued > 0 && l.users[e.User].waiting >= e.MaxQueued:
		return l.refusal(it, scheduler.CodeQueueLimit, scheduler.ReasonUserQueue,
			fmt.Sprintf("you have %d requests waiting already, the most that is allowed", e.MaxQueued))
	case l.class(e.Class).full(l.policy.Classes[e.Class].MaxQueued):
		return l.refusal(it, scheduler.CodeOverloaded, scheduler.ReasonClassQueue,
			fmt.Sprintf("the queue of the class %q is full", e.Class))
	}
	return nil
}

// enqueue puts an item into the queue for the first time.
func (l *leader) enqueue(it *item) {
	l.turn.Push(&it.req, it)
	l.wait(it, false)
}

// wait counts an item that is in the queue from now on.
func (l *leader) wait(it *item, returns bool) {
	c := l.class(it.entry.Class)
	c.queued++
	c.tokens += it.req.Estimate
	c.join(it, returns)
	l.userWaits(it.entry)
	l.expiries.add(it)
	l.receipts.joins(it)
}

// waited counts an item that is not in the queue any more.
func (l *leader) waited(it *item, end string) {
	c := l.class(it.entry.Class)
	c.queued--
	c.tokens -= it.req.Estimate
	c.leave(it)
	l.userWaited(it.entry, end)
	l.expiries.remove(it)
	l.receipts.leaves(it)
	l.observe(it, end)
}

// observe tells once how long a request waited for its first grant, or in vain.
func (l *leader) observe(it *item, end string) {
	if it.told {
		return
	}
	it.told = true
	l.cfg.Metrics.waited(l.cfg.Pool, it.entry.Class, end, time.Since(it.entry.AcceptedAt))
}

// cancelled is a client that left.
func (l *leader) cancelled(id string) {
	it := l.items[id]
	switch {
	case it == nil:
		l.endElsewhere(id, scheduler.Fence{}, time.Now())
	case it.queued():
		l.leaveQueue(it, "cancelled")
		l.forget(it)
	default: // its worker hears from the proxy, or the handshake says gone
		it.left = true
	}
}

// endQueued ends a request that waits, or never got so far, with a problem.
func (l *leader) endQueued(it *item, p *scheduler.Problem) {
	end := string(scheduler.Refused)
	if p.Code.Outcome() == scheduler.Expired {
		end = string(scheduler.Expired)
	}
	if it.req.Queued() {
		l.leaveQueue(it, end)
	} else {
		l.observe(it, end)
	}
	l.tell(it, p)
}

// tell ends a request with a problem. A proxy that does not hear it asks.
func (l *leader) tell(it *item, p *scheduler.Problem) {
	n := &scheduler.Notice{ID: it.entry.ID, Kind: scheduler.NoticeEnded, Problem: p}
	if x := l.past(it); x.Attempts > 0 {
		n.Backend, n.Attempts = hostOf(x.Last), x.Attempts
	}
	l.notify(it, *n)
	l.receipts.ends(it, string(p.Code.Outcome()))
	l.forget(it)
	l.over.add(n.ID, tombstone{at: time.Now(), told: n})
}

// leaveQueue takes an item out of the queue without any charge.
func (l *leader) leaveQueue(it *item, end string) {
	l.turn.Remove(time.Now(), &it.req, nil)
	l.waited(it, end)
	if end != "granted" {
		l.receipts.ends(it, end)
	}
}

// forget deletes an item everywhere.
func (l *leader) forget(it *item) {
	id := it.entry.ID
	delete(l.items, id)
	delete(l.troubles, id)
	l.over.add(id, tombstone{at: time.Now(), ended: it.ended})
	l.delete(it.seq)
	l.receipts.write(it)
	it.entry = nil
}
