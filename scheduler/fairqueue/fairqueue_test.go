package fairqueue

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestDepthIsBounded(t *testing.T) {
	for depth, ok := range map[int]bool{-1: false, 0: false, 1: true, 2: true, 3: true, 4: false} {
		if _, err := New(Config{Depth: depth}); (err == nil) != ok {
			t.Errorf("depth %d: %v", depth, err)
		}
	}
}

// crowd is users at one level who always have work, served in one slot.
type crowd struct {
	q      *Queue
	served map[string]int
}

func (c *crowd) push(user string, most int) {
	c.q.Push(&Request{ID: user}, []Step{{user, 1}}, User{Key: user, MaxRunning: most})
}

// TestRaisedLimitBringsNoCredit: who could not run more for a while has not saved
// up what it did not get.
func TestRaisedLimitBringsNoCredit(t *testing.T) {
	c := crowd{newQueue(1), map[string]int{}}
	others := []string{"a", "b", "c"}
	for range 2000 {
		c.push("hog", 1)
		for _, u := range others {
			c.push(u, 0)
		}
	}
	for range 1000 { // the hog's first request runs all the time
		r := c.q.Dispatch(take)
		if r.ID == "hog" && c.served["hog"] > 0 {
			t.Fatal("above its bound")
		}
		if c.served[r.ID]++; r.ID != "hog" {
			c.q.Settle(r, 600*Token)
		}
	}
	for range 400 { // what comes now, and first, may run beside it
		c.q.Push(&Request{ID: "hog", Priority: -1}, []Step{{"hog", 1}}, User{Key: "hog"})
	}
	clear(c.served)
	for range 400 {
		r := c.q.Dispatch(take)
		c.served[r.ID]++
		c.q.Settle(r, 600*Token)
	}
	for _, u := range append(others, "hog") {
		if n := c.served[u]; n < 95 || n > 105 {
			t.Errorf("%s got %d of 400 after the limit was raised", u, n)
		}
	}
}

// TestBypassLeavesTheClock: while a head waits for KV and small ones pass, the
// clock stays with it, so who comes then is not put behind those who passed.
func TestBypassLeavesTheClock(t *testing.T) {
	q := newQueue(1)
	push := func(user string) {
		q.Push(&Request{ID: user}, []Step{{user, 1}}, User{Key: user})
	}
	push("large")
	for range 100 {
		push("small")
	}
	admit := func(r *Request, bypass bool) Decision {
		if r.ID == "large" {
			return Decision{Verdict: Bypass}
		}
		return Decision{Take, 600 * Token}
	}
	for range 50 {
		q.Settle(q.Dispatch(admit), 600*Token)
	}
	for range 3 {
		push("newcomer")
	}
	var order []string
	for range 4 {
		order = append(order, q.Dispatch(take).ID)
	}
	if d := cmp.Diff([]string{"large", "newcomer", "newcomer", "newcomer"}, order); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestPassingIsBounded: of a long queue behind a blocked head only some are asked.
func TestPassingIsBounded(t *testing.T) {
	q := newQueue(1)
	for i := range 10 * mostPassing {
		u := strconv.Itoa(i)
		q.Push(&Request{ID: u}, []Step{{u, 1}}, User{Key: u})
	}
	asked := 0
	got := q.Dispatch(func(_ *Request, bypass bool) Decision {
		if bypass {
			asked++
		}
		return Decision{Verdict: Bypass}
	})
	if got != nil || asked != mostPassing {
		t.Errorf("dispatched %v, asked %d", got, asked)
	}
}

// TestFullWork: no slot stays free while somebody may start, and after a drain
// nothing is left over, whatever happened on the way.
func TestFullWork(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := newPair(t)
		t.Repeat(map[string]func(*rapid.T){
			"": p.check, "push": p.push, "progress": p.progress, "settle": p.settle, "requeue": p.requeue, "reweigh": p.reweigh,
			"dispatch": func(t *rapid.T) {
				may := len(p.m.heads()) > 0
				r := p.q.Dispatch(func(*Request, bool) Decision { return Decision{Take, Token} })
				if (r != nil) != may {
					t.Fatalf("somebody may start: %t, dispatched %v", may, r)
				}
				if r == nil {
					return
				}
				w := p.twins[r.ID].m
				p.m.dispatch(w, Token)
				p.m.settleUser(w.leaf.key, p.leaves)
				p.m.relift(w.leaf)
			},
		})
		for {
			for _, w := range p.twins {
				p.q.Settle(w.r, Token)
			}
			if p.q.Dispatch(take) == nil {
				break
			}
		}
		if s := p.q.Dump(); s.Waiting+s.Running != 0 || s.Ready || p.q.root.active != 0 || len(s.Tiers) > 0 && s.Tiers[0].Unspent != 0 {
			t.Fatalf("after a drain:\n%s", s)
		}
	})
}

