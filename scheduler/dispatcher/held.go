package dispatcher

import (
	"log/slog"
	"slices"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/turn"
)

const (
	leastHold = 10 * time.Second // a head is held for longer before it is refused
	// servicesKept is how many service times are remembered, and fewServices how
	// many are needed to say anything about the longest of a hundred.
	servicesKept, fewServices = 512, 20
)

// blocked is a head that did not fit, and for what it waits. One sequence that
// waits for one slot is not held: that is the queue.
type blocked struct {
	it  *item
	why string
}

func blockedBy(head turn.Owner, v capacity.Verdict) blocked {
	it, ok := head.(*item)
	switch {
	case !ok:
		return blocked{}
	case v == capacity.NoKV:
		return blocked{it, heldByKV}
	case v == capacity.NoSlot && it.sequences() > 1:
		return blocked{it, heldBySlots}
	default:
		return blocked{}
	}
}

// For what a head is held.
const heldByKV, heldBySlots = "kv", "slots"

// held is the head for which capacity is kept free.
type held struct {
	blocked
	since time.Time
	until time.Time // to which it was counted
}

// note counts for how long a head is held.
func (h *held) note(l *leader, now time.Time, b blocked) {
	if h.it != nil {
		l.cfg.Metrics.held(l.cfg.Pool, h.why, now.Sub(h.until))
	}
	if h.it != b.it {
		h.since = now
	}
	h.blocked, h.until = b, now
}

// endHold refuses a head that was held for twice as long as all but one of a
// hundred requests run: what it waits for does not come.
func (l *leader) endHold(now time.Time) {
	it := l.held.it
	if it == nil || !it.waits() || now.Sub(l.held.since) <= leastHold {
		return
	}
	p99, known := l.service.p99()
	took := now.Sub(l.held.since)
	if !known || took <= 2*p99 {
		return
	}
	l.cfg.Logger.Warn("a request was at the head of the queue for too long without fitting and is refused",
		slog.String("pool", l.cfg.Pool), slog.String("call_id", it.entry.ID), slog.String("user_key", it.entry.User), slog.String("waits_for", l.held.why),
		slog.Int("sequences", it.sequences()), slog.Int("input_tokens", it.entry.InputTokens), slog.Duration("held", took))
	l.endQueued(it, l.refusal(it, scheduler.CodeOverloaded, scheduler.ReasonHold,
		"the model server had no room for this request for "+scheduler.Words(took)))
	l.held = held{}
}

// serviceTimes are those of the requests that were completed last.
type serviceTimes struct {
	times []time.Duration
	next  int
}

func (s *serviceTimes) add(d time.Duration) {
	if len(s.times) < servicesKept {
		s.times = append(s.times, d)
		return
	}
	s.times[s.next] = d
	s.next = (s.next + 1) % servicesKept
}

// p99 is the time within which 99 of 100 are served; false: too few were.
func (s *serviceTimes) p99() (time.Duration, bool) {
	if len(s.times) < fewServices {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(s.times))
	return sorted[len(sorted)*99/100], true
}
