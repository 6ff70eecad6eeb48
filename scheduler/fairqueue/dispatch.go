package fairqueue

// Verdict is the caller's answer to a head.
type Verdict int

// The verdicts. What is not Take leaves the request where it is.
const (
	// Stop: the head is blocked by slots. Nothing may pass it.
	Stop Verdict = iota
	// Take: it starts now.
	Take
	// Skip: its child of the root (its class) is refused, by headroom for one.
	// The child keeps its place and V, and the next one is tried.
	Skip
	// Bypass: the head is blocked by KV. Others are asked, in order of V, whether
	// they may pass.
	Bypass
	// Yield: it may start, but not where its cache is. Others whose V is at most Q
	// above are asked whether they would start where theirs is; else it starts.
	Yield
)

// Decision is a verdict and, for Take and Yield, the charge at dispatch.
type Decision struct {
	Verdict Verdict
	Reserve Cost // see the function Reserve
}

const (
	mostPassing = 256 // are asked whether they may pass a blocked head
	mostNear    = 16  // are asked whether they go first for their cache's sake
)

// passing is the state of a search for somebody who may pass.
type passing struct {
	near    bool // no further than Q from the smallest V
	blocked *Request
	admit   func(*Request, bool) Decision
	left    int
}

// Dispatch gives out the request whose turn it is, if admit takes it; nil: nothing
// can start now. admit is told whether the request would pass a blocked head; it
// must not change the queue.
func (q *Queue) Dispatch(admit func(r *Request, bypass bool) Decision) *Request {
	for _, l := range q.turns() {
		w := &q.walks[0]
		w.start(&l.ready)
		for n := w.next(); n != nil; n = w.next() {
			r := n.first()
			d := admit(r, false)
			switch d.Verdict {
			case Take:
				return q.take(r, d.Reserve)
			case Yield:
				return q.yield(l, r, d.Reserve, admit)
			case Skip:
				continue
			case Bypass:
				return q.bypass(r, admit)
			default:
				return nil
			}
		}
	}
	return nil
}

// yield lets somebody near the head of l start instead, or the head. It costs the
// head nothing but time, and of that little: who passes is charged, and then no
// longer near.
func (q *Queue) yield(l *level, head *Request, reserve Cost, admit func(*Request, bool) Decision) *Request {
	q.passing = passing{near: true, blocked: head, admit: admit, left: mostNear}
	defer func() { q.passing = passing{} }()
	if r, other := q.pass(l, 0); r != nil {
		return q.take(r, other)
	}
	return q.take(head, reserve)
}

// bypass asks the heads of the other users, in order of V.
func (q *Queue) bypass(blocked *Request, admit func(*Request, bool) Decision) *Request {
	q.passing = passing{blocked: blocked, admit: admit, left: mostPassing}
	defer func() { q.passing = passing{} }()
	for _, l := range q.order {
		if r, reserve := q.pass(l, 0); r != nil {
			return q.take(r, reserve)
		}
	}
	return nil
}

// pass finds the first below l that may pass.
func (q *Queue) pass(l *level, depth int) (*Request, Cost) {
	w, p := &q.walks[depth], &q.passing
	w.start(&l.ready)
	for n := w.next(); n != nil && p.left > 0; n = w.next() {
		if p.near && n.v > l.ready.e[0].v+q.mean.span() {
			break
		}
		if n.below != nil {
			if r, reserve := q.pass(n.below, depth+1); r != nil {
				return r, reserve
			}
			continue
		}
		if n.flow.head == p.blocked {
			continue
		}
		p.left--
		if d := p.admit(n.flow.head, true); d.Verdict == Take {
			return n.flow.head, d.Reserve
		}
	}
	return nil, 0
}

// take starts r, the head of a ready user.
func (q *Queue) take(r *Request, reserve Cost) *Request {
	f := r.flow
	rank := f.top().in.rank
	counted := q.book(rank)
	for n := &f.node; n != nil; n = n.up() {
		n.in.served()
	}
	q.part(r)
	q.count(&f.node, -1, 1, -r.Estimate)
	f.user.running += r.sequences()
	r.flight = q.launch(r)
	r.flight.rank, r.flight.counted = rank, counted
	q.refreshAll(f.user) // before the charge: who leaves need not be moved
	q.charge(r, bounded(reserve))
	q.relift(&f.node)
	return r
}

// launch remembers the weights that r is charged at.
func (q *Queue) launch(r *Request) *flight {
	x := q.free
	if x == nil {
		x = &flight{}
	}
	q.free = x.next
	*x = flight{}
	i := q.depth - 1
	x.weights[i] = r.weight
	for n := r.flow.up(); n != nil; n = n.up() {
		i--
		x.weights[i] = n.weight
	}
	return x
}

// relift ends the privilege of nodes that were restored.
func (q *Queue) relift(n *node) {
	for ; n != nil; n = n.up() {
		if n.kept {
			n.in.leave(n)
			q.comeBack(n)
		}
	}
}

// charge changes what r was charged, on its whole way to the root.
func (q *Queue) charge(r *Request, to Cost) {
	x, i := r.flight, q.depth-1
	for n := &r.flow.node; n != nil; n = n.up() {
		n.in.charge(n, span(to, x.weights[i])-span(x.charged, x.weights[i]))
		n.in.spend(to-x.charged, x.charged == 0)
		q.sweep(n.in)
		i--
	}
	x.charged = to
	q.reckon(x, max(to-x.delivered, 0))
}
