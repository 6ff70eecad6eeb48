package capacity

import "time"

// reserveFor is how long a head that stays blocked keeps the backend that was
// reserved for it, so that the choice does not waver between two that drain.
const reserveFor = time.Second

// ask is a demand on its way through Fit.
type ask struct {
	Demand
	shared int    // what its prefix group is known to share, in tokens
	home   string // URL of the backend that had its conversation last
	pass   bool   // it would pass a blocked head
}

func (p *Pool) ask(d Demand, pass bool) ask {
	a := ask{Demand: d, pass: pass}
	if d.Group != 0 {
		a.shared = int(p.shared[d.Group])
	}
	if d.Chat != "" && !p.anywhere {
		a.home = p.homes.of(d.Chat)
	}
	return a
}

// blockedHead is the head of the queue while it does not fit.
type blockedHead struct {
	slotAt    time.Time // when it last lacked a slot everywhere
	refusedAt time.Time // when the slots that were free were last kept for others
	keptAt    time.Time // when its backend was last kept for it
	blocked   bool      // the last head did
	backend   *Backend  // reserved for it
	sequences int
	idle      bool // it needs the backend idle
}

func (h *blockedHead) reserves(b *Backend) bool { return h.blocked && h.backend == b }

// Fit finds the backend on which a request starts, or says why there is none.
// head tells that it is its turn; otherwise it would pass a head that Fit has
// answered with NoKV. Among the backends on which it fits it prefers those that
// have not just failed it, then the one that had its conversation last, then one
// where its prefix group runs, then the least KV held, then the fewest sequences. It does not allocate.
func (p *Pool) Fit(now time.Time, d Demand, head bool) (*Backend, Verdict) {
	d = d.clamped()
	if p.maxSlots > 0 && d.Sequences > p.maxSlots || !everHolds(p.maxKV, &d) {
		return nil, Never
	}
	a := p.ask(d, !head)
	var best *Backend
	worst := NoBackend
	for _, b := range p.backends {
		v := b.verdict(now, &a)
		if v == Fits && (best == nil || b.better(best, &a)) {
			best = b
		}
		worst = max(worst, v)
	}
	if head {
		p.remember(now, &a, worst, best)
	}
	return best, worst
}

// better reports whether b is preferred to c, both of which fit.
func (b *Backend) better(c *Backend, a *ask) bool {
	if x, y := b.url == a.Avoid, c.url == a.Avoid; x != y {
		return y
	}
	if x, y := b.matches(a), c.matches(a); x != y {
		return x > y
	}
	if x, y := b.rho*float64(b.ledger.held), c.rho*float64(c.ledger.held); x != y {
		return x < y
	}
	return b.running < c.running
}

// matches ranks what the prefix cache holds of a request: its conversation, what
// its group shares, or nothing.
func (b *Backend) matches(a *ask) int {
	switch {
	case b.pool.anywhere:
		return 0
	case a.home == b.url:
		return 2
	case b.runs(a.Group):
		return 1
	default:
		return 0
	}
}

func (b *Backend) runs(group uint64) bool {
	if group == 0 || len(b.ledger.groups) == 0 {
		return false
	}
	_, ok := b.ledger.groups[group]
	return ok
}

// verdict says whether a request fits on this backend.
func (b *Backend) verdict(now time.Time, a *ask) Verdict {
	if v := b.takes(now, a.Faulted); v != Fits {
		return v
	}
	if !everHolds(b.kvTokens, &a.Demand) {
		return Never
	}
	reserved := a.pass && b.pool.head.reserves(b)
	if b.running == 0 && !reserved {
		return Fits
	}
	if v := b.hasSlots(a, reserved); v != Fits {
		return v
	}
	own, group := b.needs(a)
	if !b.hasKV(own, group, reserved) {
		return NoKV
	}
	if !b.prefill.open(now, a.uncached()) {
		return Gate
	}
	return Fits
}

