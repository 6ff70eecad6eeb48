package broker

import "slices"

// reading is what somebody who reads a stream has seen of it.
type reading struct {
	whole bool                // it began with the first entry
	there map[uint64]struct{} // read, and not deleted
	order []uint64            // the same, ascending, and some that were deleted meanwhile
	next  uint64              // sequence behind the last that was read
	early map[uint64]struct{} // deleted before they were read
}

func newReading(from uint64) reading {
	return reading{whole: from <= 1, there: map[uint64]struct{}{}, early: map[uint64]struct{}{}}
}

func (r *reading) add(seq uint64) {
	const few = 1024
	r.next = seq + 1
	if _, deleted := r.early[seq]; deleted {
		delete(r.early, seq)
		return
	}
	r.there[seq] = struct{}{}
	if r.order = append(r.order, seq); len(r.order) > 2*len(r.there)+few {
		r.order = slices.DeleteFunc(r.order, r.gone)
	}
}

// drop notes that an entry is deleted.
func (r *reading) drop(seq uint64) {
	if seq >= r.next && r.early != nil {
		r.early[seq] = struct{}{}
		return
	}
	delete(r.there, seq)
}

func (r *reading) gone(seq uint64) bool {
	_, there := r.there[seq]
	return !there
}

// first is the first entry that is still there, or where the next one will be:
// what lies before it is deleted, or about to be. 0: it is not known.
func (r *reading) first() uint64 {
	if !r.whole {
		return 0
	}
	for len(r.order) > 0 && r.gone(r.order[0]) {
		r.order = r.order[1:]
	}
	if len(r.order) > 0 {
		return r.order[0]
	}
	return r.next
}