// TestChargesAddUp: where nobody is lifted or clamped, V is the sum of the actual
// costs, however they were reserved, corrected and refunded on the way.
func TestChargesAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue(2)
		weight := rapid.SampledFrom([]float64{0.01, 0.3, 1, 7}).Draw(t, "weight")
		path := []Step{{"vip", 3}, {"ann", weight}}
		n := rapid.IntRange(1, 20).Draw(t, "requests")
		for range n + 1 { // the last one waits all the time
			q.Push(&Request{}, path, User{Key: "ann"})
		}
		amount := rapid.Map(rapid.IntRange(1, 1_000_000), func(i int) Cost { return Cost(i) + Token })
		var flying []*Request
		var inner, leaf int64
		for range n {
			reserve := amount.Draw(t, "reserve")
			flying = append(flying, q.Dispatch(func(*Request, bool) Decision { return Decision{Take, reserve} }))
			if rapid.Bool().Draw(t, "fault") {
				q.Requeue(flying[len(flying)-1])
				flying[len(flying)-1] = q.Dispatch(take)
			}
		}
		for _, r := range flying {
			q.Progress(r, amount.Draw(t, "so far"))
		}
		for _, r := range flying {
			actual := amount.Draw(t, "actual")
			q.Settle(r, actual)
			inner += span(actual, weightOf(3))
			leaf += span(actual, weightOf(weight))
		}
		if c := q.root.find([]string{"vip"}); c.v != inner {
			t.Errorf("class: V is %d, charges are %d", c.v, inner)
		}
		if u := q.root.find([]string{"vip", "ann"}); u.v != leaf {
			t.Errorf("user: V is %d, charges are %d", u.v, leaf)
		}
	})
}

// TestRebase: a queue whose clocks are close to the edge of an int64 serves in the
// same order as one that just began.
func TestRebase(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := newQueue(2), newQueue(2)
		b.root.shift(rebaseAt - rapid.Int64Range(1, Token*fraction/4).Draw(t, "to the edge"))
		for i := range rapid.IntRange(10, 60).Draw(t, "operations") {
			class := rapid.SampledFrom([]string{"vip", "std"}).Draw(t, "class")
			user := rapid.SampledFrom([]string{"ann", "bob"}).Draw(t, "user")
			reserve, actual := Token*Cost(rapid.IntRange(1, 9000).Draw(t, "reserve")), Token*Cost(rapid.IntRange(1, 9000).Draw(t, "actual"))
			var got []string
			for _, q := range []*Queue{a, b} {
				path := []Step{{class, 2}, {user, 0.5}}
				q.Push(&Request{ID: fmt.Sprint("r", i), AcceptedAt: time.Unix(int64(i), 0)}, path, User{Key: user})
				if i%3 == 0 {
					continue
				}
				r := q.Dispatch(func(*Request, bool) Decision { return Decision{Take, reserve} })
				got = append(got, r.ID)
				q.Settle(r, actual)
				if err := q.Check(); err != nil {
					t.Fatal(err)
				}
			}
			if len(slices.Compact(got)) > 1 {
				t.Fatalf("dispatched %v", got)
			}
		}
		if b.root.vnow > rebaseAt/2 {
			t.Fatal("not rebased")
		}
	})
}

