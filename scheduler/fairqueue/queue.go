package fairqueue

import (
	"fmt"
	"slices"
)

// Config of a Queue.
type Config struct {
	// Depth is the number of levels: 1 (user), 2 (class, user) or 3 (class,
	// group, user).
	Depth int
	// Floors are those of tiers: the part of what is served that all below a tier
	// are left while both have work, 0 to less than 1. One tier, the last, needs none.
	Floors []float64
}

// Step is one level on the way from the root to a user.
type Step struct {
	Key    string
	Weight float64 // share among its siblings, 0.01 to 1000; what lies outside is taken as the bound
}

// User is the person whose running sequences are counted, over all leaves.
type User struct {
	Key        string
	MaxRunning int // sequences that may run at once with this request; 0: no bound
}

// Queue is a tree of fair queues. It is not safe for concurrent use: one
// goroutine owns it.
type Queue struct {
	depth   int
	root    level    // of the last tier
	upper   []tier   // those before it
	tops    []*level // of all tiers, by number
	order   []*level // in which they were asked last
	waiting int
	users   map[string]*user
	mean    mean   // of settled costs, for Q
	acts    uint64 // activations so far
	seqs    uint64 // requests so far
	free    *flight
	walks   [maxDepth]walk
	passing passing
}

// New returns an empty queue, or an error for an impossible depth.
func New(cfg Config) (*Queue, error) {
	if cfg.Depth < 1 || cfg.Depth > maxDepth {
		return nil, fmt.Errorf("fairqueue: depth %d, want 1 to %d", cfg.Depth, maxDepth)
	}
	q := &Queue{depth: cfg.Depth, users: map[string]*user{}}
	if err := q.plant(cfg.Floors); err != nil {
		return nil, err
	}
	return q, nil
}

// Len is the number of requests that wait.
func (q *Queue) Len() int { return q.waiting }

// Push lets r wait at the end of path, the child of its tier first and the user last.
// Missing steps are unnamed ones of weight 1. The weight of a class or group that
// came last counts, from the next dispatch; the user's weight and bound are those of
// the request that is the user's next, for a rule may set them for some of them
// only. One path always goes with the same user. A request that the queue knows
// already is left alone.
func (q *Queue) Push(r *Request, path []Step, u User) {
	if r.flow != nil {
		return
	}
	f := q.leaf(r, path, u)
	q.seqs++
	r.seq = q.seqs
	q.join(r, f)
	f.top().line.append(r)
	q.refreshAll(f.user)
}

// Remove takes a request out for good, without any charge: one that waits, or one
// in flight that no backend served. What the latter was charged is refunded; its
// user comes back like any other, for only who waits again has its old place.
func (q *Queue) Remove(r *Request) {
	f := r.flow
	switch {
	case f == nil:
	case r.flight == nil:
		q.part(r)
		r.flow = nil
		q.refresh(&f.node, false)
		q.count(&f.node, -1, 0, -r.Estimate)
	default:
		q.charge(r, 0)
		q.land(r)
		q.count(&f.node, 0, -1, 0)
		q.refreshAll(f.user)
	}
}

// SetWeight changes the weight of the node at path for later dispatches; of a user,
// for all that waits there. A node that is not known gets its weight with the next
// Push.
func (q *Queue) SetWeight(path []string, w float64) {
	for _, l := range q.tops {
		if n := l.find(path); n != nil {
			n.reweigh(weightOf(w))
			if n.flow != nil {
				n.flow.root.each(func(r *Request) { r.weight = n.weight })
			}
		}
	}
}

// Reweigh changes the weight that the user of a waiting request has for it.
func (q *Queue) Reweigh(r *Request, w float64) {
	if !r.Queued() {
		return
	}
	if r.weight = weightOf(w); r.flow.head == r {
		r.flow.reweigh(r.weight)
	}
}

// top are the root's children of a tier.
func (q *Queue) top(tier int) *level { return q.tops[min(max(tier, 0), len(q.upper))] }

func (l *level) find(path []string) *node {
	var n *node
	for _, key := range path {
		if l == nil {
			return nil
		}
		if n = l.children[key]; n == nil {
			return nil
		}
		l = n.below
	}
	return n
}

