package turn

import (
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
)

const (
	longestWait = 24 * time.Hour

	drainMemory = 60 // seconds, the weight of the past in what is known of the rate
	sureAfter   = 30 // such seconds are needed to refuse anybody because of it
	// hopelessAt is the part of the time that is left, beyond which the expected
	// wait is taken for too long.
	hopelessAt = 0.9

	// leastShed is how long anybody waits before it is shed.
	leastShed = 2 * time.Second
)

// Drain is the delivered cost per second, measured only while a head waits for
// capacity: after a quiet night demand is not capacity.
type Drain struct {
	since   time.Time
	cost    fairqueue.Cost // since then
	done    int            // requests completed since then
	waited  bool           // somebody waited all the time since then
	seconds int            // that were measured
	rate    float64        // thousandths of a token a second
	mu      float64        // completions a second
	next    time.Duration  // until one is expected
}

// Delivered counts cost that was delivered.
func (d *Drain) Delivered(c fairqueue.Cost) { d.cost += c }

// Completed counts a request that was served.
func (d *Drain) Completed() { d.done++ }

// Expect tells that the next request is over in so long: see [Decider.Foresee].
func (d *Drain) Expect(next time.Duration) { d.next = next }

// Rate is the cost a second; 0: nothing is known.
func (d *Drain) Rate() float64 { return d.rate }

// Sure reports whether enough was measured to refuse anybody because of it.
func (d *Drain) Sure() bool { return d.seconds >= sureAfter }

// Tick counts a second that is over. short says whether a head waits for capacity.
func (d *Drain) Tick(now time.Time, short bool) {
	d.waited = d.waited && short
	elapsed := now.Sub(d.since)
	if elapsed < time.Second {
		return
	}
	if d.waited && elapsed < 3*time.Second {
		d.seconds++
		weight := 1 / float64(min(d.seconds, drainMemory))
		d.rate += weight * (float64(d.cost)/elapsed.Seconds() - d.rate)
		d.mu += weight * (float64(d.done)/elapsed.Seconds() - d.mu)
	}
	d.since, d.cost, d.done, d.waited = now, 0, 0, short
}

// Wait is how long a request is expected to wait, how much of it for the user's
// own other requests; false: nothing is known. The turnover of a slot is the mean
// time between two completions, and what runs now may tell that it is longer. Those who share now may soon have no
// more work, so it is never longer than all that waits takes.
func (d *Drain) Wait(o *fairqueue.Outlook, waiting fairqueue.Cost) (all, own time.Duration, known bool) {
	if d.rate <= 0 || o.Share <= 0 {
		return 0, 0, false
	}
	turnover := 0.0
	if d.mu > 0 {
		turnover = 1 / d.mu
	}
	turnover = max(turnover, d.next.Seconds())
	reckon := func(ahead fairqueue.Cost, more float64) time.Duration {
		s := min(float64(ahead)/o.Share, float64(waiting))/d.rate + more
		return seconds(min(s, longestWait.Seconds()))
	}
	return reckon(o.AheadCost+o.Lag, turnover), reckon(o.AheadCost, 0), true
}

// Hopeless says why a request can't be expected to start in the time that is left,
// and how long it would wait, for all and for its user's own requests. No reason: it
// may.
func (d *Drain) Hopeless(o *fairqueue.Outlook, waiting fairqueue.Cost, left time.Duration) (why scheduler.Reason, all, own time.Duration) {
	bound := time.Duration(hopelessAt * float64(left))
	all, own, known := d.Wait(o, waiting)
	switch {
	case !known || !d.Sure() || all <= bound:
		return "", all, own
	case own > bound:
		return scheduler.ReasonOwnBacklog, all, own
	default:
		return scheduler.ReasonDeadline, all, own
	}
}

// Patience is how long a request waits before it is shed, where its class sheds:
// half of what it may wait, and at least two seconds; 0: it waits for ever.
func Patience(e *scheduler.Entry) time.Duration {
	if e.Deadline.IsZero() {
		return 0
	}
	return max(leastShed, e.Deadline.Sub(e.AcceptedAt)/2)
}

// Fresh reports whether a request is too new to be shed, whatever it may wait.
func Fresh(e *scheduler.Entry, now time.Time) bool { return now.Sub(e.AcceptedAt) < leastShed }
