package dispatcher

import (
	"cmp"
	"slices"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/turn"
)

const (
	// spansKept are those that are told as such, each at least leastSpan long: what
	// is shorter only counts.
	spansKept = 256
	leastSpan = 20 * time.Millisecond
	mostSpans = 6 // that one receipt lists
)

// obstacle is what may keep heads from starting, as an index.
type obstacle int

// The obstacles; nothing is the first.
const (
	nothing obstacle = iota
	noSlots
	noKV
	prefill
	headroom
	noBackend
	maxRunning // of one user: not of the pool
	obstacles
)

func (o obstacle) name() string {
	return [obstacles]string{
		"", scheduler.BlockedSlots, scheduler.BlockedKV, scheduler.BlockedPrefill, scheduler.BlockedHeadroom,
		scheduler.BlockedNoBackend, scheduler.BlockedMaxRunning,
	}[o]
}

// obstacleOf is what the last question found.
func obstacleOf(t *turn.Turn) obstacle {
	switch {
	case t.Blocked == nil && t.Kept:
		return headroom
	case t.Blocked == nil:
		return nothing
	}
	switch t.Why {
	case capacity.NoSlot:
		return noSlots
	case capacity.NoKV:
		return noKV
	case capacity.Gate:
		return prefill
	case capacity.NoBackend:
		return noBackend
	default:
		return nothing
	}
}

// durations are times by obstacle.
type durations [obstacles]time.Duration

// list is what of them is worth to be told, the longest first.
func (d *durations) list() []scheduler.BlockedTime {
	var out []scheduler.BlockedTime
	for o, t := range d {
		if obstacle(o) != nothing && t >= time.Millisecond {
			out = append(out, scheduler.BlockedTime{By: obstacle(o).name(), MS: float64(t.Milliseconds())})
		}
	}
	slices.SortStableFunc(out, func(a, b scheduler.BlockedTime) int { return cmp.Compare(b.MS, a.MS) })
	return out
}

// blocks is what kept the pool's heads from starting, and when. Sums are exact, so
// that what one request met is a difference of two looks.
type blocks struct {
	by    obstacle
	since time.Time
	sums  durations
	spans []span // a ring of the last ones
	next  int
}

type span struct {
	by       obstacle
	from, to time.Time
}

// note says what keeps the heads from starting from now on.
func (b *blocks) note(now time.Time, by obstacle) {
	if by == b.by {
		return
	}
	b.sums[b.by] += now.Sub(b.since)
	if s := (span{b.by, b.since, now}); b.by != nothing && now.Sub(b.since) >= leastSpan {
		if len(b.spans) < spansKept {
			b.spans = append(b.spans, s)
		} else {
			b.spans[b.next] = s
			b.next = (b.next + 1) % spansKept
		}
	}
	b.by, b.since = by, now
}

// look is how much there was of each until now.
func (b *blocks) look(now time.Time) durations {
	d := b.sums
	d[b.by] += now.Sub(b.since)
	return d
}

// within lists the longest spans between two times, in order.
func (b *blocks) within(from, to time.Time) []span {
	var out []span
	for _, s := range append(slices.Clone(b.spans), span{b.by, b.since, to}) {
		s.from, s.to = later(s.from, from), earlier(s.to, to)
		if s.by != nothing && s.to.Sub(s.from) >= leastSpan {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b span) int { return cmp.Compare(b.to.Sub(b.from), a.to.Sub(a.from)) })
	out = out[:min(len(out), mostSpans)]
	slices.SortFunc(out, func(a, b span) int { return a.from.Compare(b.from) })
	return out
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// own is one user who may run only so much at once.
type own struct {
	running int // sequences
	waiting int // requests
	full    time.Duration
	since   time.Time // the user waits for that alone; zero: not now
}

// note counts, and says whether max_running is in the way from now on.
func (o *own) note(now time.Time, most, running, waiting int) {
	o.running += running
	o.waiting += waiting
	full := o.waiting > 0 && o.running >= most
	switch {
	case full && o.since.IsZero():
		o.since = now
	case !full && !o.since.IsZero():
		o.full += now.Sub(o.since)
		o.since = time.Time{}
	}
}

func (o *own) look(now time.Time) time.Duration {
	if o.since.IsZero() {
		return o.full
	}
	return o.full + now.Sub(o.since)
}
