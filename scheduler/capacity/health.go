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
// doubles the time, up to half a minute.
func (b *Backend) Fault(now time.Time) {
	k := &b.breaker
	if k.tripped && k.open.covers(now) {
		return // sent before it opened
	}
	k.faults++
	if !k.tripped && k.faults < faultsToTrip {
		return
	}
	k.tripped = true
	k.pause = min(max(2*k.pause, shortestPause), longestPause)
	k.open = shut(now, k.pause)
}

// Success tells that a request was answered to its end. It closes a breaker
// that waits for its probe, and widens a backend that is filled anew.
func (b *Backend) Success(now time.Time) {
	b.pause = 0
	k := &b.breaker
	switch {
	case k.tripped && k.open.covers(now): // sent before it opened
	case k.tripped:
		b.breaker = breaker{}
		b.ramp = firstRamp
	default:
		k.faults = 0
		b.widen(b.ramp)
	}
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

// takes says whether the backend takes requests at all now.
func (b *Backend) takes(now time.Time) Verdict {
	k := &b.breaker
	switch {
	case !b.up || b.draining:
		return NoBackend
	case k.tripped && (k.open.covers(now) || k.probe != nil):
		return NoBackend
	case b.busy.covers(now):
		return Gate
	default:
		return Fits
	}
}
