package calls

import "fairlane/scheduler"

// maxPiece bounds what is put together for a client that reads slowly, in bytes.
const maxPiece = 32 << 10

// events are what a client's goroutine has not taken yet, in order.
type events struct {
	items []scheduler.CallEvent
	taken int // of items, from the front
}

func (e *events) push(ev scheduler.CallEvent) { e.items = append(e.items, ev) }

func (e *events) pop() (scheduler.CallEvent, bool) {
	if e.taken == len(e.items) {
		return scheduler.CallEvent{}, false
	}
	ev := e.items[e.taken]
	e.items[e.taken] = scheduler.CallEvent{}
	if e.taken++; e.taken == len(e.items) {
		e.items, e.taken = e.items[:0], 0
	}
	return ev, true
}

// last is the newest that was not taken; nil: there is none.
func (e *events) last() *scheduler.CallEvent {
	if e.taken == len(e.items) {
		return nil
	}
	return &e.items[len(e.items)-1]
}