// TestOldestAfterRequeue: what returns takes its old place among those that wait.
func TestOldestAfterRequeue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue(2)
		for i := range rapid.IntRange(2, 9).Draw(t, "requests") {
			u := rapid.SampledFrom([]string{"ann", "bob", "eve"}).Draw(t, "user")
			q.Push(&Request{AcceptedAt: time.Unix(int64(i+1), 0)}, []Step{{"vip", 1}, {u, 1}}, User{Key: u})
		}
		var flying []*Request
		for range rapid.IntRange(1, q.Len()).Draw(t, "dispatched") {
			flying = append(flying, q.Dispatch(take))
		}
		for _, r := range rapid.Permutation(flying).Draw(t, "order") {
			q.Requeue(r)
		}
		var got []int64
		for r := q.root.find([]string{"vip"}).line.front; r != nil; r = r.newer {
			got = append(got, r.AcceptedAt.Unix())
		}
		if err := q.Check(); err != nil || len(got) != q.Len() || !slices.IsSorted(got) {
			t.Fatal(got, err)
		}
		if c := q.Classes(); c[0].Oldest.Unix() != 1 {
			t.Fatalf("%+v", c)
		}
	})
}

// TestInversions: of a class that many share a member is entitled to less than one
// of a lighter class that few share.
func TestInversions(t *testing.T) {
	push := func(q *Queue, class string, weight float64, users int) (rs []*Request) {
		for i := range users {
			r, key := &Request{}, class+strconv.Itoa(i)
			path := []Step{{class, weight}, {key, 1}}
			if q.depth == 3 {
				path = []Step{{class, weight}, {class + strconv.Itoa(i%2), 1}, {key, 1}}
			}
			q.Push(r, path, User{Key: key})
			rs = append(rs, r)
		}
		return rs
	}
	for depth := 2; depth <= 3; depth++ {
		q := newQueue(depth)
		push(q, "standard", 3, 2)
		vips := push(q, "vip", 8, 4)
		if got := q.Inversions(); len(got) != 0 {
			t.Errorf("8/4 is not less than 3/2: %+v", got)
		}
		more := push(q, "vip2", 8, 8)
		want := []Inversion{{Heavy: "vip2", Light: "standard", HeavyMembers: 8, LightMembers: 2, HeavyPart: 1.0 / 19, LightPart: 1.5 / 19}}
		if d := cmp.Diff(want, q.Inversions()); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		for _, r := range append(vips, more[:4]...) {
			q.Remove(r)
		}
		if got := q.Inversions(); len(got) != 0 {
			t.Errorf("they are gone: %+v", got)
		}
	}
	q := newQueue(1)
	push(q, "a", 1, 1)
	push(q, "b", 2, 1)
	if got := q.Inversions(); len(got) != 0 {
		t.Errorf("users have no class: %+v", got)
	}
}

// TestUnknownRequestsAreLeftAlone: nothing happens to what the queue does not hold.
func TestUnknownRequestsAreLeftAlone(t *testing.T) {
	q := newQueue(2)
	r := &Request{ID: "r"}
	for range 2 {
		q.Progress(r, Token)
		q.Settle(r, Token)
		q.Requeue(r)
		q.Remove(r)
		q.Reweigh(r, 3)
		q.SetWeight([]string{"a", "b", "c", "d"}, 3)
		q.SetWeight(nil, 3)
		q.Import([]Debt{{}, {Path: []string{"a", "b", "c"}, V: 1}, {Path: []string{"a"}, V: -1}})
		if s := q.Dump(); len(s.Children) != 0 || r.InFlight() || r.Queued() || r.Charged() != 0 || r.Weights() != nil {
			t.Fatalf("%+v\n%s", r, s)
		}
	}
	q.Push(r, nil, User{Key: "a path that is too short"})
	if q.Dispatch(take) != r || q.Check() != nil {
		t.Error("a request without a path is not served")
	}
}
