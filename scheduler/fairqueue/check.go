package fairqueue

import (
	"errors"
	"fmt"
)

// Check tells the first of the tree's invariants that does not hold, nil if all
// do. It looks at everything.
func (q *Queue) Check() error {
	if err := q.checkTiers(); err != nil {
		return err
	}
	running := map[*user]int{}
	for key, u := range q.users {
		if u.key != key || len(u.flows) == 0 {
			return fmt.Errorf("user %q: known as %q with %d flows", u.key, key, len(u.flows))
		}
		for _, f := range u.flows {
			if f.in.children[f.key] != &f.node {
				return fmt.Errorf("user %q: a flow of it was forgotten", key)
			}
			running[u] += f.flying
		}
		if u.running < running[u] || (running[u] == 0) != (u.running == 0) {
			return fmt.Errorf("user %q: %d sequences of %d requests run", key, u.running, running[u])
		}
	}
	return nil
}

func (q *Queue) checkTiers() error {
	waiting := 0
	for _, l := range q.tops {
		if err := l.check(); err != nil {
			return err
		}
		waiting += l.waiting
	}
	if waiting != q.waiting {
		return fmt.Errorf("%d wait, counted %d", waiting, q.waiting)
	}
	return nil
}

func (l *level) check() error {
	var active weight
	var waiting, flying, busy int
	var estimate Cost
	for key, n := range l.children {
		if n.key != key || n.in != l {
			return fmt.Errorf("node %q: not at home", n.key)
		}
		if err := n.check(); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if n.busy() {
			active += n.weight
			busy++
		}
		waiting, flying, estimate = waiting+n.waiting, flying+n.flying, estimate+n.estimate
	}
	switch o := l.owner; {
	case active != l.active || busy != l.busy || waiting != l.waiting || estimate != l.estimate:
		return fmt.Errorf("sums: weight %d, waiting %d, estimate %d; want %d, %d, %d", l.active, l.waiting, l.estimate, active, waiting, estimate)
	case o != nil && (o.waiting != waiting || o.flying != flying || o.estimate != estimate):
		return errors.New("sums differ from the parent's")
	}
	return errors.Join(l.ready.check(), l.resting.check())
}

func (h *nodes) check() error {
	for i := range h.e {
		e := &h.e[i]
		if e.n.index != i || e.v != e.n.v || e.n.standing == ready && e.act != e.n.act {
			return fmt.Errorf("node %q: stale in a heap", e.n.key)
		}
		if i > 0 && e.before(&h.e[(i-1)/arity]) {
			return fmt.Errorf("node %q: out of order", e.n.key)
		}
	}
	return nil
}

func (n *node) check() error {
	if n.v < n.floor {
		return fmt.Errorf("a V of %d below the floor %d", n.v, n.floor)
	}
	if n.mayStart() != (n.standing == ready) {
		return fmt.Errorf("may start: %t, standing %d", n.mayStart(), n.standing)
	}
	if n.busy() && n.standing == resting {
		return errors.New("busy, yet resting")
	}
	if n.up() == nil {
		if err := n.line.check(n); err != nil {
			return err
		}
	}
	if n.below != nil {
		return n.below.check()
	}
	return n.flow.check()
}

func (f *flow) check() error {
	if f.root.size() != f.waiting || f.root.total() != f.estimate {
		return fmt.Errorf("%d requests of %d wait; counted %d of %d", f.root.size(), f.root.total(), f.waiting, f.estimate)
	}
	if f.head != f.root.first() {
		return errors.New("the head is not the first")
	}
	var last *Request
	var err error
	f.root.each(func(r *Request) {
		if r.flow != f || r.flight != nil || last != nil && !last.precedes(r) {
			err = fmt.Errorf("request %q: out of order", r.ID)
		}
		if r.left.size()+r.right.size()+1 != r.count || r.left.total()+r.right.total()+r.Estimate != r.sum {
			err = fmt.Errorf("request %q: wrong sums", r.ID)
		}
		last = r
	})
	return err
}

func (l *line) check(n *node) error {
	count := 0
	for r, last := l.front, (*Request)(nil); r != nil; last, r = r, r.newer {
		if count++; r.older != last || !r.Queued() || r.flow.top() != n {
			return fmt.Errorf("request %q: out of line", r.ID)
		}
	}
	if count != n.waiting {
		return fmt.Errorf("%d in line, %d wait", count, n.waiting)
	}
	return nil
}
