package fairqueue

import (
	"cmp"
	"time"
)

// maxDepth is the number of levels below the root that are possible.
const maxDepth = 3

// Request is one request while the queue knows it, from Push or Adopt to Remove
// or Settle. The caller allocates it, may embed it, and does not copy it or
// change its fields meanwhile.
type Request struct {
	ID         string
	Value      any       // the caller's
	Priority   int       // order among the user's own requests, lower first
	AcceptedAt time.Time // order among those of equal priority, the oldest first
	Newest     bool      // before all that are not, and among those that are the newest first
	Sequences  int       // slots it takes, at least 1
	Estimate   Cost      // full expected cost; only for sums and outlooks
	Tier       int       // its class's, 0 the first; what lies outside is taken as the bound

	flow   *flow   // nil: the queue does not know it
	flight *flight // nil: it waits
	seq    uint64  // order of arrival, the last tie

	weight     weight // of its user while it is the user's next
	maxRunning int    // sequences that its user may run with it; 0: no bound

	left, right *Request // in its flow's tree while it waits
	count       int      // requests in the subtree
	sum         Cost     // of their estimates

	older, newer *Request // in its line while it waits
}

// flight is what is known only of a request that was dispatched.
type flight struct {
	weights   [maxDepth]weight // that it is charged at, from the root's child to the user
	charged   Cost
	delivered Cost
	rank      int     // its tier
	counted   uint64  // for which tiers it is, by number
	unspent   Cost    // what was counted as charged and not delivered
	next      *flight // in the queue's free list
}

// InFlight reports whether the request was dispatched or adopted and has not
// ended.
func (r *Request) InFlight() bool { return r.flight != nil }

// Queued reports whether the request waits.
func (r *Request) Queued() bool { return r.flow != nil && r.flight == nil }

// Charged is the cost that a request in flight was charged so far, in
// thousandths of a token; otherwise 0.
func (r *Request) Charged() Cost {
	if r.flight == nil {
		return 0
	}
	return r.flight.charged
}

// Weights are the weights at which a request in flight is charged, the root's
// child first; otherwise nil.
func (r *Request) Weights() []float64 {
	if r.flight == nil {
		return nil
	}
	out := make([]float64, 0, maxDepth)
	for _, w := range r.flight.weights {
		if w != 0 {
			out = append(out, w.float())
		}
	}
	return out
}

func (r *Request) sequences() int { return max(r.Sequences, 1) }

// line is the waiting requests below a node in the order in which they came.
type line struct{ front, back *Request }

func (l *line) append(r *Request) { l.insert(r, l.back) }

// put gives r its old place again. It looks from both ends: what returns was
// among the first of all, or among the last where a long queue of another user
// stands before it.
func (l *line) put(r *Request) {
	for first, last := l.front, l.back; last != nil; first, last = first.newer, last.older {
		if !last.later(r) {
			l.insert(r, last)
			return
		}
		if first.later(r) {
			l.insert(r, first.older)
			return
		}
	}
	l.insert(r, nil)
}

// later reports whether r was accepted after o.
func (r *Request) later(o *Request) bool {
	return cmp.Or(r.AcceptedAt.Compare(o.AcceptedAt), cmp.Compare(r.seq, o.seq)) > 0
}

// insert puts r behind one that stands in the line, nil: to the front.
func (l *line) insert(r, behind *Request) {
	next := &l.front
	if behind != nil {
		next = &behind.newer
	}
	r.older, r.newer = behind, *next
	*next = r
	if r.newer != nil {
		r.newer.older = r
	} else {
		l.back = r
	}
}

func (l *line) remove(r *Request) {
	if r.older != nil {
		r.older.newer = r.newer
	} else {
		l.front = r.newer
	}
	if r.newer != nil {
		r.newer.older = r.older
	} else {
		l.back = r.older
	}
	r.older, r.newer = nil, nil
}
