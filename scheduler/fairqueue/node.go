package fairqueue

// standing says in which heap of its level a node is.
type standing uint8

const (
	apart   standing = iota // in none: it has work, but none that may start; or it is about to move
	ready                   // in level.ready: a head below it may start
	resting                 // in level.resting: without work, and it owes
)

// node is a child among its siblings: a class, a group, or a user (see flow). What
// every dispatch looks at stands together: with many users each is in no cache.
type node struct {
	key    string
	line   line // of those that wait, if it is a child of the root
	weight weight
	in     *level // among its siblings
	below  *level // its children; nil: a user
	flow   *flow  // the user's requests; nil: it has children

	v, floor int64
	act      uint64 // of its last coming back: a number that only grows
	index    int    // in the heap that standing names
	standing standing
	kept     bool // it returned at an old V: see level.restore

	waiting, flying int  // requests below it
	estimate        Cost // of those that wait
}

// busy reports whether anything of it waits or is in flight.
func (n *node) busy() bool { return n.waiting+n.flying > 0 }

// mayStart reports whether a head below n may start as far as its user is concerned.
func (n *node) mayStart() bool {
	if n.flow != nil {
		return n.flow.mayStart()
	}
	return len(n.below.ready.e) > 0
}

// first is the request that is served next below a ready node.
func (n *node) first() *Request {
	for n.flow == nil {
		n = n.below.ready.e[0].n
	}
	return n.flow.head
}

// up is the parent, nil for a child of the root.
func (n *node) up() *node { return n.in.owner }

// top is the child of the root above n.
func (n *node) top() *node {
	for n.up() != nil {
		n = n.up()
	}
	return n
}

// reweigh changes the weight; charges made before keep theirs.
func (n *node) reweigh(w weight) {
	if n.busy() {
		n.in.active += w - n.weight
	}
	n.weight = w
}
