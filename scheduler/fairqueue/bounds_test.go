package fairqueue

import (
	"fmt"
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
	b := &backlog{q: q, slots: rapid.IntRange(1, 8).Draw(t, "slots")}
	weight := rapid.SampledFrom([]float64{0.01, 0.5, 1, 1, 3, 8, 1000})
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

func (b *backlog) settle(t *rapid.T) {
	x := b.some(t)
	b.flying = slices.DeleteFunc(b.flying, func(o *ride) bool { return o == x })
	b.deliver(x, x.actual)
	b.q.Settle(x.r, x.actual)
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

// sides are the pairs of siblings that stay ready: users of one class, and the
// classes. got is what was delivered below.
type side struct {
	n   *node
	got Cost
}

func (b *backlog) sides() [][]side {
	levels := map[*level][]side{}
	for _, c := range b.always {
		keys := make([]string, len(c.path))
		for i, s := range c.path {
			keys[i] = s.Key
		}
		n := b.q.find(keys)
		levels[n.in] = append(levels[n.in], side{n, c.got})
	}
	var out [][]side
	var classes []side
	for l, users := range levels {
		out = append(out, users)
		if l.owner == nil {
			continue
		}
		got := Cost(0)
		for _, c := range slices.Concat(b.always, b.others) {
			if c.path[0].Key == l.owner.key {
				got += c.got
			}
		}
		classes = append(classes, side{l.owner, got})
	}
	return append(out, classes)
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
		"progress": b.progress, "settle": b.settle, "end": b.settle,
	}
}

// TestSiblingBound: siblings f and g that stay ready never drift apart by more
// than |V_f − V_g| ≤ (Ê + K·δ)/w + Q.
func TestSiblingBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBacklog(t)
		t.Repeat(b.actions(func(t *rapid.T) {
			b.refill()
			for _, siblings := range b.sides() {
				for _, f := range siblings {
					for _, g := range siblings {
						bound := b.bound(min(f.n.weight, g.n.weight)) + b.rounding()
						if d := math.Abs(float64(f.n.v - g.n.v)); d > bound {
							t.Fatalf("%s and %s are %g tokens apart, more than %g", f.n.key, g.n.key, tokens(int64(d)), tokens(int64(bound)))
						}
					}
				}
			}
		}))
	})
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
				for _, f := range siblings {
					for _, g := range siblings {
						at := [2]*node{f.n, g.n}
						d := float64(f.got)/f.n.weight.float() - float64(g.got)/g.n.weight.float()
						low[at], high[at] = min(low[at], d), max(high[at], d)
						w := min(f.n.weight, g.n.weight)
						bound := 2*b.bound(w) + 2*float64(b.slots)*float64(span(b.unspent, w)) + b.rounding()
						if got := (high[at] - low[at]) * fraction; got > bound {
							t.Fatalf("%s got %g tokens more than %s, more than %g", f.n.key, tokens(int64(got)), g.n.key, tokens(int64(bound)))
						}
					}
				}
			}
		}))
	})
}
