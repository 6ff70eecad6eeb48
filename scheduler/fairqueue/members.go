package fairqueue

import (
	"cmp"
	"math"
	"slices"
)

// Inversion is a class whose weight promises more than its members get: so many of
// them share it that one is entitled to less than one of a lighter class.
type Inversion struct {
	Heavy, Light         string  // classes of one tier
	HeavyMembers         int     // users with requests that wait or run
	LightMembers         int     // of those of Light
	HeavyPart, LightPart float64 // parts of what the tier is served, of one member with a weight of 1
}

// members is how a class is shared.
type members struct {
	node        *node
	users       int
	least, most float64 // weight of the class that a member with a weight of 1 has
}

// Inversions compares, per tier, the members of classes that have work now: the one
// of the heavier class who has the least with the one of the lighter who has the
// most. It is empty where users are children of the root. Sorted by name. It costs
// O(classes² + groups).
func (q *Queue) Inversions() (out []Inversion) {
	if q.depth < 2 {
		return nil
	}
	for _, l := range q.tops {
		out = l.inversions(out)
	}
	slices.SortFunc(out, func(a, b Inversion) int { return cmp.Or(cmp.Compare(a.Heavy, b.Heavy), cmp.Compare(a.Light, b.Light)) })
	return out
}

func (l *level) inversions(out []Inversion) []Inversion {
	var classes []members
	for _, n := range l.children {
		if n.busy() {
			classes = append(classes, n.members())
		}
	}
	total := l.active.float()
	for _, h := range classes {
		for _, x := range classes {
			if h.node.weight <= x.node.weight || h.least >= x.most {
				continue
			}
			out = append(out, Inversion{
				Heavy: h.node.key, Light: x.node.key, HeavyMembers: h.users, LightMembers: x.users,
				HeavyPart: h.least / total, LightPart: x.most / total,
			})
		}
	}
	return out
}

// members are those below a busy child of the root.
func (n *node) members() members {
	m := members{node: n, least: math.Inf(1)}
	share := func(l *level, weight float64) {
		each := weight / l.active.float()
		m.users += l.busy
		m.least, m.most = min(m.least, each), max(m.most, each)
	}
	weight := n.weight.float()
	for _, child := range n.below.children {
		if child.below == nil {
			share(n.below, weight)
			break
		}
		if child.busy() {
			share(child.below, weight*child.weight.float()/n.below.active.float())
		}
	}
	return m
}
