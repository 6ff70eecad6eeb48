package proxy

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"strconv"
	"time"

	"fairlane/scheduler"
)

// errDue says that it is time to write something of our own.
var errDue = errors.New("due")

// follower waits for what happens to a call and writes it down.
type follower struct {
	x     *exchange
	call  scheduler.Call
	out   answer
	every time.Duration // between heartbeats; 0: none

	patient context.Context // of the wait in the queue: ends with the client, or with the server's patience
	ctx     context.Context // of the wait of now: once granted, it ends with the client
	beatAt  time.Time       // when the next heartbeat is due
	dueAt   time.Time       // when due ends
	due     context.Context // of what is written next; nil: nothing is due
	cancel  context.CancelFunc
}

// follow follows a call to its end.
func (x *exchange) follow(call scheduler.Call) *scheduler.Problem {
	ctx, cancel := context.WithCancelCause(x.r.Context())
	defer cancel(nil)
	impatient := context.AfterFunc(x.s.drain, func() { cancel(errDraining) })
	defer impatient()
	f := &follower{x: x, call: call, patient: ctx, ctx: ctx, out: answer{x: x, meter: meter{m: x.s.metrics.stream(x.rec.pool, x.rec.class)}}}
	if x.req.Stream {
		f.every = x.s.status.Load().Heartbeat
		f.beatAt = time.Now().Add(f.every)
	}
	defer f.calm()
	for {
		ev, err := f.next()
		switch {
		case errors.Is(err, errDue):
			if err := f.speak(time.Now()); err != nil {
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

// next waits for the next event, or until something of ours is due. From the first
// byte of the answer on no timer runs.
func (f *follower) next() (scheduler.CallEvent, error) {
	at := f.nextDue()
	if at.IsZero() {
		f.calm()
		return f.call.Next(f.ctx)
	}
	if f.due == nil || !at.Equal(f.dueAt) {
		f.calm()
		f.dueAt = at
		f.due, f.cancel = context.WithDeadline(f.ctx, at)
	}
	ev, err := f.call.Next(f.due)
	if err != nil && f.ctx.Err() == nil {
		f.calm()
		return ev, errDue
	}
	return ev, err
}

// nextDue is when a heartbeat or a status is to be written; zero: never.
func (f *follower) nextDue() time.Time {
	if f.out.begun {
		return time.Time{}
	}
	var at time.Time
	if f.every > 0 {
		at = f.beatAt
	}
	if f.x.teller != nil {
		if status := f.x.teller.due(); at.IsZero() || !status.IsZero() && status.Before(at) {
			at = status
		}
	}
	return at
}

// speak writes what is due: a status, which is a sign of life too, or a heartbeat.
func (f *follower) speak(now time.Time) error {
	f.beatAt = now.Add(f.every)
	if f.x.teller != nil {
		if status := f.x.teller.say(now); status != nil {
			return f.out.ours(status)
		}
	}
	return f.out.comment()
}

// hush lets the status vanish, before anything else is written. A client that is
// gone shows none.
func (f *follower) hush() {
	if f.x.teller == nil {
		return
	}
	if status := f.x.teller.close(); status != nil && f.out.ours(status) != nil {
		f.x.teller = nil
	}
}

// doneEvent is how a chat's stream ends.
const doneEvent = "data: [DONE]\n\n"

// data writes a piece of the answer. What is to be said at its end comes before the
// event that ends it.
func (f *follower) data(b []byte) error {
	rest, last := bytes.CutSuffix(b, []byte(doneEvent))
	if f.x.teller == nil || !last {
		return f.out.data(b)
	}
	if len(rest) > 0 {
		if err := f.out.data(rest); err != nil {
			return err
		}
	}
	f.hushAgain()
	return f.out.data(b[len(rest):])
}

// hushAgain says at the end of an answer that the status has vanished.
func (f *follower) hushAgain() {
	if f.x.teller == nil || !f.out.begun || f.out.ragged {
		return
	}
	if status := f.x.teller.closeAgain(); status != nil && f.out.ours(status) != nil {
		f.x.teller = nil
	}
}

// calm ends the wait for what is due.
func (f *follower) calm() {
	if f.cancel != nil {
		f.cancel()
		f.due, f.cancel = nil, nil
	}
}

// interrupted is the end of a call that nobody waits for any more.
func (f *follower) interrupted() *scheduler.Problem {
	if f.x.alone() {
		return f.gone()
	}
	f.counted()
	f.hush()
	return f.out.fail(shuttingDown())
}

// gone is the end when the client is.
func (f *follower) gone() *scheduler.Problem {
	f.rest()
	f.counted()
	f.x.left()
	return nil
}

// take deals with an event. Done: it was the last.
func (f *follower) take(ev scheduler.CallEvent) (done bool, p *scheduler.Problem) {
	switch ev.Kind {
	case scheduler.CallQueued:
		f.queued(&ev)
	case scheduler.CallGranted:
		f.granted(ev.At)
	case scheduler.CallHead:
		f.granted(time.Now()) // a head without a grant would be odd, not wrong
		f.x.rec.backend, f.x.rec.attempts = ev.Head.Backend, ev.Head.Attempt
		f.out.head = ev.Head
	case scheduler.CallData:
		if err := f.data(ev.Data); err != nil {
			return true, f.gone()
		}
		f.calm()
	case scheduler.CallEnd:
		f.ended(ev.End)
		f.hush()
		f.hushAgain()
		if err := f.out.finish(); err != nil {
			return true, f.gone()
		}
		return true, nil
	case scheduler.CallProblem:
		if ev.Attempts > 0 {
			f.x.rec.backend, f.x.rec.attempts = ev.Backend, ev.Attempts
		}
		switch {
		case ev.End != nil:
			f.ended(ev.End)
		case f.out.begun || ev.Problem.Code == scheduler.CodeBackendTimeout: // it was worked on to the last
			f.counted()
			f.x.rec.guessed = f.x.rec.guessed || ev.Problem.Code == scheduler.CodeOverloaded // what waited for its client is lost
		default:
			f.x.rec.counted = true // it came to nothing, by no fault of its client
		}
		f.hush()
		f.hushAgain()
		return true, f.out.fail(ev.Problem)
	}
	return false, nil
}

// queued takes its place. After a grant it tells that the attempt is over and the
// request waits again: a shutdown does not wait for it.
func (f *follower) queued(ev *scheduler.CallEvent) {
	if !f.x.rec.granted.IsZero() {
		f.calm()
		f.ctx, f.x.rec.granted = f.patient, time.Time{}
	}
	if ev.Position > 0 && f.x.place == "" {
		f.x.place = strconv.Itoa(ev.Position)
	}
	if f.x.teller != nil {
		f.x.teller.hear(ev)
	}
}

// granted ends the wait in the queue: from here on a shutdown waits for it.
func (f *follower) granted(at time.Time) {
	x := f.x
	if !x.rec.granted.IsZero() {
		return
	}
	f.hush()
	if x.rec.granted = at; at.IsZero() {
		x.rec.granted = time.Now()
	}
	f.ctx = x.r.Context()
	f.calm()
	if x.rec.status == 0 {
		x.place = cmp.Or(x.place, "0") // it found nobody before it
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
	if r.outcome == scheduler.Completed && f.x.route.Endpoint.Generates() {
		f.x.paced(e.Usage)
		f.x.s.outputs.Learn(r.userKey, f.x.req.Sequences, e.Usage)
	}
}

// meter measures a stream as its client sees it.
type meter struct {
	m      streamMetrics
	last   time.Time // of the content event before
	tokens int       // as many as there were content events
}

// content takes a piece with so many content events.
func (m *meter) content(r *record, n int, now time.Time) {
	m.tokens += n
	if m.last.IsZero() {
		r.first = now
		m.m.firstToken.Observe(now.Sub(r.started).Seconds())
	} else {
		m.m.interToken.Observe(now.Sub(m.last).Seconds())
	}
	m.last = now
}
