package fairqueue

// user is a person over all leaves of the tree: what runs is counted once.
type user struct {
	key     string
	running int // sequences in flight
	flows   []*flow
	only    [1]*flow // most have one: no need to look elsewhere for it
}

// flow is a user at one leaf of the tree. What waits there is a treap (Seidel and
// Aragon, "Randomized Search Trees", 1996) with sums, so that place and cost ahead
// of any request take O(log n); a hash of the arrival number is the random
// priority, so that every run is the same.
type flow struct {
	node
	user *user
	root *Request
	head *Request // the first in order
}

// mayStart reports whether the head's sequences fit under its max_running; who runs
// nothing may always start one.
func (f *flow) mayStart() bool {
	r := f.head
	if r == nil {
		return false
	}
	running := f.user.running
	return r.maxRunning <= 0 || running == 0 || running+r.sequences() <= r.maxRunning
}

// lead makes r the first in order, and its weight the flow's. The last one's stays
// while it is in flight.
func (f *flow) lead(r *Request) {
	if f.head = r; r != nil {
		f.reweigh(r.weight)
	}
}

// precedes is the order of one user's requests.
func (r *Request) precedes(o *Request) bool {
	switch {
	case r.Priority != o.Priority:
		return r.Priority < o.Priority
	case r.Newest != o.Newest:
		return r.Newest
	case r.Newest:
		return r.later(o)
	default:
		return o.later(r)
	}
}

// chance is the finalizer of splitmix64 (Steele, Lea and Flood, OOPSLA'14).
func (r *Request) chance() uint64 {
	z := (r.seq + 1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (r *Request) size() int {
	if r == nil {
		return 0
	}
	return r.count
}

func (r *Request) total() Cost {
	if r == nil {
		return 0
	}
	return r.sum
}

func (r *Request) add() {
	r.count = 1 + r.left.size() + r.right.size()
	r.sum = r.Estimate + r.left.total() + r.right.total()
}

func (f *flow) insert(r *Request) {
	at, chance := &f.root, r.chance()
	for *at != nil && (*at).chance() >= chance {
		t := *at
		t.count++
		t.sum += r.Estimate
		at = t.toward(r)
	}
	r.left, r.right = (*at).split(r)
	r.add()
	*at = r
	if f.head == nil || r.precedes(f.head) {
		f.lead(r)
	}
}

func (f *flow) remove(r *Request) {
	at := &f.root
	for *at != r {
		t := *at
		t.count--
		t.sum -= r.Estimate
		if at = &t.left; r != f.head { // the head is always on the left
			at = t.toward(r)
		}
	}
	*at = merge(r.left, r.right)
	r.left, r.right = nil, nil
	if f.head == r {
		f.lead(f.root.first())
	}
}

// toward is the subtree of t in which r is or belongs.
func (r *Request) toward(o *Request) **Request {
	if o.precedes(r) {
		return &r.left
	}
	return &r.right
}

func (r *Request) first() *Request {
	if r == nil {
		return nil
	}
	for r.left != nil {
		r = r.left
	}
	return r
}

// split cuts the subtree into what precedes o and what does not.
func (r *Request) split(o *Request) (before, after *Request) {
	if r == nil {
		return nil, nil
	}
	if r.precedes(o) {
		r.right, after = r.right.split(o)
		before = r
	} else {
		before, r.left = r.left.split(o)
		after = r
	}
	r.add()
	return before, after
}

// merge joins two subtrees of which all of a precedes all of b.
func merge(a, b *Request) *Request {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.chance() >= b.chance():
		a.right = merge(a.right, b)
		a.add()
		return a
	default:
		b.left = merge(a, b.left)
		b.add()
		return b
	}
}

// Waiting are the requests of a user that wait, at most so many of each leaf of the
// tree, in the order in which the leaf's go.
func (q *Queue) Waiting(user string, most int) []*Request {
	u := q.users[user]
	if u == nil {
		return nil
	}
	var out []*Request
	for _, f := range u.flows {
		out = f.root.collect(out, len(out)+most)
	}
	return out
}

// collect appends the subtree in order, until there are so many.
func (r *Request) collect(out []*Request, most int) []*Request {
	if r == nil || len(out) >= most {
		return out
	}
	if out = r.left.collect(out, most); len(out) < most {
		out = r.right.collect(append(out, r), most)
	}
	return out
}

// ahead is what waits in the flow before r, how many and of what cost.
func (f *flow) ahead(r *Request) (n int, c Cost) {
	for t := f.root; t != r; t = *t.toward(r) {
		if t.precedes(r) {
			n += 1 + t.left.size()
			c += t.Estimate + t.left.total()
		}
	}
	return n + r.left.size(), c + r.left.total()
}
