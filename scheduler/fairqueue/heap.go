package fairqueue

// entry is a node in a heap with a copy of its key, so that comparing two needs
// no look at the nodes.
type entry struct {
	v   int64
	act uint64
	n   *node
}

// before orders by virtual time, ties by activation: who has been ready for
// longer goes first. No two nodes have the same activation.
func (e *entry) before(o *entry) bool {
	return e.v < o.v || e.v == o.v && e.act < o.act
}

// arity of the heaps: flatter than binary ones, and four keys are two cache lines.
const arity = 4

// nodes is a heap of nodes by (V, activation), smallest first. A node knows its
// index in it, unless the heap is a view.
type nodes struct {
	e    []entry
	view bool
}

func (h *nodes) put(i int, e entry) {
	h.e[i] = e
	if !h.view {
		e.n.index = i
	}
}

func (h *nodes) push(n *node) {
	h.e = append(h.e, entry{})
	h.up(len(h.e)-1, entry{n.v, n.act, n})
}

// remove takes out the entry at index i.
func (h *nodes) remove(i int) {
	last := len(h.e) - 1
	e := h.e[last]
	h.e[last] = entry{}
	h.e = h.e[:last]
	if i < last {
		h.place(i, e)
	}
}

// fix restores the order after n's key has changed.
func (h *nodes) fix(n *node) { h.place(n.index, entry{n.v, n.act, n}) }

// place puts e at or around the hole i.
func (h *nodes) place(i int, e entry) {
	if i > 0 && e.before(&h.e[(i-1)/arity]) {
		h.up(i, e)
		return
	}
	h.down(i, e)
}

func (h *nodes) up(i int, e entry) {
	for i > 0 {
		p := (i - 1) / arity
		if !e.before(&h.e[p]) {
			break
		}
		h.put(i, h.e[p])
		i = p
	}
	h.put(i, e)
}

func (h *nodes) down(i int, e entry) {
	for {
		least := arity*i + 1
		if least >= len(h.e) {
			break
		}
		for c := least + 1; c < min(arity*i+1+arity, len(h.e)); c++ {
			if h.e[c].before(&h.e[least]) {
				least = c
			}
		}
		if !h.e[least].before(&e) {
			break
		}
		h.put(i, h.e[least])
		i = least
	}
	h.put(i, e)
}

// walk reads a heap in order without changing it: k steps cost O(k log k).
type walk struct {
	of   *nodes
	open nodes // the smallest entries not yet given out are among these
	last int   // index of the entry given out last, -1 before the first
}

func (w *walk) start(of *nodes) {
	w.of, w.last = of, -1
	clear(w.open.e)
	w.open = nodes{e: w.open.e[:0], view: true}
}

// next is the node that follows, nil after the last. The heap must not have
// changed since start.
func (w *walk) next() *node {
	first, end := arity*w.last+1, arity*w.last+1+arity
	if w.last < 0 {
		first, end = 0, 1
	}
	for i := first; i < min(end, len(w.of.e)); i++ {
		w.open.push(w.of.e[i].n)
	}
	if len(w.open.e) == 0 {
		return nil
	}
	n := w.open.e[0].n
	w.open.remove(0)
	w.last = n.index
	return n
}
