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
