package turn

import (
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/fairqueue"
)

// Turn is the answer to the question who is next.
type Turn struct {
	Request *fairqueue.Request // it starts now, as Run says; nil: nobody does
	Run     Run

	Never   Owner            // it can never fit: its owner removes it, and asks again
	Blocked Owner            // the head that did not fit; nil: there is none
	Why     capacity.Verdict // what it lacks
	Kept    bool             // slots that are kept for another class refused somebody
}

// Short reports whether somebody waits for capacity.
func (t *Turn) Short() bool {
	return t.Kept || t.Why == capacity.NoSlot || t.Why == capacity.NoKV || t.Why == capacity.Gate
}

// Next gives out the request whose turn it is, with its slots and its memory taken
// and its flow charged.
func (d *Decider) Next(now time.Time) Turn {
	d.now, d.turn, d.astray = now, Turn{}, false
	r := d.Queue.Dispatch(d.ask)
	t := d.turn
	d.turn = Turn{}
	if r == nil {
		return t
	}
	t.Request = r
	o, ok := r.Value.(Owner)
	if !ok {
		return t // not reached: only an Owner is admitted
	}
	e := o.Entry()
	t.Run.At = now
	t.Run.Hold = t.Run.Backend.Take(now, d.demand(e, t.Run.Input))
	d.running[e.Class] += max(e.Sequences, 1)
	return t
}

// admit tells the fair queue whether a head can start now.
func (d *Decider) admit(r *fairqueue.Request, bypass bool) fairqueue.Decision {
	o, ok := r.Value.(Owner)
	if !ok {
		return fairqueue.Decision{Verdict: fairqueue.Stop}
	}
	e := o.Entry()
	if d.refuses(e) {
		d.turn.Kept = true
		d.Pool.Refused(d.now)
		return fairqueue.Decision{Verdict: fairqueue.Skip}
	}
	in := d.Input(e)
	b, v := d.fit(e, in, !bypass)
	if v == capacity.Fits {
		return d.take(e, in, b, bypass)
	}
	if v == capacity.Never {
		d.turn.Never = o
	}
	if !bypass {
		d.turn.Blocked, d.turn.Why = o, v
	}
	if v == capacity.NoKV || v == capacity.NoBackend && d.cfg.Past(e).Faulted { // others may probe where it may not
		return fairqueue.Decision{Verdict: fairqueue.Bypass}
	}
	return fairqueue.Decision{Verdict: fairqueue.Stop}
}

// take lets a request start. One that would start away from its home, the backend
// that has its conversation in its cache, yields to one that would start at home.
func (d *Decider) take(e *scheduler.Entry, in fairqueue.Input, b *capacity.Backend, bypass bool) fairqueue.Decision {
	home, verdict := d.Pool.Home(e.Chat), fairqueue.Take
	switch {
	case d.astray && home != b:
		return fairqueue.Decision{Verdict: fairqueue.Stop}
	case !bypass && home != nil && home != b:
		d.astray, verdict = true, fairqueue.Yield
	}
	d.turn.Run.Backend, d.turn.Run.Input = b, in
	return fairqueue.Decision{Verdict: verdict, Reserve: d.cfg.Manner.Reserve(d.weights, in)}
}

// fit finds a backend that can be reached. One that can't gets nothing for a moment.
func (d *Decider) fit(e *scheduler.Entry, in fairqueue.Input, head bool) (*capacity.Backend, capacity.Verdict) {
	want := d.demand(e, in)
	for {
		b, v := d.Pool.Fit(d.now, want, head)
		if v != capacity.Fits || d.cfg.Reach(b) {
			return b, v
		}
		b.Busy(d.now)
	}
}

func (d *Decider) demand(e *scheduler.Entry, in fairqueue.Input) capacity.Demand {
	past := d.cfg.Past(e)
	return capacity.Demand{
		Sequences: e.Sequences, Input: in.Tokens, Cached: in.Cached, Expected: in.Expected, Stream: e.Stream,
		Group: e.PrefixGroup, Chat: e.Chat, Alone: past.Alone, Faulted: past.Faulted, Avoid: past.Avoid,
	}
}

// headroom is what a class keeps free for itself.
type headroom struct {
	class string
	slots int
}

func headrooms(classes map[string]Class) []headroom {
	var out []headroom
	for name, c := range classes {
		if c.Headroom > 0 {
			out = append(out, headroom{name, c.Headroom})
		}
	}
	return out
}

// refuses reports whether the slots that are free are kept for others.
// Less than half of what there is can be kept, also while there is little, as on a
// backend that is filled anew; and nothing from who needs all.
func (d *Decider) refuses(e *scheduler.Entry) bool {
	kept := 0
	for _, h := range d.kept {
		if h.class != e.Class {
			kept += max(0, h.slots-d.running[h.class])
		}
	}
	if kept == 0 {
		return false
	}
	all, free, n := 0, 0, max(e.Sequences, 1)
	for _, b := range d.Pool.Backends() {
		if s := b.State(); s.Up {
			all += s.Slots
			free += s.Slots - s.Running
		}
	}
	kept = min(kept, (all-1)/2, all-n)
	return kept > 0 && free-n < kept
}
