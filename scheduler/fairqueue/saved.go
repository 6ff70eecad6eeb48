package fairqueue

import (
	"cmp"
	"slices"
)

// Debt is how far a node's V lies ahead of its siblings' clock: what it received
// before its turn, and works off by waiting.
type Debt struct {
	Tier int      `json:"tier,omitempty"`
	Path []string `json:"path"`
	V    int64    `json:"v"` // virtual time, 2^20 for each thousandth of a token at weight 1
}

// Export are the debts that a successor takes over. Those up to the mean cost of
// a request are left out: as much is lost in the fluid clock at any coming back.
func (q *Queue) Export() []Debt {
	var out []Debt
	for _, l := range q.tops {
		first := len(out)
		out = l.debts(out, nil, q.mean.span())
		for i := range out[first:] {
			out[first+i].Tier = l.rank
		}
	}
	slices.SortFunc(out, func(a, b Debt) int { return cmp.Or(cmp.Compare(a.Tier, b.Tier), slices.Compare(a.Path, b.Path)) })
	return out
}

func (l *level) debts(out []Debt, path []string, least int64) []Debt {
	for _, n := range l.children {
		at := append(slices.Clip(path), n.key)
		if d := n.v - l.vnow; d > least {
			out = append(out, Debt{Path: at, V: d})
		}
		if n.below != nil {
			out = n.below.debts(out, at, least)
		}
	}
	return out
}

// Owed is what each tier owes those below it, for a successor: as if what runs below
// because of it were delivered, for a successor counts that for none. nil without tiers.
func (q *Queue) Owed() []Cost {
	var out []Cost
	for i := range q.upper {
		t := &q.upper[i]
		out = append(out, Cost(t.owed-(1-t.floor)*float64(t.unspent)))
	}
	return out
}

// Owe takes over what a predecessor's tiers owed; not where their number has changed.
func (q *Queue) Owe(owed []Cost) {
	if len(owed) != len(q.upper) {
		return
	}
	for i, c := range owed {
		q.upper[i].owed += float64(min(max(c, -mostCost), mostCost))
	}
}

// Import puts debts on top of the present clocks. Paths that do not fit this
// queue's depth are left out.
func (q *Queue) Import(debts []Debt) {
	byDepth := func(a, b Debt) int { return cmp.Compare(len(a.Path), len(b.Path)) }
	for _, d := range slices.SortedStableFunc(slices.Values(debts), byDepth) {
		if len(d.Path) == 0 || len(d.Path) > q.depth || d.V <= 0 {
			continue
		}
		q.owe(d)
	}
}

// owe makes the nodes on a debt's path, as far as they are not known.
func (q *Queue) owe(d Debt) {
	l, n := q.top(d.Tier), (*node)(nil)
	for i, key := range d.Path {
		if n = l.children[key]; n == nil {
			n = q.grow(l, key, i+1 < q.depth)
			l.mayForget(n)
		}
		if i+1 < len(d.Path) {
			l.remember(n) // it gets a child
		}
		l = n.below
	}
	v := min(n.in.vnow+min(d.V, farthest), farthest)
	if v <= n.v {
		return
	}
	n.v = v
	switch n.standing {
	case ready:
		n.in.ready.fix(n)
	case resting:
		n.in.resting.fix(n)
	case apart:
	}
}
