package simulate

import "time"

// kind is what an event is.
type kind int8

const (
	arrives kind = iota // a request of a source
	enters              // a request reaches an engine
	steps               // a step of an engine ends
	quarter             // answers are charged for what they generated
	second              // metrics are seen
	wakes               // something that only time opens may be open
	leaves              // somebody's patience is over
)

// event is something that happens at a moment.
type event struct {
	at    time.Duration
	order uint64 // among those of one moment
	kind  kind
	who   int // index of the source or machine, or a ticket
}

func (e *event) before(o *event) bool {
	if e.at != o.at {
		return e.at < o.at
	}
	return e.order < o.order
}

// agenda is a heap of events.
type agenda struct {
	heap  []event
	count uint64
}

func (a *agenda) add(at time.Duration, k kind, who int) {
	a.count++
	a.heap = append(a.heap, event{at, a.count, k, who})
	h := a.heap
	for i := len(h) - 1; i > 0; {
		p := (i - 1) / 2
		if !h[i].before(&h[p]) {
			return
		}
		h[i], h[p] = h[p], h[i]
		i = p
	}
}

func (a *agenda) next() event {
	h := a.heap
	e, last := h[0], len(h)-1
	h[0] = h[last]
	h = h[:last]
	a.heap = h
	for i := 0; ; {
		c := 2*i + 1
		if c >= last {
			return e
		}
		if c+1 < last && h[c+1].before(&h[c]) {
			c++
		}
		if !h[c].before(&h[i]) {
			return e
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}

// first is the moment of the next event.
func (a *agenda) first() time.Duration { return a.heap[0].at }
