package fairqueue

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
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

func (m *model) state() State {
	top := func(n *modelNode) State {
		s := n.state()
		s.Weight, s.Ready = 1, len(n.heap()) > 0
		return s
	}
	s := top(m.tops[len(m.tiers)])
	for i, t := range m.tiers {
		s.Tiers = append(s.Tiers, TierState{top(m.tops[i]), t.floor, t.owed / float64(Token), float64(t.unspent()) / float64(Token)})
	}
	return s
}

func (n *modelNode) state() State {
	s := State{
		Key: n.key, Weight: float64(n.weighs()) / fraction, V: tokens(n.v), Floor: tokens(n.floor), Ready: n.ready,
		Waiting: len(n.all(waitingOf)), Running: len(n.all(flyingOf)), VNow: tokens(n.vnow), Fluid: tokens(n.fluid),
	}
	for _, c := range n.children {
		s.Children = append(s.Children, c.state())
	}
	slices.SortFunc(s.Children, func(a, b State) int { return strings.Compare(a.Key, b.Key) })
	for w := slices.Clone(n.waiting); len(w) > 0; {
		h := (&modelNode{waiting: w}).head()
		s.Queue = append(s.Queue, h.id)
		w = slices.DeleteFunc(w, func(o *modelRequest) bool { return o == h })
	}
	return s
}

// pair drives a queue and the model with the same operations.
type pair struct {
	q      *Queue
	m      *model
	depth  int
	twins  map[string]*twin
	leaves []*modelNode // in order of first use: the order of a user's flows
	clocks map[string][2]float64
}

type twin struct {
	r *Request
	m *modelRequest
}

func newPair(t *rapid.T) *pair {
	depth := rapid.IntRange(1, 3).Draw(t, "depth")
	floors := rapid.SampledFrom([][]float64{nil, nil, {0.25}, {0, 0.5}}).Draw(t, "floors")
	q, err := New(Config{Depth: depth, Floors: floors})
	if err != nil {
		t.Fatal(err)
	}
	return &pair{q: q, m: newModel(floors), depth: depth, twins: map[string]*twin{}, clocks: map[string][2]float64{}}
}

func (p *pair) some(t *rapid.T, what string, ok func(*twin) bool) *twin {
	var ids []string
	for id, w := range p.twins {
		if ok(w) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		t.Skip()
	}
	slices.Sort(ids)
	return p.twins[rapid.SampledFrom(ids).Draw(t, what)]
}

func queued(w *twin) bool { return w.r.Queued() }
func flies(w *twin) bool  { return w.r.InFlight() }

func drawPath(t *rapid.T, depth int) []Step {
	weights := rapid.SampledFrom([]float64{1, 2, 3, 0.01, 8, 1000})
	names := [][]string{{"vip", "std"}, {"red", "blue"}, {"ann", "bob", "eve"}}[maxDepth-depth:]
	if depth == 2 {
		names = [][]string{{"vip", "std"}, {"ann", "bob", "eve"}}
	}
	path := make([]Step, depth)
	for i := range path {
		path[i] = Step{Key: rapid.SampledFrom(names[i]).Draw(t, "step"), Weight: weights.Draw(t, "weight")}
	}
	return path
}

func (p *pair) use(n *modelNode) {
	if !slices.Contains(p.leaves, n) {
		p.leaves = append(p.leaves, n)
	}
}

func (p *pair) push(t *rapid.T) {
	path := drawPath(t, p.depth)
	n := len(p.twins) + 1
	mr := &modelRequest{
		id: fmt.Sprintf("r%d", n), prio: rapid.IntRange(0, 1).Draw(t, "prio"), at: rapid.IntRange(0, 5).Draw(t, "at"),
		tier: rapid.IntRange(0, len(p.m.tiers)).Draw(t, "tier"), newest: rapid.Bool().Draw(t, "newest"),
		seq: rapid.IntRange(1, 3).Draw(t, "sequences"), estimate: Token * Cost(rapid.IntRange(0, 9).Draw(t, "estimate")),
	}
	u := User{Key: path[p.depth-1].Key, MaxRunning: rapid.SampledFrom([]int{0, 0, 2, 4}).Draw(t, "max")}
	r := &Request{ID: mr.id, Priority: mr.prio, AcceptedAt: time.Unix(int64(mr.at), 0), Sequences: mr.seq, Estimate: mr.estimate, Tier: mr.tier, Newest: mr.newest}
	p.twins[mr.id] = &twin{r, mr}
	p.q.Push(r, path, u)
	p.q.Push(r, path, u) // nothing happens
	mr.n = int(r.seq)
	mr.leaf, mr.max = p.m.leaf(mr, path), u.MaxRunning
	mr.leaf.waiting = append(mr.leaf.waiting, mr)
	p.use(mr.leaf)
	p.m.settleUser(u.Key, p.leaves)
}

