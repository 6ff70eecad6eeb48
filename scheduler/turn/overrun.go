package turn

import (
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
)

// overrun is what a user's requests in flight cost together, as it was expected and
// as they turn out.
type overrun struct{ expected, shown fairqueue.Cost }

// Foresee takes from what is in flight what it tells of what waits: answers of a user
// that become longer than was expected make its others longer too. It returns how
// long it takes, by all that is known, until the first is over.
func (d *Decider) Foresee(flying func(yield func(*scheduler.Entry, *Run) bool)) time.Duration {
	clear(d.overruns)
	least := -1
	for e, run := range flying {
		in, n := &run.Input, max(e.Sequences, 1)
		made := run.Generated / n
		total := outgrown(e, in.Expected, made)
		x := d.overruns[e.User]
		x.expected += fairqueue.Actual(d.weights, in.Tokens, in.Cached, n*in.Expected)
		x.shown += fairqueue.Actual(d.weights, in.Tokens, in.Cached, n*total)
		d.overruns[e.User] = x
		if left := total - made; least < 0 || left < least {
			least = left
		}
	}
	return seconds(d.estimates.gap.Value * float64(max(least, 0)))
}

// outgrown is how long an answer is expected to become that has so many tokens: what
// is longer than was expected grows by half as much again.
func outgrown(e *scheduler.Entry, expected, made int) int {
	if made <= expected {
		return expected
	}
	total := made + made/2
	if e.MaxTokens > 0 {
		total = min(total, e.MaxTokens)
	}
	return max(total, made)
}

// Outlook is how a waiting request stands. more is what was added to the cost that is
// ahead of it in its flow, for what its user's answers in flight show.
func (d *Decider) Outlook(r *fairqueue.Request, user string) (o fairqueue.Outlook, more fairqueue.Cost) {
	o = d.Queue.Outlook(r)
	if x := d.overruns[user]; x.shown > x.expected {
		more = fairqueue.Cost(float64(o.AheadCost) * (float64(x.shown)/float64(x.expected) - 1))
	}
	o.AheadCost += more
	return o, more
}
