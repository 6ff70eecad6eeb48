package dispatcher

import (
	"time"

	"fairlane/scheduler"
)

// tombstones are the ids of requests that are over, or cancelled before they came.
type tombstones struct {
	keep time.Duration
	ids  map[string]tombstone
	fifo []buried
}

// tombstone is what is still known of a request that is over.
type tombstone struct {
	at    time.Time
	ended scheduler.Fence   // of the newest attempt whose end was told
	paid  *scheduler.Usage  // for an attempt that may still run
	told  *scheduler.Notice // how we ended it, if we did
}

type buried struct {
	id string
	at time.Time
}

func newTombstones(keep time.Duration) tombstones {
	return tombstones{keep: keep, ids: map[string]tombstone{}}
}

// add lets an id be remembered from now on. What is known of it already stays.
func (t *tombstones) add(id string, x tombstone) {
	old := t.ids[id]
	if !x.ended.Newer(old.ended) {
		x.ended = old.ended
	}
	if x.paid == nil {
		x.paid = old.paid
	}
	if x.told == nil {
		x.told = old.told
	}
	t.ids[id] = x
	t.fifo = append(t.fifo, buried{id, x.at})
}

func (t *tombstones) has(id string) bool { _, ok := t.ids[id]; return ok }

func (t *tombstones) sweep(now time.Time) {
	n := 0
	for n < len(t.fifo) && now.Sub(t.fifo[n].at) > t.keep {
		if b := t.fifo[n]; t.ids[b.id].at.Equal(b.at) { // else it was added anew
			delete(t.ids, b.id)
		}
		t.fifo[n] = buried{}
		n++
	}
	t.fifo = t.fifo[n:]
}
