package fairqueue

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// backlog drives one queue in which some users always have work, beside others
// that come and go, and measures the terms of the bounds as it goes.
type backlog struct {
	q      *Queue
	slots  int
	always []*customer
	others []*customer
	flying []*ride
	n      int
	exact  bool // reservations are right

	largest Cost // charge at dispatch (Ê)
	off     Cost // |actual − charge at dispatch| (δ)
	unspent Cost // charged, not yet delivered (Û)
	q0      int64
}

// customer is a user: its path, and what it got, per weight.
type customer struct {
	path    []Step
	user    User
	waiting int
	got     Cost
}

type ride struct {
	r               *Request
	of              *customer
	reserve, actual Cost
	soFar           Cost
}

func drawBacklog(t *rapid.T) *backlog {
	depth := rapid.IntRange(1, 2).Draw(t, "depth")
	q := newQueue(depth)
	b := &backlog{q: q, slots: rapid.IntRange(1, 8).Draw(t, "slots"), exact: rapid.Bool().Draw(t, "exact")}
	weight := rapid.Just(1.0)
	if rapid.Bool().Draw(t, "weighted") {
		weight = rapid.SampledFrom([]float64{0.01, 0.5, 1, 1, 3, 8, 1000})
	}
	classes := map[string]float64{"vip": weight.Draw(t, "vip"), "std": weight.Draw(t, "std")}
	for i := range 6 {
		key := fmt.Sprintf("u%d", i)
		path := []Step{{key, weight.Draw(t, key)}}
		if depth == 2 {
			class := [...]string{"vip", "std"}[i%2]
			path = append([]Step{{class, classes[class]}}, path...)
		}
		c := &customer{path: path, user: User{Key: key}}
		if i < 4 {
			b.always = append(b.always, c)
			continue
		}
		b.others = append(b.others, c)
	}
	for _, c := range b.always {
		b.push(c)
	}
	return b
}

func (b *backlog) push(c *customer) {
	b.n++
	c.waiting++
	b.q.Push(&Request{ID: fmt.Sprint("r", b.n), Value: c}, c.path, c.user)
}

func (b *backlog) dispatch(t *rapid.T) {
	if len(b.flying) >= b.slots {
		t.Skip()
	}
	reserve := Token * Cost(rapid.IntRange(1, 500).Draw(t, "reserve"))
	actual := Token * Cost(rapid.IntRange(1, 2000).Draw(t, "actual"))
	if b.exact {
		actual = reserve
	}
	b.start(t, reserve, actual)
}

func (b *backlog) start(t *rapid.T, reserve, actual Cost) {
	r := b.q.Dispatch(func(*Request, bool) Decision { return Decision{Take, reserve} })
	c := r.Value.(*customer)
	c.waiting--
	b.largest, b.off = max(b.largest, reserve), max(b.off, max(actual-reserve, reserve-actual))
	b.flying = append(b.flying, &ride{r: r, of: c, reserve: reserve, actual: actual})
	if slices.Contains(b.always, c) && c.waiting == 0 {
		t.Fatal("ran dry")
	}
}

func (b *backlog) some(t *rapid.T) *ride {
	if len(b.flying) == 0 {
		t.Skip()
	}
	return b.flying[rapid.IntRange(0, len(b.flying)-1).Draw(t, "ride")]
}

func (b *backlog) progress(t *rapid.T) {
	x := b.some(t)
	b.deliver(x, max(x.soFar, min(x.actual, Token*Cost(rapid.IntRange(1, 2000).Draw(t, "so far")))))
	b.q.Progress(x.r, x.soFar)
}

func (b *backlog) deliver(x *ride, to Cost) {
	x.of.got += to - x.soFar
	x.soFar = to
}

func (b *backlog) settle(t *rapid.T) { b.end(b.some(t)) }

func (b *backlog) end(x *ride) {
	b.flying = slices.DeleteFunc(b.flying, func(o *ride) bool { return o == x })
	b.deliver(x, x.actual)
	b.q.Settle(x.r, x.actual)
}

// while serves many in a row, so that those who are away miss something.
func (b *backlog) while(t *rapid.T) {
	cost := Token * Cost(rapid.IntRange(1, 500).Draw(t, "cost"))
	for range rapid.IntRange(1, 50).Draw(t, "turns") {
		if len(b.flying) == b.slots {
			b.end(b.flying[0])
		}
		b.start(t, cost, cost)
		b.refill()
	}
}

// refill keeps those who always have work ahead of the slots.
func (b *backlog) refill() {
	for _, c := range b.always {
		for c.waiting < 2 {
			b.push(c)
		}
	}
	b.q0 = max(b.q0, b.q.mean.span())
	for _, x := range b.flying {
		b.unspent = max(b.unspent, x.r.Charged()-x.soFar)
	}
}

