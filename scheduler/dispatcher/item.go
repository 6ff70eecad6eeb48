package dispatcher

import (
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/fairqueue"
)

// item is one request while the leader owns it.
type item struct {
	req   fairqueue.Request
	entry *scheduler.Entry
	seq   uint64 // in the stream; 0: adopted without an entry

	run    *attempt // nil while it waits
	expiry int      // index in the heap of deadlines while it waits

	attempts int    // that failed
	deaths   int    // of backends that had it in flight
	avoid    string // the backend that failed it last
}

// attempt is one grant of an item.
type attempt struct {
	fence     scheduler.Fence
	number    uint64 // among the grants to the worker
	worker    *workerState
	backend   *capacity.Backend
	hold      *capacity.Hold
	input     fairqueue.Input // what the reserve was computed from
	grantedAt time.Time
	sent      bool
	first     bool
	generated int
}

func (it *item) queued() bool { return it.run == nil }

// suspect reports whether it has to run alone.
func (it *item) suspect() bool { return it.deaths > 0 }

// classState counts what waits and runs of a class, for bounds and metrics.
type classState struct {
	queued  int
	running int     // sequences in flight
	tokens  int64   // estimated cost that waits, in thousandths
	byAge   []*item // arrival order; those that do not wait any more are dropped from the front
	charge  int64   // delivered since the last slice of the window
	slices  [shareSlices]int64
	active  [shareSlices]bool // it wanted something in that slice
}

// oldest is the one that waits longest; nil: none does.
func (c *classState) oldest() *item {
	for len(c.byAge) > 0 && !c.byAge[0].waits() {
		c.byAge[0] = nil
		c.byAge = c.byAge[1:]
	}
	if len(c.byAge) == 0 {
		return nil
	}
	return c.byAge[0]
}

// waits reports whether the item is in the queue, as opposed to granted or over.
func (it *item) waits() bool { return it.run == nil && it.entry != nil }

// tombstones are the ids of requests that are over, or cancelled before they came.
type tombstones struct {
	keep time.Duration
	ids  map[string]struct{}
	fifo []tombstone
}

type tombstone struct {
	id string
	at time.Time
}

func newTombstones(keep time.Duration) tombstones {
	return tombstones{keep: keep, ids: map[string]struct{}{}}
}

func (t *tombstones) add(id string, now time.Time) {
	if _, ok := t.ids[id]; ok {
		return
	}
	t.ids[id] = struct{}{}
	t.fifo = append(t.fifo, tombstone{id, now})
}

func (t *tombstones) has(id string) bool { _, ok := t.ids[id]; return ok }

func (t *tombstones) sweep(now time.Time) {
	n := 0
	for n < len(t.fifo) && now.Sub(t.fifo[n].at) > t.keep {
		delete(t.ids, t.fifo[n].id)
		n++
	}
	t.fifo = t.fifo[n:]
}
