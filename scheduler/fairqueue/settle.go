package fairqueue

// Progress tells what a request in flight has cost so far: what exceeds its
// charge is charged. What is not in flight is left
// alone.
func (q *Queue) Progress(r *Request, actual Cost) {
	if r.flight == nil {
		return
	}
	actual = bounded(actual)
	if actual > r.flight.charged {
		q.charge(r, actual)
	}
	q.deliver(r, actual)
}

// Settle ends a request in flight: it is charged what it did cost, at least one
// token, and its sequences are returned. What is not in flight is left alone.
func (q *Queue) Settle(r *Request, actual Cost) {
	if r.flight == nil {
		return
	}
	actual = bounded(actual)
	q.charge(r, actual)
	q.deliver(r, actual)
	f := r.flow
	q.land(r)
	q.count(&f.node, 0, -1, 0)
	q.refreshAll(f.user)
	q.mean.add(actual)
}

// Requeue takes a request in flight back that no backend served: what it was
// charged is refunded, and it waits at its old place again. What is not in flight
// is left alone.
func (q *Queue) Requeue(r *Request) {
	if r.flight == nil {
		return
	}
	q.charge(r, 0)
	f := r.flow
	q.land(r)
	q.join(r, f)
	q.count(&f.node, 0, -1, 0)
	f.top().line.put(r)
	q.refresh(&f.node, true)
	q.refreshAll(f.user)
}

// Adopt takes over a request that another queue dispatched: it is in flight here,
// charged so much at these weights (the root's child first; the path's own, where
// they do not fit it). Nothing is charged now: what was charged elsewhere comes
// with Import, or is forgiven. A request that the queue knows already is left
// alone.
func (q *Queue) Adopt(r *Request, path []Step, u User, weights []float64, charged Cost) {
	if r.flow != nil {
		return
	}
	f := q.leaf(r, path, u)
	q.seqs++
	r.seq, r.flow = q.seqs, f
	r.flight = q.launch(r)
	if len(weights) == q.depth {
		for i, w := range weights {
			r.flight.weights[i] = weightOf(w)
		}
	}
	r.flight.charged = min(max(charged, 0), mostCost)
	r.flight.delivered = r.flight.charged
	q.count(&f.node, 0, 1, 0)
	f.user.running += r.sequences()
	q.refreshAll(f.user)
}

// deliver tells the tiers what r received since the last time.
func (q *Queue) deliver(r *Request, actual Cost) {
	x := actual - r.flight.delivered
	if x <= 0 {
		return
	}
	r.flight.delivered = actual
	q.repay(r.flight, x)
	q.reckon(r.flight, max(r.flight.charged-actual, 0))
}

// land returns the sequences of r, which belongs to no flow then.
func (q *Queue) land(r *Request) {
	r.flow.user.running -= r.sequences()
	q.reckon(r.flight, 0)
	r.flight.next = q.free
	q.free, r.flight, r.flow = r.flight, nil, nil
}
