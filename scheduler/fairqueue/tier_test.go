package fairqueue

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// towers drives a queue of tiers in which all users always have work, and counts
// what each tier is served.
type towers struct {
	q      *Queue
	slots  int
	exact  bool
	flying []*climb
	got    []Cost // delivered, by tier
	n      int

	largest Cost // charge at dispatch, or cost (Ê)
	off     Cost // |actual − charge at dispatch| (δ)
}

type climb struct {
	r             *Request
	actual, soFar Cost
}

func drawTowers(t *rapid.T) *towers {
	floors := rapid.SliceOfN(rapid.SampledFrom([]float64{0, 0.05, 0.1, 0.3, 0.5, 0.9}), 1, 3).Draw(t, "floors")
	q, err := New(Config{Depth: 2, Floors: floors})
	if err != nil {
		t.Fatal(err)
	}
	x := &towers{q: q, slots: rapid.IntRange(1, 8).Draw(t, "slots"), exact: rapid.Bool().Draw(t, "exact"), got: make([]Cost, len(floors)+1)}
	for tier := range x.got {
		for _, user := range []string{"ann", "bob"} {
			for range x.slots + 1 {
				x.push(tier, user)
			}
		}
	}
	return x
}

// push lets one more of a user wait.
func (x *towers) push(tier int, user string) {
	x.n++
	key := fmt.Sprintf("%s%d", user, tier)
	r := &Request{ID: key, Value: user, Tier: tier}
	x.q.Push(r, []Step{{fmt.Sprintf("class%d", tier), 1}, {key, 1}}, User{Key: key})
}

// serve fills the slots; who left a queue is replaced.
func (x *towers) serve(t *rapid.T) {
	cost := rapid.Map(rapid.IntRange(1, 2000), func(i int) Cost { return Token * Cost(i) })
	for len(x.flying) < x.slots {
		reserve := cost.Draw(t, "reserve")
		actual := reserve
		if !x.exact {
			actual = cost.Draw(t, "actual")
		}
		x.start(t, reserve, actual)
	}
}

func (x *towers) start(t *rapid.T, reserve, actual Cost) {
	r := x.q.Dispatch(func(*Request, bool) Decision { return Decision{Take, reserve} })
	user, _ := r.Value.(string)
	x.largest, x.off = max(x.largest, reserve, actual), max(x.off, actual-reserve, reserve-actual)
	x.flying = append(x.flying, &climb{r: r, actual: actual})
	x.push(r.Tier, user)
	x.check(t)
}

func (x *towers) progress(t *rapid.T, i int, part float64) {
	c := x.flying[i]
	to := max(c.soFar, Token, Cost(part*float64(c.actual)))
	x.q.Progress(c.r, min(to, c.actual))
	x.count(c, min(to, c.actual))
	x.check(t)
}

func (x *towers) end(t *rapid.T, i int) {
	c := x.flying[i]
	x.flying = slices.Delete(x.flying, i, i+1)
	x.q.Settle(c.r, c.actual)
	x.count(c, c.actual)
	x.check(t)
}

func (x *towers) count(c *climb, to Cost) {
	x.got[c.r.Tier] += to - c.soFar
	c.soFar = to
}

// check: what a tier owes stays in [−Ê, K·Ê], and K·δ more where reservations are
// wrong.
func (x *towers) check(t *rapid.T) {
	k := float64(x.slots)
	slack := k*float64(x.off) + 1
	for i, tier := range x.q.upper {
		if tier.owed < -float64(x.largest)-slack || tier.owed > k*float64(x.largest)+slack {
			t.Fatalf("tier %d owes %g, with Ê %d, δ %d and %d slots", i, tier.owed, x.largest, x.off, x.slots)
		}
	}
	if err := x.q.Check(); err != nil {
		t.Fatal(err)
	}
}

// while serves until so many have ended.
func (x *towers) while(t *rapid.T, ends int) {
	for range ends {
		x.serve(t)
		if rapid.Bool().Draw(t, "partly") {
			x.progress(t, rapid.IntRange(0, len(x.flying)-1).Draw(t, "whom"), rapid.Float64Range(0, 1).Draw(t, "part"))
		}
		x.end(t, rapid.IntRange(0, len(x.flying)-1).Draw(t, "who"))
	}
}

