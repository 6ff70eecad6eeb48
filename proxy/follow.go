package proxy

import (
	"context"
	"errors"
	"strconv"
	"time"

	"fairlane/scheduler"
)

// errBeat says that a heartbeat is due.
var errBeat = errors.New("heartbeat")

// follower waits for what happens to a call and writes it down.
type follower struct {
	x    *exchange
	call scheduler.Call
	out  answer

	ctx    context.Context // of the wait: ends with the client, or with the server's patience
	beat   context.Context // of the next heartbeat; nil: none is due
	cancel context.CancelFunc
}

// follow follows a call to its end.
func (x *exchange) follow(call scheduler.Call) *scheduler.Problem {
	ctx, cancel := context.WithCancelCause(x.r.Context())
	defer cancel(nil)
	impatient := context.AfterFunc(x.s.drain, func() { cancel(errDraining) })
	defer impatient()
	f := &follower{x: x, call: call, ctx: ctx, out: answer{x: x, meter: meter{m: x.s.metrics.stream(x.rec.pool, x.rec.class)}}}
	defer f.calm()
	for {
		ev, err := f.next()
		switch {
		case errors.Is(err, errBeat):
			if err := f.out.comment(); err != nil {
				return f.gone()
			}
		case err != nil:
			return f.interrupted()
		default:
			if done, p := f.take(ev); done {
				return p
			}
		}
	}
}

// next waits for the next event or heartbeat. A stream beats until its answer
// begins; from there on no timer runs.
func (f *follower) next() (scheduler.CallEvent, error) {
	every := f.x.s.cfg.Heartbeat
	if !f.x.req.Stream || every == 0 || f.out.begun {
		return f.call.Next(f.ctx)
	}
	if f.beat == nil {
		f.beat, f.cancel = context.WithTimeout(f.ctx, every)
	}
	ev, err := f.call.Next(f.beat)
	if err != nil && f.ctx.Err() == nil {
		f.calm()
		return ev, errBeat
	}
	return ev, err
}

// calm ends the wait for a heartbeat.
func (f *follower) calm() {
	if f.cancel != nil {
		f.cancel()
		f.beat, f.cancel = nil, nil
	}
}

// interrupted is the end of a call that nobody waits for any more.
func (f *follower) interrupted() *scheduler.Problem {
	if f.x.alone() {
		return f.gone()
	}
	f.counted()
	return f.out.fail(shuttingDown())
}

// gone is the end when the client is.
func (f *follower) gone() *scheduler.Problem {
	f.counted()
	f.x.left()
	return nil
}

// counted is the usage of a call of whose end nothing is known, as far as it was
// seen here. Who leaves early has had the prompt read for it all the same.
func (f *follower) counted() {
	r := &f.x.rec
	if r.granted.IsZero() || r.usage != (scheduler.Usage{}) {
		return
	}
	r.counted = true
	r.usage = scheduler.Usage{Input: f.x.s.estimates.input(f.x.at.model, f.x.req), Output: f.out.meter.events}
}

// take deals with an event. Done: it was the last.
func (f *follower) take(ev scheduler.CallEvent) (done bool, p *scheduler.Problem) {
	switch ev.Kind {
	case scheduler.CallQueued:
		f.queued(ev)
	case scheduler.CallGranted:
		f.granted(ev.At)
	case scheduler.CallHead:
		f.granted(time.Now()) // a head without a grant would be odd, not wrong
		f.x.rec.backend, f.x.rec.attempts = ev.Head.Backend, ev.Head.Attempt
		f.out.head = ev.Head
	case scheduler.CallData:
		if err := f.out.data(ev.Data); err != nil {
			return true, f.gone()
		}
		f.calm()
	case scheduler.CallEnd:
		f.ended(ev.End)
		if err := f.out.finish(); err != nil {
			return true, f.gone()
		}
		return true, nil
	case scheduler.CallProblem:
		if ev.Attempts > 0 {
			f.x.rec.backend, f.x.rec.attempts = ev.Backend, ev.Attempts
		}
		if ev.End != nil {
			f.ended(ev.End)
		} else if f.out.begun {
			f.counted()
		}
		return true, f.out.fail(ev.Problem)
	}
	return false, nil
}

func (f *follower) queued(ev scheduler.CallEvent) {
	h := f.x.header()
	if f.x.rec.status == 0 && h.Get("X-Fairlane-Queue-Position") == "" {
		h.Set("X-Fairlane-Queue-Position", strconv.Itoa(ev.Position))
	}
}

// granted ends the wait in the queue: from here on a shutdown waits for it.
func (f *follower) granted(at time.Time) {
	x := f.x
	if !x.rec.granted.IsZero() {
		return
	}
	if x.rec.granted = at; at.IsZero() {
		x.rec.granted = time.Now()
	}
	f.ctx = x.r.Context()
	f.calm()
	if x.rec.status == 0 {
		if h := x.header(); h.Get("X-Fairlane-Queue-Position") == "" {
			h.Set("X-Fairlane-Queue-Position", "0") // it found nobody before it
		}
		x.header().Set("X-Fairlane-Wait-Ms", strconv.FormatInt(x.rec.granted.Sub(x.rec.started).Milliseconds(), 10))
	}
}

func (f *follower) ended(e *scheduler.End) {
	r := &f.x.rec
	r.counted = true
	r.usage, r.cost, r.outcome = e.Usage, e.Cost, e.Outcome
	if r.outcome == "" {
		r.outcome = scheduler.Completed
	}
	f.x.s.estimates.learn(f.x.at.model, f.x.req, e.Usage)
}

// meter measures a stream as its client sees it.
type meter struct {
	m      streamMetrics
	last   time.Time // of the content event before
	events int       // pieces with content
}

func (m *meter) content(r *record, now time.Time) {
	m.events++
	if m.last.IsZero() {
		r.first = now
		m.m.firstToken.Observe(now.Sub(r.started).Seconds())
	} else {
		m.m.interToken.Observe(now.Sub(m.last).Seconds())
	}
	m.last = now
}
