package dispatcher

import (
	"log/slog"
	"math"
	"time"

	"fairlane/scheduler"
)

const (
	shortestRetry = time.Second
	longestRetry  = 60 * time.Second
	unknownRetry  = 5 * time.Second
)

// drainRate is the delivered cost per second, measured only while something
// waits for capacity: after a quiet night demand is not capacity.
type drainRate struct {
	since  time.Time
	sum    int64 // thousandths of a token since then
	waited bool  // something waited all the time since then
	rate   mean  // thousandths of a token a second
}

func (d *drainRate) delivered(cost int64) { d.sum += cost }

func (d *drainRate) tick(now time.Time, waiting bool) {
	d.waited = d.waited && waiting
	elapsed := now.Sub(d.since)
	if elapsed < time.Second {
		return
	}
	if d.waited && elapsed < 3*time.Second {
		d.rate.add(float64(d.sum) / elapsed.Seconds())
	}
	d.since, d.sum, d.waited = now, 0, waiting
}

// where answers proxies that ask after their calls.
func (l *leader) where(ids []string) []scheduler.Notice {
	out := make([]scheduler.Notice, 0, len(ids))
	for _, id := range ids {
		switch it := l.items[id]; {
		case it == nil:
			if _, runs := l.elsewhere[id]; runs {
				out = append(out, scheduler.Notice{ID: id, Kind: scheduler.NoticeGranted})
			}
		case it.queued():
			out = append(out, l.place(it))
		default:
			out = append(out, scheduler.Notice{ID: id, Kind: scheduler.NoticeGranted})
		}
	}
	return out
}

// place is an item's position and expected wait.
func (l *leader) place(it *item) scheduler.Notice {
	o := l.queue.Outlook(&it.req)
	n := scheduler.Notice{ID: it.entry.ID, Kind: scheduler.NoticeQueued, Position: o.Position}
	if l.rate.rate.n > 0 && l.rate.rate.value > 0 && o.Share > 0 {
		seconds := (float64(o.AheadCost) + float64(o.Lag)) / (l.rate.rate.value * o.Share)
		n.ETA = time.Duration(min(seconds, 24*3600) * float64(time.Second))
	}
	return n
}

// drainTime is when it is worth to come back to a queue that is full.
func (l *leader) drainTime(it *item) time.Duration {
	if l.rate.rate.n == 0 || l.rate.rate.value <= 0 {
		return unknownRetry
	}
	c := l.class(it.entry.Class)
	seconds := math.Ceil(float64(c.tokens) / l.rate.rate.value / float64(max(c.queued, 1)))
	return min(max(time.Duration(seconds)*time.Second, shortestRetry), longestRetry)
}

func (l *leader) notify(it *item, n scheduler.Notice) {
	l.notices[it.entry.Proxy] = append(l.notices[it.entry.Proxy], n)
}

// flushNotices sends what has gathered, one batch a proxy.
func (l *leader) flushNotices() {
	for i, it := range l.waiters {
		if it.waits() {
			l.notify(it, l.place(it))
		}
		l.waiters[i] = nil
	}
	l.waiters = l.waiters[:0]
	for proxy, ns := range l.notices {
		delete(l.notices, proxy)
		if err := l.cfg.Bus.Proxy(proxy).Notify(ns); err != nil {
			l.cfg.Logger.Debug("a proxy was not reached", slog.String("proxy", proxy), slog.Any("error", err))
		}
	}
}