// side is a node and what was delivered below it.
type side struct {
	n   *node
	got Cost
}

// siblings are the nodes of each level that are ready now.
func (b *backlog) siblings() (out [][]*node) {
	var visit func(l *level)
	visit = func(l *level) {
		var nodes []*node
		for _, n := range l.children {
			if n.standing == ready {
				nodes = append(nodes, n)
			}
			if n.below != nil {
				visit(n.below)
			}
		}
		out = append(out, nodes)
	}
	visit(&b.q.root)
	return out
}

// sides are the siblings that stay ready from beginning to end: of each class the
// users who always have work, and the classes.
func (b *backlog) sides() [][]side {
	levels, classes := map[*level][]side{}, map[*node]Cost{}
	for _, c := range slices.Concat(b.always, b.others) {
		keys := make([]string, len(c.path))
		for i, s := range c.path {
			keys[i] = s.Key
		}
		if n := b.q.root.find(keys); n != nil && slices.Contains(b.always, c) {
			levels[n.in] = append(levels[n.in], side{n, c.got})
		}
		if len(keys) > 1 {
			classes[b.q.root.find(keys[:1])] += c.got
		}
	}
	var top []side
	for _, key := range []string{"std", "vip"} {
		if n := b.q.root.find([]string{key}); n != nil {
			top = append(top, side{n, classes[n]})
		}
	}
	return append(slices.Collect(maps.Values(levels)), top)
}

// bound is B = (Ê + K·δ)/w + Q, in virtual time.
func (b *backlog) bound(w weight) float64 {
	return float64(span(b.largest, w)) + float64(b.slots)*float64(span(b.off, w)) + float64(b.q0)
}

// rounding is what the upward rounding of spans may add to a difference.
func (b *backlog) rounding() float64 { return float64(4 * (b.n + 1)) }

func (b *backlog) actions(check func(*rapid.T)) map[string]func(*rapid.T) {
	come := func(t *rapid.T) {
		b.push(b.others[rapid.IntRange(0, len(b.others)-1).Draw(t, "who comes")])
	}
	return map[string]func(*rapid.T){
		"": check, "come": come, "dispatch": b.dispatch, "next": b.dispatch, "again": b.dispatch,
		"while": b.while, "progress": b.progress, "settle": b.settle, "end": b.settle,
	}
}

// TestSiblingBound: siblings f and g that stay ready never drift apart by more
// than |V_f − V_g| ≤ (Ê + K·δ)/w + Q, w the smaller of their weights; siblings
// that come and go, while both are ready, by no more than that with the smallest
// weight of the level.
func TestSiblingBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBacklog(t)
		apart := func(t *rapid.T, f, g *node, w weight) {
			if d, bound := math.Abs(float64(f.v-g.v)), b.bound(w)+b.rounding(); d > bound {
				t.Fatalf("%s and %s are %g tokens apart, more than %g", f.key, g.key, tokens(int64(d)), tokens(int64(bound)))
			}
		}
		t.Repeat(b.actions(func(t *rapid.T) {
			b.refill()
			for _, siblings := range b.sides() {
				pairs(siblings, func(f, g side) { apart(t, f.n, g.n, min(f.n.weight, g.n.weight)) })
			}
			for _, siblings := range b.siblings() {
				least := weightOf(heaviest)
				for _, n := range siblings {
					least = min(least, n.lightestSibling())
				}
				pairs(siblings, func(f, g *node) { apart(t, f, g, least) })
			}
		}))
	})
}

func (n *node) lightestSibling() weight {
	w := n.weight
	for _, o := range n.in.children {
		w = min(w, o.weight)
	}
	return w
}

func pairs[T any](xs []T, visit func(a, b T)) {
	for i := range xs {
		for j := range i {
			visit(xs[i], xs[j])
		}
	}
}

// TestIntervalBound: over any interval in which both stay ready, what they got
// per weight differs by at most 2B + 2K·Û/w.
func TestIntervalBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBacklog(t)
		low, high := map[[2]*node]float64{}, map[[2]*node]float64{}
		t.Repeat(b.actions(func(t *rapid.T) {
			b.refill()
			for _, siblings := range b.sides() {
				pairs(siblings, func(f, g side) {
					at := [2]*node{f.n, g.n}
					d := float64(f.got)/f.n.weight.float() - float64(g.got)/g.n.weight.float()
					low[at], high[at] = min(low[at], d), max(high[at], d)
					w := min(f.n.weight, g.n.weight)
					bound := 2*b.bound(w) + 2*float64(b.slots)*float64(span(b.unspent, w)) + b.rounding()
					if got := (high[at] - low[at]) * fraction; got > bound {
						t.Fatalf("%s got %g tokens more than %s, more than %g", f.n.key, tokens(int64(got)), g.n.key, tokens(int64(bound)))
					}
				})
			}
		}))
	})
}