// TestTierFloor: while all have work, those below a tier get its floor of what it
// and they are served, but for what is owed at the ends and what was in flight at
// the beginning; and not more, so that what goes first does.
func TestTierFloor(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := drawTowers(t)
		x.while(t, rapid.IntRange(0, 20).Draw(t, "before"))
		was := slices.Clone(x.got)
		x.while(t, rapid.IntRange(1, 150).Draw(t, "ends"))
		k, below := float64(x.slots), 0.0
		for i := len(x.q.upper); i >= 0; i-- {
			got := float64(x.got[i] - was[i])
			if i < len(x.q.upper) {
				floor := x.q.upper[i].floor
				bound := (2*k+1)*float64(x.largest) + 2*k*float64(x.off) + 1
				if d := below - floor*(got+below); d < -bound || d > bound {
					t.Fatalf("below tier %d got %g beside %g, %g off the floor of %g; the bound is %g", i, below, got, d, floor, bound)
				}
			}
			below += got
		}
	})
}

// TestNobodyBelowATierStarves: who waits below a floor starts after no more than
// what it takes to owe for what runs, whatever goes first.
func TestNobodyBelowATierStarves(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		floor := rapid.SampledFrom([]float64{0.02, 0.1, 0.5}).Draw(t, "floor")
		q, err := New(Config{Depth: 2, Floors: []float64{floor}})
		if err != nil {
			t.Fatal(err)
		}
		x := &towers{q: q, slots: rapid.IntRange(1, 8).Draw(t, "slots"), exact: true, got: make([]Cost, 2)}
		for range x.slots + 1 {
			x.push(0, "ann")
		}
		x.while(t, rapid.IntRange(0, 30).Draw(t, "before"))
		x.push(1, "bob")
		was := x.got[0]
		for x.got[1] == 0 {
			x.while(t, 1)
			k, e := float64(x.slots), float64(x.largest)
			if most := (k*e+e)/floor + k*e; float64(x.got[0]-was) > most {
				t.Fatalf("bob waits while the tier above got %d, more than %g", x.got[0]-was, most)
			}
		}
	})
}

// TestTierKeepsNoCredit: who had nothing while those above were served has no
// claim on it afterwards, and what is served because nobody else could is a gift.
func TestTierKeepsNoCredit(t *testing.T) {
	q, err := New(Config{Depth: 1, Floors: []float64{0.5}})
	if err != nil {
		t.Fatal(err)
	}
	push := func(tier, n int) {
		for range n {
			key := strconv.Itoa(tier)
			q.Push(&Request{ID: key, Tier: tier}, []Step{{key, 1}}, User{Key: key})
		}
	}
	order := func(n int) string {
		var out strings.Builder
		for range n {
			r := q.Dispatch(take)
			out.WriteString(r.ID)
			q.Settle(r, 600*Token)
		}
		return out.String()
	}
	push(1, 20)
	if got := order(10); got != "1111111111" {
		t.Errorf("alone: %s", got)
	}
	push(0, 20)
	if got := order(8); got != "01010101" {
		t.Errorf("what was a gift was paid for: %s", got)
	}
	if got := order(12); got != "010101010101" {
		t.Errorf("half each: %s", got)
	}
	if got := order(5); got != "00000" {
		t.Errorf("nothing waits below: %s", got)
	}
	left := &Request{ID: "1", Tier: 1}
	q.Push(left, []Step{{"1", 1}}, User{Key: "1"})
	var flying []*Request
	for range 4 {
		flying = append(flying, q.Dispatch(take))
	}
	q.Remove(left)
	for _, r := range flying {
		q.Settle(r, 600*Token)
	}
	order(1)
	push(0, 20)
	push(1, 20)
	if got := order(4); got != "0101" {
		t.Errorf("there was credit: %s", got)
	}
}

// TestBlockedTurnMakesNoDebt: those below whom headroom refuses let others go first, and those
// who pass a blocked head have no debt.
func TestBlockedTurnMakesNoDebt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := drawTowers(t)
		x.exact = true
		for range rapid.IntRange(1, 100).Draw(t, "turns") {
			if len(x.flying) == x.slots {
				x.end(t, rapid.IntRange(0, len(x.flying)-1).Draw(t, "who"))
			}
			reserve := Token * Cost(rapid.IntRange(1, 2000).Draw(t, "reserve"))
			verdict := rapid.SampledFrom([]Verdict{Take, Skip, Bypass}).Draw(t, "first")
			first := true
			r := x.q.Dispatch(func(_ *Request, bypass bool) Decision {
				if first {
					first = false
					return Decision{verdict, reserve}
				}
				return Decision{Take, reserve}
			})
			user, _ := r.Value.(string)
			x.largest = max(x.largest, reserve)
			x.flying = append(x.flying, &climb{r: r, actual: reserve})
			x.push(r.Tier, user)
			x.check(t)
		}
	})
}

func TestFloorsAreBounded(t *testing.T) {
	for _, floors := range [][]float64{{-0.1}, {1}, {0.1, 2}, make([]float64, mostTiers)} {
		if _, err := New(Config{Depth: 2, Floors: floors}); err == nil {
			t.Errorf("%v is taken", floors)
		}
	}
}
