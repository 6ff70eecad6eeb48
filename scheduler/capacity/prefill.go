package capacity

import "time"

const (
	firstRate  = 8192.0 // tokens a second, before any was measured
	leastRate  = 2048.0 // vLLM's smallest budget of a step: less is no bound, only a delay
	mostRate   = 1e7
	leastProbe = 1024 // tokens; the first token of a shorter prefill tells of overhead, not of rate
	rateWeight = 0.25 // of a new measurement
)

// prefill is the gate that keeps long prompts from delaying everybody's next
// token: what waits for its first token is at most a second's work.
type prefill struct {
	rate    float64 // tokens a second
	pending int     // uncached tokens sent whose first token has not come
	// The row of those that do not stream, in the order in which they came: they
	// leave when their prefill is expected to be over.
	first, last *Hold
}

func (p *prefill) add(h *Hold, uncached int) {
	h.uncached = uncached
	p.pending += uncached
	h.ahead = p.pending
	if h.stream {
		return
	}
	h.leave = shut(h.taken, time.Duration(float64(h.ahead)/p.rate*float64(time.Second)))
	if p.last == nil {
		p.first, p.last = h, h
		return
	}
	p.last.next = h
	p.last = h
}

// done takes a hold out of the gate; a second time it does nothing.
func (p *prefill) done(h *Hold) {
	if h.prefilled {
		return
	}
	h.prefilled = true
	p.pending -= h.uncached
}

// sweep lets those out of the gate whose prefill must be over.
func (p *prefill) sweep(now time.Time) {
	for h := p.first; h != nil && (h.prefilled || !h.leave.covers(now)); h = p.first {
		if !h.prefilled {
			p.done(h)
			h.recount(&h.backend.ledger)
		}
		p.first, h.next = h.next, nil
	}
	if p.first == nil {
		p.last = nil
	}
}

// open reports whether a request of so many uncached tokens may start. One
// always may.
func (p *prefill) open(now time.Time, uncached int) bool {
	p.sweep(now)
	return p.pending == 0 || float64(p.pending+uncached) <= p.rate
}

// next is when the gate opens by itself.
func (p *prefill) next() window {
	if p.first == nil {
		return window{}
	}
	return p.first.leave
}

// measure takes the time to a stream's first token. Prefills are served in
// order, so it is the time of all that was pending when the stream came.
func (p *prefill) measure(h *Hold, took time.Duration) {
	if h.ahead < leastProbe || took <= 0 {
		return
	}
	rate := min(max(float64(h.ahead)/took.Seconds(), leastRate), mostRate)
	p.rate += rateWeight * (rate - p.rate)
}