// leaf finds or makes the flow at the end of path, and tells r what it says of it.
func (q *Queue) leaf(r *Request, path []Step, u User) *flow {
	l := q.top(r.Tier)
	for i := range q.depth {
		step := Step{Weight: 1}
		if i < len(path) {
			step = path[i]
		}
		n := l.children[step.Key]
		if n == nil {
			n = q.grow(l, step.Key, i+1 < q.depth)
		}
		if f := n.flow; f != nil {
			r.weight, r.maxRunning = weightOf(step.Weight), u.MaxRunning
			if f.head == nil {
				f.reweigh(r.weight)
			}
			q.bind(f, u.Key)
			return f
		}
		n.reweigh(weightOf(step.Weight))
		l = n.below
	}
	return nil // not reached: the last level is made of flows
}

// grow adds a child that starts at the clock.
func (q *Queue) grow(l *level, key string, inner bool) *node {
	n := &node{}
	if !inner {
		f := &flow{}
		f.flow = f
		n = &f.node
	}
	n.key, n.in, n.v, n.floor = key, l, l.vnow, l.vnow
	q.acts++
	n.weight, n.act = fraction, q.acts // so that one that only returns, never came back, has its place among equals
	if inner {
		n.below = &level{owner: n, children: map[string]*node{}}
	}
	l.children[key] = n
	return n
}

// bind counts what runs at f for a user.
func (q *Queue) bind(f *flow, key string) {
	if f.user != nil {
		return
	}
	if q.users[key] == nil {
		x := &user{key: key}
		x.flows = x.only[:0]
		q.users[key] = x
	}
	f.user = q.users[key]
	f.user.flows = append(f.user.flows, f)
}

// unbind drops a flow that is forgotten, and the user with the last one.
func (q *Queue) unbind(f *flow) {
	u := f.user
	if u == nil {
		return
	}
	u.flows = slices.DeleteFunc(u.flows, func(o *flow) bool { return o == f })
	if len(u.flows) == 0 {
		delete(q.users, u.key)
	}
}

// join lets r wait in f.
func (q *Queue) join(r *Request, f *flow) {
	r.flow = f
	f.insert(r)
	q.count(&f.node, 1, 0, r.Estimate)
}

// part takes r out of those that wait in its flow.
func (q *Queue) part(r *Request) {
	r.flow.remove(r)
	r.flow.top().line.remove(r)
}

// count keeps the sums on the way from a leaf to the root.
func (q *Queue) count(n *node, waiting, flying int, estimate Cost) {
	q.waiting += waiting
	for ; n != nil; n = n.up() {
		was := n.busy()
		n.waiting += waiting
		n.flying += flying
		n.estimate += estimate
		n.in.waiting += waiting
		n.in.estimate += estimate
		switch {
		case !was && n.busy():
			n.in.wake(n)
		case was && !n.busy():
			n.in.rest(n)
			q.sweep(n.in)
		}
	}
}

// refresh takes a leaf in or out of the ready ones as it may start now, and what
// is above it with it. A restored one keeps its place.
func (q *Queue) refresh(n *node, restored bool) {
	for ; n != nil; n = n.up() {
		may := n.mayStart()
		switch {
		case may == (n.standing == ready):
			return
		case !may:
			n.in.leave(n)
		case restored:
			n.in.restore(n)
		default:
			q.comeBack(n)
		}
	}
}

func (q *Queue) comeBack(n *node) {
	q.acts++
	n.in.comeBack(n, q.mean.span(), q.acts)
}

// refreshAll does it for all leaves of a user.
func (q *Queue) refreshAll(u *user) {
	for _, f := range u.flows {
		q.refresh(&f.node, false)
	}
}

// sweepMost bounds how much is forgotten at once. Each call follows at most one
// that began to rest, so what rests without owing is used up.
const sweepMost = 8

func (q *Queue) sweep(l *level) {
	for range sweepMost {
		n := l.forgettable()
		if n == nil {
			return
		}
		l.forget(n)
		if n.flow != nil {
			q.unbind(n.flow)
		}
	}
}
