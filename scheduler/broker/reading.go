package broker

import (
	"maps"
	"slices"
	"sync"
)

// reading is what one reader of a stream knows of its entries, whichever way it
// heard of them: read in order, or told by who published them here.
type reading struct {
	whole bool // it began with the first entry

	mu    sync.Mutex
	next  uint64              // all entries before this one are known
	ahead map[uint64]bool     // known from there on; true: and deleted
	there map[uint64]struct{} // before next, and not deleted
	order []uint64            // the same, ascending, and some that were deleted meanwhile
}

func newReading(from uint64) *reading {
	return &reading{whole: from <= 1, next: max(from, 1), ahead: map[uint64]bool{}, there: map[uint64]struct{}{}}
}

// told reports whether an entry that was published here is news.
func (r *reading) told(seq uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.claimLocked(seq)
}

// read is told, and says that there is no entry before this one but those that
// are known.
func (r *reading) read(seq uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skipLocked(seq)
	return r.claimLocked(seq)
}

// frontier is the first entry that is not known.
func (r *reading) frontier() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next
}

func (r *reading) claimLocked(seq uint64) bool {
	if _, known := r.ahead[seq]; known || seq < r.next {
		return false
	}
	r.ahead[seq] = false
	r.advanceLocked()
	return true
}

// skipLocked moves on to a sequence over entries that are not there.
func (r *reading) skipLocked(seq uint64) {
	if seq <= r.next {
		return
	}
	for _, s := range slices.Sorted(maps.Keys(r.ahead)) {
		if s >= seq {
			break
		}
		r.enterLocked(s)
	}
	r.next = seq
	r.advanceLocked()
}

func (r *reading) advanceLocked() {
	for {
		if _, known := r.ahead[r.next]; !known {
			return
		}
		r.enterLocked(r.next)
		r.next++
	}
}

func (r *reading) enterLocked(seq uint64) {
	const few = 1024
	deleted := r.ahead[seq]
	delete(r.ahead, seq)
	if deleted {
		return
	}
	r.there[seq] = struct{}{}
	if r.order = append(r.order, seq); len(r.order) > 2*len(r.there)+few {
		r.order = slices.DeleteFunc(r.order, r.goneLocked)
	}
}

// drop notes that an entry is deleted.
func (r *reading) drop(seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if seq >= r.next {
		r.ahead[seq] = true
		r.advanceLocked()
		return
	}
	delete(r.there, seq)
}

func (r *reading) goneLocked(seq uint64) bool {
	_, there := r.there[seq]
	return !there
}

// first is the first entry that is still there, or where the next one will be:
// what lies before it is deleted, or about to be. 0: it is not known.
func (r *reading) first() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.whole {
		return 0
	}
	for len(r.order) > 0 && r.goneLocked(r.order[0]) {
		r.order = r.order[1:]
	}
	if len(r.order) > 0 {
		return r.order[0]
	}
	return r.next
}
