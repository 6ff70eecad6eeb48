package fairqueue

import (
	"container/heap"
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// arrival is a request in a simulated day: who, when, how much.
type arrival struct {
	user   string
	weight float64
	at     float64 // seconds
	cost   float64 // tokens
}

// fluid is the oracle: a server of capacity c tokens a second that serves all
// users who have work at once, each in proportion to its weight, and each user's
// requests one after the other (generalised processor sharing: Parekh and
// Gallager, 1993). It knows nothing of the queue under test. finished returns when
// each request is done.
func fluid(c float64, arrivals []arrival) []float64 {
	type user struct {
		weight, left float64 // left of the first of its jobs
		jobs         []int
	}
	users := map[string]*user{}
	finished := make([]float64, len(arrivals))
	now, next := 0.0, 0
	var busy []*user
	for next < len(arrivals) || len(busy) > 0 {
		sum, until := 0.0, math.Inf(1) // the next arrival or end
		for _, u := range busy {
			sum += u.weight
		}
		for _, u := range busy {
			until = min(until, now+u.left*sum/(c*u.weight))
		}
		if next < len(arrivals) {
			until = min(until, arrivals[next].at)
		}
		for _, u := range busy {
			u.left -= (until - now) * c * u.weight / sum
		}
		now = until
		busy = slices.DeleteFunc(busy, func(u *user) bool {
			if u.left > 1e-9 {
				return false
			}
			finished[u.jobs[0]] = now
			if u.jobs = u.jobs[1:]; len(u.jobs) == 0 {
				return true
			}
			u.left = arrivals[u.jobs[0]].cost
			return false
		})
		for next < len(arrivals) && arrivals[next].at <= now {
			a := &arrivals[next]
			u := users[a.user]
			if u == nil {
				u = &user{}
				users[a.user] = u
			}
			u.weight = a.weight
			if len(u.jobs) == 0 {
				u.left = a.cost
				busy = append(busy, u)
			}
			u.jobs = append(u.jobs, next)
			next++
		}
	}
	return finished
}

// ends is the running requests by when they end.
type ends []*ending

type ending struct {
	r  *Request
	at float64
}

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].at < e[j].at }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(x any)        { *e = append(*e, x.(*ending)) }
func (e *ends) Pop() any {
	x := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return x
}

// day is a simulated server: slots of equal speed, c tokens a second together.
type day struct {
	q        *Queue
	slots    int
	c        float64
	arrivals []arrival
	started  []float64 // NaN: not yet
	active   []float64 // greatest sum of active weights while it waited
	sums     []float64 // sum of active weights after each arrival so far; between two it only falls
	running  ends
	mean     float64 // greatest Q so far, in tokens
}

func newDay(slots int, c float64, arrivals []arrival) *day {
	q := newQueue(1)
	d := &day{q: q, slots: slots, c: c, arrivals: arrivals, started: make([]float64, len(arrivals)), active: make([]float64, len(arrivals))}
	for i := range d.started {
		d.started[i] = math.NaN()
	}
	return d
}

// run simulates until the given second. Reservations are exact: δ is 0.
func (d *day) run(until float64) {
	next := 0
	for now := 0.0; now <= until; {
		d.fill(now)
		now = math.Inf(1)
		if next < len(d.arrivals) {
			now = d.arrivals[next].at
		}
		if len(d.running) > 0 && d.running[0].at <= now {
			e := heap.Pop(&d.running).(*ending)
			now = e.at
			d.q.Settle(e.r, d.cost(e.r))
			d.mean = max(d.mean, tokens(d.q.mean.span()))
			continue
		}
		if next == len(d.arrivals) {
			return
		}
		a := d.arrivals[next]
		r := &Request{ID: strconv.Itoa(next), Value: next}
		d.q.Push(r, []Step{{a.user, a.weight}}, User{Key: a.user})
		d.sums = append(d.sums, d.q.root.active.float())
		next++
	}
}

func (d *day) cost(r *Request) Cost {
	return Cost(math.Ceil(d.arrivals[r.Value.(int)].cost * float64(Token)))
}

