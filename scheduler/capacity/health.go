package capacity

import "time"

const (
	shortestBusy = 5 * time.Millisecond
	longestBusy  = 200 * time.Millisecond

	faultsToTrip  = 5 // in a row
	shortestPause = time.Second
	longestPause  = 30 * time.Second

	firstRamp = 2 // sequences that a backend gets when it has returned
)

// breaker stops requests to a backend that fails them, although it says that it
// is healthy.
type breaker struct {
	faults  int // in a row
	tripped bool
	open    window // nothing passes; after it, one probe at a time
	late    window // nor does what has faulted already, unless nobody else comes
	pause   time.Duration
	probe   *Hold
}

// Up tells that the backend is healthy. One that returns is filled step by step.
func (b *Backend) Up(time.Time) {
	if b.up {
		return
	}
	b.up = true
	if b.met {
		b.ramp = firstRamp
	}
	b.met = true
}

// Down tells that the backend is not healthy. What it runs is released by its
// owners. Health tells more than failures did, so the breaker is closed.
func (b *Backend) Down(time.Time) {
	b.up = false
	b.control.restarted()
	b.breaker = breaker{}
	b.busy, b.pause = window{}, 0
}

// Busy tells that the backend refused a request because its own queue is full:
// it gets nothing for 5 ms, doubling to 200 ms until a success. Refusals of what
// was sent before the back-off count once.
func (b *Backend) Busy(now time.Time) {
	if b.busy.covers(now) {
		return
	}
	b.pause = min(max(2*b.pause, shortestBusy), longestBusy)
	b.busy = shut(now, b.pause)
}

// Fault tells that an attempt failed on the backend. After several in a row it
// gets nothing for a second; then one request probes it, and each that fails
// doubles the time, up to half a minute. tripped tells that this one was the
// last in the row.
func (b *Backend) Fault(now time.Time) (tripped bool) {
	k := &b.breaker
	if k.tripped && k.open.covers(now) {
		return false // sent before it opened
	}
	k.faults++
	if !k.tripped && k.faults < faultsToTrip {
		return false
	}
	tripped = !k.tripped
	k.tripped = true
	k.pause = min(max(2*k.pause, shortestPause), longestPause)
	k.open, k.late = shut(now, k.pause), shut(now, 2*k.pause)
	return tripped
}

// Success tells that a request was answered to its end. It does what Answered
// does, ends the back-off, and widens a backend that is filled anew.
func (b *Backend) Success(now time.Time) (closed bool) {
	b.pause = 0
	if closed = b.Answered(now); !closed {
		b.widen(b.ramp)
	}
	return closed
}

// Answered tells that the backend answered a request, be it with an error of its
// own: it is alive, and the error is the request's until others meet it. It ends
// a row of faults. closed tells that a breaker was open until now.
func (b *Backend) Answered(time.Time) (closed bool) {
	closed = b.breaker.tripped
	b.breaker = breaker{}
	if closed {
		b.ramp = firstRamp
	}
	return closed
}

// widen lets more sequences onto a backend that is filled anew.
func (b *Backend) widen(more int) {
	if b.ramp == 0 {
		return
	}
	if b.ramp += more; b.ramp >= b.slots {
		b.ramp = 0
	}
}

// takes says whether the backend takes requests at all now. What has faulted
// already is no good probe: it may be what is at fault. But it is better than
// none for ever.
func (b *Backend) takes(now time.Time, faulted bool) Verdict {
	k := &b.breaker
	switch {
	case !b.up || b.draining:
		return NoBackend
	case k.tripped && (k.open.covers(now) || k.probe != nil || faulted && k.late.covers(now)):
		return NoBackend
	case b.busy.covers(now):
		return Gate
	default:
		return Fits
	}
}