// dispatch answers by what is drawn, and finds out from the model what has to be asked.
func (p *pair) dispatch(t *rapid.T) {
	skip := rapid.SampledFrom([]string{"", "", "vip", "ann"}).Draw(t, "skip")
	blocked := rapid.SampledFrom([]Verdict{Take, Take, Stop, Bypass}).Draw(t, "head")
	passes := rapid.SliceOfN(rapid.Bool(), 4, 4).Draw(t, "passes")
	reserve := Token * Cost(rapid.IntRange(0, 50).Draw(t, "reserve"))
	want := p.m.expect(skip, blocked, passes)
	asked := 0
	got := p.q.Dispatch(func(r *Request, bypass bool) Decision {
		switch {
		case bypass:
			if asked++; asked <= len(passes) && passes[asked-1] {
				return Decision{Take, reserve}
			}
			return Decision{Verdict: Skip}
		case r.flow.top().key == skip:
			return Decision{Verdict: Skip}
		}
		return Decision{blocked, reserve}
	})
	if got == nil || want == nil {
		if (got == nil) != (want == nil) {
			t.Fatalf("dispatched %v, want %v", got, want)
		}
		return
	}
	if got.ID != want.id {
		t.Fatalf("dispatched %s, want %s", got.ID, want.id)
	}
	p.m.dispatch(want, max(reserve, Token))
	p.m.settleUser(want.leaf.key, p.leaves)
	p.m.relift(want.leaf)
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

func (p *pair) progress(t *rapid.T) {
	w := p.some(t, "progress", flies)
	actual := Token * Cost(rapid.IntRange(1, 80).Draw(t, "so far"))
	p.q.Progress(w.r, actual)
	if actual > w.m.charged {
		p.m.charge(w.m, actual)
	}
	p.m.deliver(w.m, actual)
}

func (p *pair) settle(t *rapid.T) {
	w := p.some(t, "settle", flies)
	actual := Token * Cost(rapid.IntRange(0, 80).Draw(t, "actual"))
	p.q.Settle(w.r, actual)
	p.q.Settle(w.r, actual) // nothing happens
	actual = max(actual, Token)
	p.m.charge(w.m, actual)
	p.m.deliver(w.m, actual)
	p.m.land(w.m)
	p.m.settleUser(w.m.leaf.key, p.leaves)
	p.m.costs = append(p.m.costs, actual)
}

func (p *pair) requeue(t *rapid.T) {
	w := p.some(t, "requeue", flies)
	p.q.Requeue(w.r)
	p.m.charge(w.m, 0)
	p.m.land(w.m)
	w.m.leaf.waiting = append(w.m.leaf.waiting, w.m)
	for n := w.m.leaf; n.parent != nil && p.m.may(n) && !n.ready; n = n.parent {
		n.ready, n.kept = true, true
	}
	p.m.settleUser(w.m.leaf.key, p.leaves)
}

func (p *pair) cancel(t *rapid.T) { p.remove(p.some(t, "cancel", queued)) }

// drop ends one that no backend served.
func (p *pair) drop(t *rapid.T) {
	w := p.some(t, "drop", flies)
	p.q.Remove(w.r)
	p.q.Remove(w.r) // nothing happens
	p.m.charge(w.m, 0)
	p.m.land(w.m)
	p.m.settleUser(w.m.leaf.key, p.leaves)
}

func (p *pair) adopt(t *rapid.T) {
	w := p.some(t, "adopt", queued)
	p.remove(w)
	clear(p.clocks) // what was forgotten just now may be made anew
	path := drawPath(t, p.depth)
	u := User{Key: path[p.depth-1].Key}
	weights, charged := make([]float64, p.depth), Token*Cost(rapid.IntRange(0, 50).Draw(t, "charged"))
	for i := range weights {
		weights[i] = float64(i + 1)
		w.m.weights = append(w.m.weights, int64(i+1)*fraction)
	}
	p.q.Adopt(w.r, path, u, weights, charged)
	w.m.leaf, w.m.charged, w.m.delivered = p.m.leaf(w.m, path), charged, charged
	w.m.leaf.flying = append(w.m.leaf.flying, w.m)
	w.m.n = int(w.r.seq)
	w.m.max = 0
	p.use(w.m.leaf)
	p.m.settleUser(u.Key, p.leaves)
}

func (p *pair) remove(w *twin) {
	p.q.Remove(w.r)
	n := w.m.leaf
	n.weight = w.m.own
	n.waiting = slices.DeleteFunc(n.waiting, func(o *modelRequest) bool { return o == w.m })
	p.m.settleUser(n.key, []*modelNode{n})
	p.forget()
}

func (p *pair) weight(t *rapid.T) {
	path := drawPath(t, p.depth)
	keys := make([]string, rapid.IntRange(1, p.depth).Draw(t, "levels"))
	for i := range keys {
		keys[i] = path[i].Key
	}
	w := path[len(keys)-1].Weight
	p.q.SetWeight(keys, w)
	for _, n := range p.m.tops {
		if n = n.find(keys); n != nil {
			n.weight = int64(math.Round(w * fraction))
			for _, r := range n.waiting {
				r.own = n.weight
			}
		}
	}
}

func (p *pair) reweigh(t *rapid.T) {
	w, heavy := p.some(t, "reweigh", queued), rapid.SampledFrom([]float64{1, 5}).Draw(t, "weight")
	p.q.Reweigh(w.r, heavy)
	w.m.own = int64(math.Round(heavy * fraction))
}

func (n *modelNode) find(keys []string) *modelNode {
	for _, key := range keys {
		i := slices.IndexFunc(n.children, func(c *modelNode) bool { return c.key == key })
		if i < 0 {
			return nil
		}
		n = n.children[i]
	}
	return n
}

func (p *pair) forget() {
	for _, top := range p.m.tops {
		p.m.forget(top)
	}
	p.leaves = slices.DeleteFunc(p.leaves, func(n *modelNode) bool {
		for ; n.parent != nil; n = n.parent {
			if !slices.Contains(n.parent.children, n) {
				return true
			}
		}
		return false
	})
}

func (p *pair) check(t *rapid.T) {
	p.forget()
	if err := p.q.Check(); err != nil {
		t.Fatal(err)
	}
	want, got := p.m.state(), p.q.Dump()
	if !reflect.DeepEqual(want, got) { // cmp takes longer than all the rest
		t.Fatalf("(-model +queue):\n%s", cmp.Diff(want, got))
	}
	p.clocksOnlyGrow(t, "", got)
	for _, w := range p.twins {
		if flies(w) && w.r.Charged() != w.m.charged {
			t.Fatalf("%s: charged %d, want %d", w.m.id, w.r.Charged(), w.m.charged)
		}
		p.outlook(t, w)
	}
}

// clocksOnlyGrow as long as a node is known.
func (p *pair) clocksOnlyGrow(t *rapid.T, path string, s State) {
	seen := map[string]bool{}
	var visit func(path string, s State)
	visit = func(path string, s State) {
		seen[path] = true
		if old, ok := p.clocks[path]; ok && (s.VNow < old[0] || s.Fluid < old[1]) {
			t.Fatalf("%s: the clocks fell from %v to %v, %v", path, old, s.VNow, s.Fluid)
		}
		p.clocks[path] = [2]float64{s.VNow, s.Fluid}
		for _, c := range s.Children {
			visit(path+"/"+c.Key, c)
		}
	}
	for i, tier := range s.Tiers {
		visit(fmt.Sprint(i, path), tier.State)
	}
	visit(path, s)
	for path := range p.clocks {
		if !seen[path] {
			delete(p.clocks, path)
		}
	}
}

// outlook compares with what a look at the whole flow tells.
func (p *pair) outlook(t *rapid.T, w *twin) {
	o := p.q.Outlook(w.r)
	if !queued(w) {
		if o != (Outlook{}) {
			t.Fatalf("%s does not wait, yet %+v", w.m.id, o)
		}
		return
	}
	rest, ahead, cost := slices.Clone(w.m.leaf.waiting), 0, Cost(0)
	for {
		h := (&modelNode{waiting: rest}).head()
		if h == w.m {
			break
		}
		ahead, cost = ahead+1, cost+h.estimate
		rest = slices.DeleteFunc(rest, func(r *modelRequest) bool { return r == h })
	}
	if o.AheadInFlow != ahead || o.AheadCost != cost || o.Lag < 0 || o.Share <= 0 || o.Share > 1 {
		t.Fatalf("%s: %+v, want %d of %d ahead", w.m.id, o, ahead, cost)
	}
	if heads := p.m.heads(); len(heads) > 0 && (o.Position == 1) != (heads[0] == w.m) && heads[0] == w.m {
		t.Fatalf("%s is next and has position %d", w.m.id, o.Position)
	}
	if o.Position < 1+ahead || o.Position > p.q.Len() {
		t.Fatalf("%s: position %d with %d ahead of %d", w.m.id, o.Position, ahead, p.q.Len())
	}
}

// TestModel: whatever happens, the queue is in the state that the plain
// algorithm is in.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := newPair(t)
		t.Repeat(map[string]func(*rapid.T){
			"":         p.check,
			"push":     p.push,
			"push2":    p.push,
			"push3":    p.push,
			"dispatch": p.dispatch,
			"next":     p.dispatch,
			"progress": p.progress,
			"settle":   p.settle,
			"requeue":  p.requeue,
			"cancel":   p.cancel,
			"drop":     p.drop,
			"adopt":    p.adopt,
			"weight":   p.weight,
			"reweigh":  p.reweigh,
		})
	})
}
