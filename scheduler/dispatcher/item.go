package dispatcher

import (
	"sync/atomic"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/fairqueue"
)

// item is one request while the leader owns it.
type item struct {
	req   fairqueue.Request
	entry *scheduler.Entry // nil: it is over
	seq   uint64           // in the stream; 0: adopted without an entry

	run          *attempt // nil while it waits
	expiry       int      // index in the heap of deadlines while it waits
	older, newer *item    // in its class's line while it waits

	ended scheduler.Fence // of the newest attempt whose end was told
	told  bool            // how long it waited was observed
	left  bool            // its client did while it was in flight
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
	taken     atomic.Bool // the worker said so
	adopted   bool
	sent      bool
	first     bool
	generated int
	delivered fairqueue.Cost // that was counted
}

func (it *item) queued() bool { return it.run == nil }

// waits reports whether the item is in the queue, as opposed to granted or over.
func (it *item) waits() bool { return it.run == nil && it.entry != nil }

func (it *item) sequences() int { return max(it.entry.Sequences, 1) }

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
		t.fifo[n] = tombstone{}
		n++
	}
	t.fifo = t.fifo[n:]
}

// mostNames bounds how many strings are kept to be shared.
const mostNames = 8192

// names lets entries share their strings: a stream gives each entry its own copy
// of the names of pool, class, user and model, which are most of its size.
type names map[string]string

func (n names) share(s *string) {
	if *s == "" {
		return
	}
	if known, ok := n[*s]; ok {
		*s = known
		return
	}
	if len(n) >= mostNames {
		clear(n)
	}
	n[*s] = *s
}

func (n names) entry(e *scheduler.Entry) {
	for _, s := range [...]*string{&e.Proxy, (*string)(&e.Mode), &e.Pool, &e.Model, &e.Endpoint, &e.Path, &e.Class, &e.Group, &e.User} {
		n.share(s)
	}
}
