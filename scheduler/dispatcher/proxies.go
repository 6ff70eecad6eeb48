package dispatcher

import (
	"log/slog"
	"slices"
	"time"

	"fairlane/scheduler"
)

// missProxies removes what waits for proxies that did not beat: with a proxy
// its clients are gone, and their ghosts would count in bounds and waits.
func (l *leader) missProxies(now time.Time) {
	for id, at := range l.proxies {
		if now.Sub(at) > missedBeats*l.cfg.Beat+2*tick {
			l.cfg.Logger.Warn("a proxy is gone", slog.String("pool", l.cfg.Pool), slog.String("proxy", id))
			l.dropProxy(id)
		}
	}
}

// dropProxy removes what waits for a proxy. What runs for it is ended by its
// worker, which finds out by itself.
func (l *leader) dropProxy(id string) {
	delete(l.proxies, id)
	delete(l.notices, id)
	for _, it := range l.items {
		switch {
		case it.entry.Proxy != id || it.entry.Mode != scheduler.ModeSync:
		case it.queued():
			l.leaveQueue(it, "cancelled")
			l.forget(it)
		default:
			it.left = true
		}
	}
	for call, e := range l.elsewhere {
		if e.entry.Proxy == id && e.entry.Mode == scheduler.ModeSync {
			l.endElsewhere(call, scheduler.Fence{}, time.Now())
		}
	}
}

// notify lets a notice go out with the others at the end of this pass.
func (l *leader) notify(it *item, n scheduler.Notice) {
	l.notices[it.entry.Proxy] = append(l.notices[it.entry.Proxy], n)
}

// mostNotices go in one message.
const mostNotices = 512

// waiter is an item that has to wait.
type waiter struct {
	it    *item
	ended scheduler.Fence // of the attempt after which it waits again; zero: it is new
}

// place is what its proxy is told.
func (w waiter) place(l *leader) scheduler.Notice {
	n := l.place(w.it)
	if w.ended != (scheduler.Fence{}) {
		n.Ended = w.ended
	} else {
		l.receipts.stands(w.it)
	}
	return n
}

// flushNotices sends what has gathered, and those that came their place.
func (l *leader) flushNotices() {
	for _, w := range l.waiters {
		if w.it.waits() {
			l.notify(w.it, w.place(l))
		}
	}
	clear(l.waiters)
	l.waiters = l.waiters[:0]
	for proxy, ns := range l.notices {
		delete(l.notices, proxy)
		at := l.cfg.Bus.Proxy(proxy)
		for batch := range slices.Chunk(ns, mostNotices) {
			if err := at.Notify(batch); err != nil { // it asks after what it does not hear
				l.cfg.Logger.Debug("a proxy was not reached", slog.String("proxy", proxy), slog.Any("error", err))
			}
		}
	}
}
