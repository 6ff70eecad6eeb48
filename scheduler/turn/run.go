package turn

import (
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/fairqueue"
)

// Run is a request in flight: where, since when, on what it was charged, and how
// far it is.
type Run struct {
	Backend   *capacity.Backend
	Hold      *capacity.Hold
	Input     fairqueue.Input // what the reserve was computed from
	At        time.Time
	Adopted   bool
	First     bool // its first token came
	Generated int  // tokens of all its sequences, as far as they were told
	Delivered fairqueue.Cost
}

// FirstToken tells that the first token came, so long after the backend had the request.
func (d *Decider) FirstToken(now time.Time, run *Run, took time.Duration) {
	run.First = true
	run.Hold.FirstToken(now)
	d.estimates.first.add(took.Seconds())
}

// Progress charges what was generated beyond the reserve. It returns the cost that
// was delivered since the last time.
func (d *Decider) Progress(now time.Time, r *fairqueue.Request, run *Run) fairqueue.Cost {
	cost := d.Cost(run.Spent())
	d.Queue.Progress(r, d.cfg.Manner.Charge(cost))
	run.Hold.Progress(now, run.Generated)
	return run.deliver(cost)
}

// Spent is what it cost until now, as far as it is known. It is what a client pays that
// leaves once the backend has its request: the prefill was done, however early it left.
func (run *Run) Spent() scheduler.Usage {
	return scheduler.Usage{Input: run.Input.Tokens, Cached: run.Input.Cached, Output: run.Generated}
}

func (run *Run) deliver(cost fairqueue.Cost) fairqueue.Cost {
	more := max(cost-run.Delivered, 0)
	run.Delivered += more
	return more
}

// Settle ends a request that was served, wholly or in part, and returns its slots. Of
// what broke off it learns what can be learned; Learn is for what was completed. It
// returns the cost that was delivered since the last time.
func (d *Decider) Settle(now time.Time, r *fairqueue.Request, run *Run, u scheduler.Usage, completed bool) fairqueue.Cost {
	if o, ok := r.Value.(Owner); ok && !completed {
		d.learnBroken(o.Entry(), u)
	}
	cost := d.Cost(u)
	d.Queue.Settle(r, d.cfg.Manner.Charge(cost))
	d.release(now, r, run, completed)
	return run.deliver(cost)
}

// Requeue takes a request back that no backend served: nothing is charged, and it
// waits at its old place.
func (d *Decider) Requeue(now time.Time, r *fairqueue.Request, run *Run) {
	d.release(now, r, run, false)
	d.Queue.Requeue(r)
}

// Remove takes a request out without any charge. run is nil if it waits.
func (d *Decider) Remove(now time.Time, r *fairqueue.Request, run *Run) {
	if run != nil {
		d.release(now, r, run, false)
	}
	d.Queue.Remove(r)
}

func (d *Decider) release(now time.Time, r *fairqueue.Request, run *Run, completed bool) {
	run.Hold.Release(now, completed)
	if o, ok := r.Value.(Owner); ok {
		e := o.Entry()
		d.running[e.Class] -= max(e.Sequences, 1)
	}
}
