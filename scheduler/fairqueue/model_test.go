package fairqueue

import (
	"math"
	"slices"
)

// model is the algorithm once more, as the paper would write it: no heaps, no
// sums kept, everything found by looking at everything.
type model struct {
	tops  []*modelNode // a tier each
	tiers []*modelTier // those before the last
	acts  int
	costs []Cost // settled
}

// modelTier is what a tier owes those below.
type modelTier struct {
	floor, owed float64
	because     []*modelRequest // of those below, in flight because of it
}

type modelNode struct {
	key         string
	weight      int64 // 2^-20
	parent      *modelNode
	children    []*modelNode
	v, floor    int64
	vnow        int64
	fluid, net  int64
	begun       int64
	act         int
	ready, kept bool
	waiting     []*modelRequest // of a user
	flying      []*modelRequest
}

type modelRequest struct {
	id        string
	prio, at  int
	newest    bool
	seq, n    int // slots, order of arrival
	estimate  Cost
	leaf      *modelNode
	weights   []int64
	charged   Cost
	delivered Cost
	tier      int
	counted   []*modelTier
	own       int64 // its user's weight while it is the next
	max       int
}

func newModel(floors []float64) *model {
	m := &model{tops: []*modelNode{{weight: fraction}}}
	for _, floor := range floors {
		m.tops = append(m.tops, &modelNode{weight: fraction})
		m.tiers = append(m.tiers, &modelTier{floor: floor})
	}
	return m
}

func (t *modelTier) unspent() (sum Cost) {
	for _, r := range t.because {
		sum += max(r.charged-r.delivered, 0)
	}
	return sum
}

// turns are the numbers of tiers from i on in the order in which they are asked.
func (m *model) turns(i int) []int {
	switch {
	case i == len(m.tiers):
		return []int{i}
	case m.tiers[i].owed > float64(m.tiers[i].unspent()):
		return append(m.turns(i+1), i)
	default:
		return append([]int{i}, m.turns(i+1)...)
	}
}

func (m *model) heads() (out []*modelRequest) {
	for _, i := range m.turns(0) {
		if len(m.tops[i].heap()) > 0 {
			out = append(out, m.tops[i].heads()...)
		}
	}
	return out
}

// book is what the order of tiers has of a dispatch.
func (m *model) book(r *modelRequest) {
	r.counted = nil
	for i, t := range m.tiers {
		belowReady := false
		for _, top := range m.tops[i+1:] {
			belowReady = belowReady || len(top.heap()) > 0
		}
		turn := t.owed > float64(t.unspent())
		switch {
		case r.tier > i && turn:
			r.counted = append(r.counted, t)
			t.because = append(t.because, r)
		case r.tier == i && belowReady && !turn:
			r.counted = append(r.counted, t)
		case r.tier == i && !belowReady:
			t.owed = min(t.owed, float64(t.unspent()))
		}
	}
}

func modelSpan(c Cost, w int64) int64 {
	return int64(math.Ceil(float64(c) * math.Exp2(40) / float64(w)))
}

func (n *modelNode) all(of func(*modelNode) []*modelRequest) (out []*modelRequest) {
	out = append(out, of(n)...)
	for _, c := range n.children {
		out = append(out, c.all(of)...)
	}
	return out
}

func waitingOf(n *modelNode) []*modelRequest { return n.waiting }
func flyingOf(n *modelNode) []*modelRequest  { return n.flying }

func (n *modelNode) busy() bool { return len(n.all(waitingOf))+len(n.all(flyingOf)) > 0 }

func (m *model) running(user string) (sum int) {
	for _, top := range m.tops {
		for _, r := range top.all(flyingOf) {
			if r.leaf.key == user {
				sum += r.seq
			}
		}
	}
	return sum
}

func (n *modelNode) head() *modelRequest {
	return slices.MinFunc(n.waiting, func(a, b *modelRequest) int {
		for _, d := range []int{a.prio - b.prio, b.isNewest() - a.isNewest(), a.at - b.at, a.n - b.n} {
			if d != 0 && a.newest && b.newest && a.prio == b.prio {
				return -d
			}
			if d != 0 {
				return d
			}
		}
		return 0
	})
}

func (r *modelRequest) isNewest() int {
	if r.newest {
		return 1
	}
	return 0
}

func (m *model) may(n *modelNode) bool {
	if len(n.children) > 0 {
		return len(n.heap()) > 0
	}
	if len(n.waiting) == 0 {
		return false
	}
	r, runs := n.head(), m.running(n.key)
	return r.max == 0 || runs == 0 || runs+r.seq <= r.max
}

// heap is the ready children in order.
func (n *modelNode) heap() []*modelNode {
	var out []*modelNode
	for _, c := range n.children {
		if c.ready {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *modelNode) int {
		if a.v != b.v {
			return int(min(max(a.v-b.v, -1), 1))
		}
		return a.act - b.act
	})
	return out
}

func (m *model) q() int64 {
	var mean float64
	for i, c := range m.costs {
		mean += (float64(c) - mean) / float64(min(i+1, meanMemory))
	}
	return modelSpan(Cost(mean), fraction)
}

