package dispatcher

import (
	"fmt"
	"math"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
)

const (
	shortestRetry = time.Second
	longestRetry  = 60 * time.Second // a client that would come back earlier anyway is told not to
	unknownRetry  = 5 * time.Second
	longestWait   = 24 * time.Hour

	rateMemory = 60 // seconds, the weight of the past in what is known of the rate
	sureAfter  = 30 // such seconds are needed to refuse anybody because of it
	// hopelessAt is the part of the time that is left, beyond which the expected
	// wait is taken for too long.
	hopelessAt = 0.9
)

// drainRate is the delivered cost per second, measured only while a head waits for
// capacity: after a quiet night demand is not capacity.
type drainRate struct {
	since   time.Time
	cost    fairqueue.Cost // since then
	done    int            // requests completed since then
	waited  bool           // somebody waited all the time since then
	seconds int            // that were measured
	rate    float64        // thousandths of a token a second
	mu      float64        // completions a second
}

func (d *drainRate) delivered(c fairqueue.Cost) { d.cost += c }

func (d *drainRate) completed() { d.done++ }

func (d *drainRate) tick(now time.Time, waiting bool) {
	d.waited = d.waited && waiting
	elapsed := now.Sub(d.since)
	if elapsed < time.Second {
		return
	}
	if d.waited && elapsed < 3*time.Second {
		d.seconds++
		weight := 1 / float64(min(d.seconds, rateMemory))
		d.rate += weight * (float64(d.cost)/elapsed.Seconds() - d.rate)
		d.mu += weight * (float64(d.done)/elapsed.Seconds() - d.mu)
	}
	d.since, d.cost, d.done, d.waited = now, 0, 0, waiting
}

// wait is how long a request is expected to wait, how much of it for the user's
// own other requests; false: nothing is known. Those who share now may soon have no
// more work, so it is never longer than all that waits takes.
func (d *drainRate) wait(o *fairqueue.Outlook, waiting fairqueue.Cost) (all, own time.Duration, known bool) {
	if d.rate <= 0 || o.Share <= 0 {
		return 0, 0, false
	}
	turnover := 0.0
	if d.mu > 0 {
		turnover = 1 / d.mu
	}
	seconds := func(ahead fairqueue.Cost, more float64) time.Duration {
		s := min(float64(ahead)/o.Share, float64(waiting))/d.rate + more
		return time.Duration(min(s, longestWait.Seconds()) * float64(time.Second))
	}
	return seconds(o.AheadCost+o.Lag, turnover), seconds(o.AheadCost, 0), true
}

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

// place is an item's position and expected wait.
func (l *leader) place(it *item) scheduler.Notice {
	o := l.turn.Queue.Outlook(&it.req)
	n := scheduler.Notice{ID: it.entry.ID, Kind: scheduler.NoticeQueued, Position: o.Position, NoBackend: l.open && !l.noneUp.IsZero(), Ended: it.ended}
	n.ETA, _, _ = l.rate.wait(&o, l.waiting())
	return n
}

// hopeless refuses a request at once if it can't be expected to start before its
// deadline: it would only wait in vain, and count in everybody's wait.
func (l *leader) hopeless(it *item, now time.Time) *scheduler.Problem {
	if !l.open || !l.noneUp.IsZero() || l.rate.seconds < sureAfter || it.entry.Deadline.IsZero() {
		return nil
	}
	o := l.turn.Queue.Outlook(&it.req)
	left := it.entry.Deadline.Sub(now)
	bound := time.Duration(hopelessAt * float64(left))
	all, own, known := l.rate.wait(&o, l.waiting())
	if !known || all <= bound {
		return nil
	}
	after := l.jitter(all - left)
	if own > bound {
		return refusal(scheduler.CodeQueueLimit, scheduler.ReasonOwnBacklog, after,
			fmt.Sprintf("your own waiting requests take about %s, longer than this one may wait", own.Round(time.Second)))
	}
	return refusal(scheduler.CodeOverloaded, scheduler.ReasonDeadline, after,
		fmt.Sprintf("the wait is about %s now, longer than this request may wait", all.Round(time.Second)))
}

// refusal tells of a bound that was met; when to come back follows from how fast
// the queue drains.
func (l *leader) refusal(it *item, code scheduler.Code, reason scheduler.Reason, what string) *scheduler.Problem {
	return refusal(code, reason, l.jitter(l.drainTime(it)), what)
}

func refusal(code scheduler.Code, reason scheduler.Reason, after time.Duration, what string) *scheduler.Problem {
	p := scheduler.Refusal(code, reason, after, fmt.Sprintf("%s; please try again in %s", what, after))
	p.NoRetry = after > longestRetry
	return p
}

// drainTime is when it is worth to come back to a queue that is full.
func (l *leader) drainTime(it *item) time.Duration {
	if l.rate.rate <= 0 {
		return unknownRetry
	}
	c := l.class(it.entry.Class)
	seconds := float64(c.tokens) / l.rate.rate / float64(max(c.queued, 1))
	return time.Duration(min(seconds, longestRetry.Seconds()) * float64(time.Second))
}

// jitter is d or up to a fifth more in whole seconds, at least one, so that those
// who were refused together do not come back together.
func (l *leader) jitter(d time.Duration) time.Duration {
	seconds := math.Ceil(max(d, shortestRetry).Seconds())
	return time.Duration(math.Floor(seconds*(1+0.2*l.rand.Float64()))) * time.Second
}
