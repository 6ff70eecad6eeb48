package dispatcher

import (
	"fmt"
	"math"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
	"fairlane/scheduler/turn"
)

const (
	shortestRetry = time.Second
	longestRetry  = 60 * time.Second // a client that would come back earlier anyway is told not to
	unknownRetry  = 5 * time.Second
)

// waiting is the estimated cost of all that waits.
func (l *leader) waiting() (sum fairqueue.Cost) {
	for _, c := range l.classes {
		sum += c.tokens
	}
	return sum
}

// where answers proxies that ask after their calls. Who has not heard that its call is
// over would publish it again.
func (l *leader) where(ids []string) []scheduler.Notice {
	out := make([]scheduler.Notice, 0, len(ids))
	for _, id := range ids {
		switch it, told := l.items[id], l.over.ids[id].told; {
		case told != nil:
			out = append(out, *told)
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

// outlook is how an item stands, and the cost of all that waits.
func (l *leader) outlook(it *item) (*fairqueue.Outlook, fairqueue.Cost) {
	o, more := l.turn.Outlook(&it.req, it.entry.User)
	return &o, l.waiting() + more
}

// running are the requests in flight.
func (l *leader) running(yield func(*scheduler.Entry, *turn.Run) bool) {
	for _, w := range l.workers {
		for _, it := range w.running {
			if !yield(it.entry, &it.run.Run) {
				return
			}
		}
	}
}

// place is an item's position and expected wait.
func (l *leader) place(it *item) scheduler.Notice {
	o, waiting := l.outlook(it)
	n := scheduler.Notice{ID: it.entry.ID, Kind: scheduler.NoticeQueued, Position: o.Position, NoBackend: l.open && !l.noneUp.IsZero(), Ended: it.ended}
	n.ETA, _, _ = l.drain.Wait(o, waiting)
	return n
}

// hopeless refuses a request at once if it can't be expected to start before its
// deadline: it would only wait in vain, and count in everybody's wait.
func (l *leader) hopeless(it *item, now time.Time) *scheduler.Problem {
	if !l.open || !l.noneUp.IsZero() || !l.drain.Sure() || it.entry.Deadline.IsZero() {
		return nil
	}
	o, waiting := l.outlook(it)
	left := it.entry.Deadline.Sub(now)
	why, all, own := l.drain.Hopeless(o, waiting, left)
	after := l.jitter(all - left)
	switch why {
	case scheduler.ReasonOwnBacklog:
		return refusal(scheduler.CodeQueueLimit, why, after,
			fmt.Sprintf("your own waiting requests take about %s, longer than this one may wait", scheduler.Words(own)))
	case scheduler.ReasonDeadline:
		return refusal(scheduler.CodeOverloaded, why, after,
			fmt.Sprintf("the wait is about %s now, longer than this request may wait", scheduler.Words(all)))
	default:
		return nil
	}
}

// refusal tells of a bound that was met; when to come back follows from how fast
// the queue drains.
func (l *leader) refusal(it *item, code scheduler.Code, reason scheduler.Reason, what string) *scheduler.Problem {
	return refusal(code, reason, l.jitter(l.drainTime(it, l.drainShare(it, reason))), what)
}

func refusal(code scheduler.Code, reason scheduler.Reason, after time.Duration, what string) *scheduler.Problem {
	p := scheduler.Refusal(code, reason, after, fmt.Sprintf("%s; please try again in %s", what, after))
	p.NoRetry = after > longestRetry
	return p
}

// drainTime is when it is worth to come back to a queue that is full: after one
// request, as they are on average, at the share of the rate that its owner gets.
func (l *leader) drainTime(it *item, share float64) time.Duration {
	if l.drain.Rate() <= 0 || share <= 0 {
		return unknownRetry
	}
	c := l.class(it.entry.Class)
	seconds := float64(c.tokens) / (l.drain.Rate() * share) / float64(max(c.queued, 1))
	return time.Duration(min(seconds, longestRetry.Seconds()) * float64(time.Second))
}

// drainShare is the part of what is delivered that empties the queue which was
// full: the user's, or the class's.
func (l *leader) drainShare(it *item, reason scheduler.Reason) float64 {
	switch reason {
	case scheduler.ReasonUserQueue:
		for _, r := range l.turn.Queue.Waiting(it.entry.User, 1) {
			return l.turn.Queue.Outlook(r).Share
		}
	case scheduler.ReasonClassQueue:
		all, own := 0.0, l.turn.Policy().Weight(it.entry.Class)
		for name, c := range l.classes {
			if c.queued > 0 {
				all += l.turn.Policy().Weight(name)
			}
		}
		return own / max(all, own)
	default:
	}
	return 1
}

// jitter is d or up to a fifth more in whole seconds, at least one, and up to one
// second more where that is less than a fifth, so that those who were refused
// together do not come back together.
func (l *leader) jitter(d time.Duration) time.Duration {
	least := math.Ceil(max(d, shortestRetry).Seconds())
	most := math.Ceil(1.2 * max(d, shortestRetry).Seconds())
	return time.Duration(least+math.Floor(l.rand.Float64()*(max(most-least, 1)+1))) * time.Second
}
