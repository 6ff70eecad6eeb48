package dispatcher

import (
	"sync/atomic"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
	"fairlane/scheduler/turn"
)

// item is one request while the leader owns it.
type item struct {
	req   fairqueue.Request
	entry *scheduler.Entry // nil: it is over
	seq   uint64           // in the stream; 0: adopted without an entry

	run          *attempt // nil while it waits; its Run is the decider's
	expiry       int      // index in the heap of deadlines while it waits
	older, newer *item    // in its class's line while it waits

	ended scheduler.Fence // of the newest attempt whose end was told
	told  bool            // how long it waited was observed
	left  bool            // its client did while it was in flight
	trail *trail          // nil: nothing is told of it
}

// attempt is one grant of an item.
type attempt struct {
	turn.Run
	fence  scheduler.Fence
	number uint64 // among the grants to the worker
	worker *workerState
	taken  atomic.Bool // the worker said so
	sent   bool
	paid   *scheduler.Usage // when its worker was taken for dead
}

// Entry implements turn.Owner.
func (it *item) Entry() *scheduler.Entry { return it.entry }

func (it *item) queued() bool { return it.run == nil }

// waits reports whether the item is in the queue, as opposed to granted or over.
func (it *item) waits() bool { return it.run == nil && it.entry != nil }

func (it *item) sequences() int { return max(it.entry.Sequences, 1) }

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
