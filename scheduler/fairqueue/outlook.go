package fairqueue

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Outlook is how a waiting request stands. With C the cost delivered a second,
// (AheadCost + Lag) / (C·Share) seconds pass until it is served, on average.
type Outlook struct {
	AheadInFlow int     // requests of the user at this leaf that go first
	AheadCost   Cost    // their full expected cost
	OtherCost   Cost    // of the requests of others that are expected to be served first
	Lag         Cost    // what the flow, and what is above it, got more than the hindmost of its siblings
	Share       float64 // of the flow in the weights that are active now, over all levels
	Position    int     // 1 + the number of requests that are expected to be served first
}

// closest bounds how many siblings are counted for a position.
const closest = 64

// Outlook tells how a waiting request stands; the zero Outlook if r does not
// wait. It takes O(log n). Position is exact for the next one (1) and an estimate
// for others: per level, while the flow works off its lag and what is ahead of it,
// its siblings are served in proportion to their weights, and at least once each
// that has a smaller V; never more than waits there.
func (q *Queue) Outlook(r *Request) Outlook {
	if !r.Queued() {
		return Outlook{}
	}
	o := Outlook{Share: 1}
	o.AheadInFlow, o.AheadCost = r.flow.ahead(r)
	ahead, cost, lag := o.AheadInFlow, o.AheadCost, 0.0
	for n := &r.flow.node; n != nil; n = n.up() {
		behind := n.behind()
		lag += o.Share * float64(costs(behind, n.weight))
		o.Share *= float64(n.weight) / float64(n.in.active)
		others, otherCost := n.overtakers(behind + span(min(cost, mostCost), n.weight))
		ahead += others
		cost += otherCost
	}
	o.Lag, o.OtherCost = Cost(lag), cost-o.AheadCost
	if len(q.upper) > 0 {
		ahead += q.across(r.flow.top().in.rank, cost, &o.Share)
	}
	o.Position = 1 + ahead
	return o
}

// behind is how far n's V lies above the smallest of its siblings.
func (n *node) behind() int64 {
	if len(n.in.ready.e) == 0 {
		return 0
	}
	return max(0, n.v-n.in.ready.e[0].v)
}

// overtakers is what n's siblings are expected to be served while the clock moves
// by v, how many and of what cost.
func (n *node) overtakers(v int64) (int, Cost) {
	l := n.in
	most := l.waiting - n.waiting
	if most <= 0 {
		return 0, 0
	}
	each := max((l.estimate-n.estimate)/Cost(most), 1)
	fluid := costs(v, l.active-n.weight) / each
	others := max(n.outranked(), int(min(fluid, Cost(most))))
	others = min(others, most)
	return others, each * Cost(others)
}

// outranked is the number of ready siblings whose turn is before n's. Above a
// bound it is estimated from n's place in the heap: the smallest of s out of m
// random numbers has rank (m+1)/(s+1) among them.
func (n *node) outranked() int {
	key := entry{n.v, n.act, n}
	if n.standing != ready {
		key.act = math.MaxUint64 // it will come back behind its equals
	}
	h := &n.in.ready
	c := h.smaller(0, &key, closest)
	if c < closest || n.standing != ready {
		return c
	}
	return max(c, (len(h.e)+1)/(h.below(n.index)+1)-1)
}

// smaller counts the entries at and below i that come before key, up to most.
func (h *nodes) smaller(i int, key *entry, most int) int {
	if most <= 0 || i >= len(h.e) || !h.e[i].before(key) {
		return 0
	}
	c := 1
	for child := arity*i + 1; child <= arity*i+arity; child++ {
		c += h.smaller(child, key, most-c)
	}
	return c
}

// below is the number of entries at and below i.
func (h *nodes) below(i int) int {
	c := 0
	for first, last := i, i; first < len(h.e); first, last = arity*first+1, arity*last+arity {
		c += min(last, len(h.e)-1) - first + 1
	}
	return c
}

// Class is the state of a child of the root.
type Class struct {
	Key      string
	Weight   float64
	Waiting  int       // requests
	Running  int       // requests in flight
	Estimate Cost      // full expected cost of those that wait
	Oldest   time.Time // AcceptedAt of the one that came first; zero: none waits
}

// Classes are the children of the root that are known, by key. With depth 1 they
// are the users.
func (q *Queue) Classes() []Class {
	out := make([]Class, 0, len(q.root.children))
	for _, l := range q.tops {
		for _, n := range l.children {
			c := Class{Key: n.key, Weight: n.weight.float(), Waiting: n.waiting, Running: n.flying, Estimate: n.estimate}
			if n.line.front != nil {
				c.Oldest = n.line.front.AcceptedAt
			}
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b Class) int { return cmp.Compare(a.Key, b.Key) })
	return out
}
