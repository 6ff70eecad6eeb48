package capacity

import "time"

// Hold is what one running request occupies of a backend. Its owner calls
// Release at the end, however it ended.
type Hold struct {
	backend   *Backend
	group     uint64 // that it is counted in; 0: none
	shared    int    // what it shares with the group
	sequences int
	block     int
	prompt    int // KV of its own prompts
	expected  int // output of one sequence
	generated int // by one sequence
	stream    bool
	alone     bool
	large     bool
	passed    bool
	prefilled bool
	released  bool

	est, filled, left int // its part in the ledger

	taken    time.Time
	uncached int       // its part in prefill.pending
	ahead    int       // prefill.pending right after it came
	leave    window    // of what does not stream: until its prefill is expected to be over
	next     *Hold     // in the row of those
	told     time.Time // of the last progress, of a stream
}

// FirstToken tells that the request's first token came: its prompt is prefilled.
func (h *Hold) FirstToken(now time.Time) {
	if h.prefilled { // released, too
		return
	}
	b := h.backend
	if h.stream {
		b.prefill.measure(h, now.Sub(h.taken))
	}
	b.prefill.done(h)
	h.recount(&b.ledger)
	b.widen(1)
}

// Progress tells how many tokens all sequences of the request have generated.
func (h *Hold) Progress(now time.Time, generated int) {
	if h.released || generated <= 0 {
		return
	}
	if !h.prefilled {
		h.FirstToken(now)
	}
	h.tick(now, min(generated/h.sequences, mostTokens))
	h.generated = max(h.generated, min(generated/h.sequences, mostTokens))
	h.recount(&h.backend.ledger)
}

// Release gives everything back. completed tells that the request was answered
// to its end. A second Release does nothing.
func (h *Hold) Release(now time.Time, completed bool) {
	if h.released {
		return
	}
	b := h.backend
	if completed {
		b.learner.completed(now, b)
		b.control.served(now.Sub(h.taken))
	}
	h.released = true
	b.prefill.done(h)
	b.prefill.sweep(now)
	b.ledger.move(h, 0, 0, 0)
	b.ledger.leave(h.group)
	b.running -= h.sequences
	if h.alone {
		b.alone--
	}
	if b.breaker.probe == h {
		b.breaker.probe = nil
	}
	if !b.listed && b.running == 0 {
		b.pool.drop(b)
	}
}

// recount brings the hold's part in the ledger up to date.
func (h *Hold) recount(l *ledger) {
	filled := 0
	if h.prefilled {
		filled = h.prompt + h.sequences*blocks(h.block, h.generated)
	}
	l.move(h,
		h.prompt+h.sequences*outputKV(h.block, h.generated, h.expected),
		filled,
		h.sequences*remaining(h.generated, h.expected))
}
