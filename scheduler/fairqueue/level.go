package fairqueue

// level is the children of one node and the clocks by which they share.
type level struct {
	owner    *node // nil: the root
	rank     int   // of the root's children: their tier
	children map[string]*node
	ready    nodes  // only children that may be served: see node.mayStart
	resting  nodes  // without work, not yet forgotten
	vnow     int64  // V of the last child that was served in turn; never falls
	fluid    int64  // g, what a child that always had work would have been charged; never falls
	net      int64  // the same, less what was refunded
	begun    int64  // g without the reserve of the child that was served last; never falls
	active   weight // of the busy children
	busy     int    // how many those are
	waiting  int    // requests
	estimate Cost   // of those that wait
}

// lift is the least V at which a child comes back: no credit for idling. It is where
// the last request of somebody began who always had work, so that who comes back
// beside a single other one is next.
func (l *level) lift(q int64) int64 {
	if len(l.ready.e) == 0 {
		return max(l.vnow, l.begun)
	}
	return max(l.vnow, min(l.begun, l.ready.e[0].v+q))
}

// comeBack makes n ready; debt is kept.
func (l *level) comeBack(n *node, q int64, act uint64) {
	n.floor = l.lift(q)
	n.v = max(n.v, n.floor)
	n.act = act
	l.enter(n)
}

// restore makes n ready where it stood when a request that came back was
// dispatched: at its V, floor and activation. That holds for one dispatch, after
// which n comes back like any other: else the time that the attempt took would
// be credit for all that has arrived meanwhile.
func (l *level) restore(n *node) {
	n.kept = true
	l.enter(n)
}

func (l *level) enter(n *node) {
	n.standing = ready
	l.ready.push(n)
}

// leave takes n out of the ready ones; its V stays.
func (l *level) leave(n *node) {
	l.ready.remove(n.index)
	n.standing, n.kept = apart, false
}

// served moves the clock when a child is served: to the smallest V of the ready
// ones, which is the child's own unless it went past others that stay.
func (l *level) served() {
	l.vnow = max(l.vnow, l.ready.e[0].v)
	if l.vnow >= rebaseAt {
		l.shift(-l.vnow)
	}
}

// charge moves n by d.
func (l *level) charge(n *node, d int64) {
	n.v = min(n.v+d, farthest)
	if d < 0 {
		n.v = max(n.v, n.floor)
	}
	if n.standing == ready {
		l.ready.fix(n)
	}
}

// spend moves the fluid clock by what one of the children is charged, at the start of
// a request or later. After a refund it stands until as much was charged again.
func (l *level) spend(c Cost, start bool) {
	was := l.fluid
	l.net = min(max(l.vnow, l.net)+span(c, l.active), farthest)
	l.fluid = max(l.fluid, l.net, l.vnow)
	if start {
		l.begun = was
	} else {
		l.begun += l.fluid - was
	}
}

// shift moves all virtual times of the level by d; only differences mean anything.
func (l *level) shift(d int64) {
	l.vnow += d
	l.fluid += d
	l.net += d
	l.begun += d
	for _, n := range l.children {
		n.v += d
		n.floor += d
	}
	for _, h := range []*nodes{&l.ready, &l.resting} {
		for i := range h.e {
			h.e[i].v += d
		}
	}
}

// wake counts n among those that share.
func (l *level) wake(n *node) {
	l.active += n.weight
	l.busy++
	l.remember(n)
}

// rest counts n no more.
func (l *level) rest(n *node) {
	l.active -= n.weight
	l.busy--
	l.mayForget(n)
}

// mayForget lets n be forgotten once it owes nothing; but not an inner node that
// still knows children: what they owe would be forgotten, too.
func (l *level) mayForget(n *node) {
	if n.below == nil || len(n.below.children) == 0 {
		n.standing = resting
		l.resting.push(n)
	}
}

// remember takes it back.
func (l *level) remember(n *node) {
	if n.standing == resting {
		l.resting.remove(n.index)
		n.standing = apart
	}
}

// forgettable is a resting child that owes nothing, nil if there is none.
func (l *level) forgettable() *node {
	if len(l.resting.e) > 0 && l.resting.e[0].v <= l.fluid {
		return l.resting.e[0].n
	}
	return nil
}

// forget drops a resting child.
func (l *level) forget(n *node) {
	l.remember(n)
	delete(l.children, n.key)
}
