package capacity

import (
	"slices"
	"time"
)

const (
	gapsKept = 32   // measured, of which the median counts
	paceCut  = 0.95 // of what runs, when tokens come too slowly
)

// pacer takes slots back while the median time between tokens is over the
// pool's target. It is measured on streams, from one progress to the next: that
// is every 32 tokens or 250 ms, so one gap is an average of several tokens.
type pacer struct {
	slots int // that may be used; 0: all
	gaps  [gapsKept]time.Duration
	n     int
	grown time.Time
}

// tick measures the time between tokens since the last progress.
func (h *Hold) tick(now time.Time, generated int) {
	b := h.backend
	if b.pool.itl == 0 || !h.stream {
		return
	}
	more, took := generated-h.generated, now.Sub(h.told)
	known := !h.told.IsZero()
	if more > 0 || !known {
		h.told = now
	}
	if known && more > 0 && took > 0 {
		b.pace.add(now, b, took/time.Duration(more))
	}
}

// add takes one measurement, and decides when there are enough.
func (p *pacer) add(now time.Time, b *Backend, gap time.Duration) {
	p.gaps[p.n] = gap
	if p.n++; p.n < gapsKept {
		return
	}
	p.n = 0
	slices.Sort(p.gaps[:])
	switch {
	case p.gaps[gapsKept/2] > b.pool.itl:
		// Of what runs, not of the slots: asked again before anything ended it
		// answers the same.
		p.slots, p.grown = max(int(paceCut*float64(b.running)), 1), now
	case p.slots == 0 || within(now, p.grown, b.control.service()):
	case b.running < p.slots: // who uses fewer shows nothing of more
	case p.slots+1 >= b.slots:
		p.slots = 0
	default:
		p.slots, p.grown = p.slots+1, now
	}
}