func (d *day) fill(now float64) {
	for len(d.running) < d.slots {
		r := d.q.Dispatch(func(r *Request, _ bool) Decision { return Decision{Take, d.cost(r)} })
		if r == nil {
			return
		}
		i := r.Value.(int)
		d.started[i], d.active[i] = now, slices.Max(d.sums[i:])
		heap.Push(&d.running, &ending{r, now + d.arrivals[i].cost*float64(d.slots)/d.c})
	}
}

// judge returns the greatest of (what a request waited) − 2·(its fluid time) − B,
// where B is the siblings' bound in seconds: as long as everybody active takes to
// get B. It is at most 0 if the queue is right. Who had not started at the end
// waited at least until then.
func (d *day) judge(until float64) (worst float64, who int) {
	finished := fluid(d.c, d.arrivals)
	largest := 0.0
	for _, a := range d.arrivals {
		largest = max(largest, a.cost)
	}
	worst = math.Inf(-1)
	for i, a := range d.arrivals {
		active, start := d.active[i], d.started[i]
		if math.IsNaN(start) {
			active, start = slices.Max(d.sums[i:]), until
		}
		b := (largest/a.weight + d.mean) * active / d.c
		if x := start - a.at - 2*(finished[i]-a.at) - b; x > worst {
			worst, who = x, i
		}
	}
	return worst, who
}

// newcomers is a stream of users with one request each, and a few who stay and
// ask for little.
func newcomers(rate, seconds, light float64) []arrival {
	var out []arrival
	for i := range int(rate * seconds) {
		out = append(out, arrival{user: fmt.Sprintf("new%05d", i), weight: 1, at: float64(i) / rate, cost: 100})
	}
	for i := range int(light * seconds) {
		out = append(out, arrival{user: "steady", weight: 1, at: (float64(i) + 0.5) / light, cost: 100})
	}
	slices.SortStableFunc(out, func(a, b arrival) int {
		if a.at < b.at {
			return -1
		}
		return 1
	})
	return out
}

// TestNewcomersDoNotFreezeTheClock: one request an IP address, at 1.1 × capacity,
// beside a user who asks for 0.6 % of it.
func TestNewcomersDoNotFreezeTheClock(t *testing.T) {
	t.Parallel()
	const slots, c, seconds = 8, 1000.0, 600.0
	d := newDay(slots, c, newcomers(11, seconds, 0.06))
	d.run(seconds)
	served, asked := 0, 0
	for i, a := range d.arrivals {
		if a.user == "steady" {
			asked++
			if d.started[i] <= seconds {
				served++
			}
		}
	}
	t.Logf("%d of %d requests of the steady user started", served, asked)
	if served < asked/4 {
		t.Errorf("%d of %d requests of the steady user started", served, asked)
	}
	if worst, who := d.judge(seconds); worst > 0 {
		t.Errorf("request %d of %s started %g s later than twice its fluid time + B", who, d.arrivals[who].user, worst)
	}
}

// TestFluidMaxMin: whoever comes and goes, every request starts within twice its
// fluid time + B.
func TestFluidMaxMin(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const c, seconds = 1000.0, 60.0
		over := rapid.Float64Range(0.3, 1.5).Draw(t, "load")
		weight := rapid.SampledFrom([]float64{0.5, 1, 2, 4})
		var arrivals []arrival
		for at, i := 0.0, 0; at < seconds; i++ {
			cost := rapid.Float64Range(10, 300).Draw(t, "cost")
			at += cost / c / over
			a := arrival{user: fmt.Sprintf("new%d", i), weight: weight.Draw(t, "weight"), at: at, cost: cost}
			if back := rapid.IntRange(0, 9).Draw(t, "known"); back < 3 {
				a.user, a.weight = fmt.Sprintf("known%d", back), float64(back+1)
			}
			arrivals = append(arrivals, a)
		}
		d := newDay(rapid.IntRange(1, 8).Draw(t, "slots"), c, arrivals)
		d.run(math.Inf(1))
		if worst, who := d.judge(math.Inf(1)); worst > 0 {
			t.Fatalf("request %d of %s started %g s later than twice its fluid time + B", who, d.arrivals[who].user, worst)
		}
		if n := d.q.Len(); n != 0 {
			t.Fatalf("%d were never served", n)
		}
	})
}