// hasSlots says whether the slots suffice. On a reserved backend those that the
// head needs are left free.
func (b *Backend) hasSlots(a *ask, reserved bool) Verdict {
	kept := 0
	if reserved {
		if b.pool.head.idle {
			return NoSlot
		}
		kept = b.pool.head.sequences
	}
	switch {
	case b.alone > 0:
		return NoSlot
	case a.Alone || a.Sequences > b.slots:
		return NoKV
	case b.running+a.Sequences+kept > b.limit():
		return NoSlot
	default:
		return Fits
	}
}

// Refused notes that somebody found the free slots kept for others. That counts as
// a head without a slot while nobody knows where a backend's slots end: else those
// that are kept would be all that is ever learned.
func (p *Pool) Refused(now time.Time) { p.head.refusedAt = now }

// remember notes how it went for the head.
func (p *Pool) remember(now time.Time, a *ask, v Verdict, at *Backend) {
	h := &p.head
	h.blocked = v == NoKV
	if !within(now, h.keptAt, reserveFor) {
		h.backend = nil
	}
	if v != Fits {
		h.keptAt = now
	}
	switch v {
	case NoSlot:
		h.slotAt = now
	case NoKV:
		p.lacked(now, a)
		p.reserve(now, a)
	case Fits:
		if own, _ := at.needs(a); at == h.backend && at.isLarge(own) {
			h.backend = nil // most likely what it was reserved for
		}
	case Gate, NoBackend, Never:
	}
}

// lacked notes on which backends it is KV alone that the head lacks.
func (p *Pool) lacked(now time.Time, a *ask) {
	for _, b := range p.backends {
		if !b.mayServe(now, a) || b.running == 0 || b.hasSlots(a, false) != Fits {
			continue
		}
		if own, group := b.needs(a); !b.hasKV(own, group, false) {
			b.control.blocked = now
		}
	}
}

// reserve keeps the backend that is expected to be free first for the head.
func (p *Pool) reserve(now time.Time, a *ask) {
	h := &p.head
	if h.backend != nil && !h.backend.mayServe(now, a) {
		h.backend = nil
	}
	if h.backend == nil {
		soonest := 0.0
		for _, b := range p.backends {
			if !b.mayServe(now, a) {
				continue
			}
			if w := b.wait(a); h.backend == nil || w < soonest {
				h.backend, soonest = b, w
			}
		}
	}
	h.sequences = a.Sequences
	h.idle = h.backend.needsIdle(a)
}

func (b *Backend) mayServe(now time.Time, a *ask) bool {
	return b.takes(now, a.Faulted) == Fits && everHolds(b.kvTokens, &a.Demand)
}

// needsIdle reports whether a request can only start when nothing else runs.
func (b *Backend) needsIdle(a *ask) bool {
	if a.Alone || a.Sequences > b.slots {
		return true
	}
	own, group := b.needs(a)
	budget := b.budget()
	return budget > 0 && float64(own+group) > budget*(1-slackPart)
}

// wait is how long a request that does not fit is expected to wait for this
// backend, in tokens that each of its sequences has to generate until then: the
// part of what runs that has to end, times what one has left on average.
func (b *Backend) wait(a *ask) float64 {
	part := 1.0
	if b.alone == 0 && !b.needsIdle(a) {
		own, group := b.needs(a)
		slots := float64(b.running+a.Sequences-b.limit()) / float64(max(b.running, 1))
		part = slots
		if budget := b.budget(); budget > 0 {
			part = max(part, (float64(b.ledger.held+own+group)-budget)/float64(max(b.ledger.held, 1)))
		}
	}
	return min(max(part, 0), 1) * float64(b.ledger.left) / float64(max(b.running, 1))
}

// within reports whether at lies at most d before now; false after a clock
// stepped back, and for no time at all.
func within(now, at time.Time, d time.Duration) bool {
	past := now.Sub(at)
	return !at.IsZero() && past >= 0 && past <= d
}