func (m *model) comeBack(n *modelNode) {
	p := n.parent
	lift := max(p.vnow, p.begun)
	if h := p.heap(); len(h) > 0 {
		lift = max(p.vnow, min(p.begun, h[0].v+m.q()))
	}
	n.v, n.floor = max(n.v, lift), lift
	m.acts++
	n.act, n.ready = m.acts, true
}

// settleUser makes one user's leaves ready or not as they are now, in the order in which they came.
func (m *model) settleUser(user string, leaves []*modelNode) {
	for _, n := range leaves {
		if n.key != user {
			continue
		}
		for ; n.parent != nil; n = n.parent {
			may := m.may(n)
			if may == n.ready {
				break
			}
			if !may {
				n.ready, n.kept = false, false
				continue
			}
			m.comeBack(n)
		}
	}
}

func (m *model) forget(n *modelNode) {
	for _, c := range n.children {
		m.forget(c)
	}
	n.children = slices.DeleteFunc(n.children, func(c *modelNode) bool {
		return !c.busy() && len(c.children) == 0 && c.v <= n.fluid
	})
}

func (m *model) leaf(r *modelRequest, path []Step) *modelNode {
	n := m.tops[r.tier]
	for k, s := range path {
		i := slices.IndexFunc(n.children, func(c *modelNode) bool { return c.key == s.Key })
		if i < 0 {
			m.acts++
			n.children = append(n.children, &modelNode{key: s.Key, parent: n, v: n.vnow, floor: n.vnow, act: m.acts})
			i = len(n.children) - 1
		}
		n = n.children[i]
		w := int64(math.Round(s.Weight * fraction))
		if k+1 < len(path) || len(n.waiting) == 0 {
			n.weight = w
		}
		r.own = w
	}
	return n
}

// weighs is the weight of what a node serves next, or served last.
func (n *modelNode) weighs() int64 {
	if len(n.waiting) > 0 {
		return n.head().own
	}
	return n.weight
}

func (m *model) charge(r *modelRequest, to Cost) {
	i := len(r.weights)
	for n := r.leaf; n.parent != nil; n = n.parent {
		i--
		d := modelSpan(to, r.weights[i]) - modelSpan(r.charged, r.weights[i])
		n.v += d
		if d < 0 {
			n.v = max(n.v, n.floor)
		}
		n.parent.spend(to-r.charged, r.charged == 0)
	}
	r.charged = to
}

func (m *model) deliver(r *modelRequest, actual Cost) {
	x := max(0, actual-r.delivered)
	if x == 0 {
		return
	}
	r.delivered = actual
	for _, t := range r.counted {
		if slices.Contains(t.because, r) {
			t.owed -= (1 - t.floor) * float64(x)
		} else {
			t.owed += t.floor * float64(x)
		}
	}
}

// spend moves the fluid clock of a node's children.
func (n *modelNode) spend(c Cost, start bool) {
	var sum int64
	for _, c := range n.children {
		if c.busy() {
			sum += c.weighs()
		}
	}
	n.net = max(n.vnow, n.net) + modelSpan(c, sum)
	was := n.fluid
	n.fluid = max(n.fluid, n.net, n.vnow)
	n.begun += n.fluid - was
	if start {
		n.begun = was
	}
}

func (m *model) dispatch(r *modelRequest, reserve Cost) {
	m.book(r)
	for n := r.leaf; n.parent != nil; n = n.parent {
		n.parent.vnow = max(n.parent.vnow, n.parent.heap()[0].v)
		r.weights = slices.Insert(r.weights, 0, n.weighs())
	}
	r.leaf.weight = r.own
	r.leaf.waiting = slices.DeleteFunc(r.leaf.waiting, func(o *modelRequest) bool { return o == r })
	r.leaf.flying = append(r.leaf.flying, r)
	m.charge(r, reserve)
}

// relift ends the privilege of what was restored.
func (m *model) relift(n *modelNode) {
	for ; n.parent != nil; n = n.parent {
		if n.kept {
			n.ready, n.kept = false, false
			m.comeBack(n)
		}
	}
}

func (m *model) land(r *modelRequest) {
	r.leaf.flying = slices.DeleteFunc(r.leaf.flying, func(o *modelRequest) bool { return o == r })
	r.charged, r.delivered, r.weights = 0, 0, nil
	for _, t := range r.counted {
		t.because = slices.DeleteFunc(t.because, func(o *modelRequest) bool { return o == r })
	}
	r.counted = nil
}

func (m *model) expect(skip string, blocked Verdict, passes []bool) *modelRequest {
	var tops []*modelNode
	for _, i := range m.turns(0) {
		tops = append(tops, m.tops[i].heap()...)
	}
	for _, top := range tops {
		if top.key == skip {
			continue
		}
		head := top.heads()[0]
		switch blocked {
		case Take:
			return head
		case Bypass:
			i := 0
			for _, r := range m.heads() {
				if r == head {
					continue
				}
				if i < len(passes) && passes[i] {
					return r
				}
				i++
			}
		default:
		}
		return nil
	}
	return nil
}

// heads are the ready users' first requests, in order of V, level by level.
func (n *modelNode) heads() (out []*modelRequest) {
	if len(n.waiting) > 0 {
		return []*modelRequest{n.head()}
	}
	for _, c := range n.heap() {
		out = append(out, c.heads()...)
	}
	return out
}
