package fairqueue

import "fmt"

// mostTiers bounds how many there are, the last included.
const mostTiers = 64

// tier goes before all tiers below it, but for what it owes them.
type tier struct {
	*level
	floor   float64 // φ, the part of what is served that those below are left
	owed    float64 // to those below, a Cost
	unspent Cost    // charged and not yet delivered, of those below that were served because of it
}

// owes reports whether it is the turn of those below.
func (t *tier) owes() bool { return t.owed > float64(t.unspent) }

// plant makes the levels below the root, one a tier.
func (q *Queue) plant(floors []float64) error {
	if len(floors) >= mostTiers {
		return fmt.Errorf("fairqueue: %d tiers, want at most %d", len(floors)+1, mostTiers)
	}
	q.root = level{children: map[string]*node{}, rank: len(floors)}
	for i, floor := range floors {
		if !(floor >= 0 && floor < 1) {
			return fmt.Errorf("fairqueue: a floor of %g below tier %d, want at least 0 and less than 1", floor, i)
		}
		l := &level{children: map[string]*node{}, rank: i}
		q.upper = append(q.upper, tier{level: l, floor: floor})
		q.tops = append(q.tops, l)
	}
	q.tops = append(q.tops, &q.root)
	q.order = append(q.order, q.tops...)
	return nil
}

// turns are the tiers in the order in which they are asked now.
func (q *Queue) turns() []*level {
	first, last := 0, len(q.upper)
	for i := range q.upper {
		t := &q.upper[i]
		if t.owes() {
			q.order[last] = t.level
			last--
			continue
		}
		q.order[first] = t.level
		first++
	}
	q.order[first] = &q.root
	return q.order
}

// readyBelow reports whether anything below an upper tier could start.
func (q *Queue) readyBelow(rank int) bool {
	for _, l := range q.tops[rank+1:] {
		if len(l.ready.e) > 0 {
			return true
		}
	}
	return false
}

// book tells for which tiers it counts that one of a rank is served now: those of
// which it is the turn. Who goes because the others can't has a gift, which neither
// makes a debt nor pays one; and what is owed to those who have nothing lapses.
func (q *Queue) book(rank int) (counted uint64) {
	for i := range q.upper[:min(rank+1, len(q.upper))] {
		t := &q.upper[i]
		switch below := i < rank; {
		case below && t.owes(), !below && !t.owes() && q.readyBelow(i):
			counted |= 1 << i
		case !below && !q.readyBelow(i):
			t.owed = min(t.owed, float64(t.unspent))
		}
	}
	return counted
}

// reckon keeps the sums of what is not delivered yet.
func (q *Queue) reckon(x *flight, unspent Cost) {
	if x.counted == 0 {
		return
	}
	for i := range q.upper[:min(x.rank, len(q.upper))] {
		if x.counted>>i&1 == 1 {
			q.upper[i].unspent += unspent - x.unspent
		}
	}
	x.unspent = unspent
}

// repay moves what tiers owe by work that was done.
func (q *Queue) repay(x *flight, c Cost) {
	if x.counted == 0 {
		return
	}
	for i := range q.upper[:min(x.rank+1, len(q.upper))] {
		t := &q.upper[i]
		switch {
		case x.counted>>i&1 == 0:
		case i < x.rank:
			t.owed -= (1 - t.floor) * float64(c)
		default:
			t.owed += t.floor * float64(c)
		}
	}
}

// leastShare stands for none: who waits below a tier without a floor has a turn
// once the tier is empty.
const leastShare = 1e-9

// across is how many of other tiers are expected to be served while a request of a
// rank waits for so much cost of its own tier. Its share is that of its tier.
func (q *Queue) across(rank int, ahead Cost, share *float64) int {
	others := 0
	for i := min(rank, len(q.upper)-1); i >= 0; i-- {
		t := &q.upper[i]
		waiting, estimate, active := t.waiting, t.estimate, t.busy > 0
		theirs, turn := 1-t.floor, !t.owes() && len(t.ready.e) > 0
		if i == rank {
			waiting, estimate, active = q.below(i)
			theirs, turn = t.floor, t.owes() && q.readyBelow(i)
		}
		if active {
			*share *= max(1-theirs, leastShare)
		}
		if waiting == 0 {
			continue
		}
		each := max(float64(estimate)/float64(waiting), 1)
		first := float64(ahead) * theirs / max(1-theirs, leastShare) / each
		if turn {
			first = max(first, 1)
		}
		n := int(min(first, float64(waiting)))
		others += n
		ahead += Cost(each) * Cost(n)
	}
	return others
}

// below is what waits below an upper tier, and whether anything there has work.
func (q *Queue) below(rank int) (waiting int, estimate Cost, active bool) {
	for _, l := range q.tops[rank+1:] {
		waiting, estimate, active = waiting+l.waiting, estimate+l.estimate, active || l.busy > 0
	}
	return waiting, estimate, active
}
