package dispatcher

import (
	"math"
	"slices"
	"testing"
	"time"

	"fairlane/loadtest/simulate"
	"fairlane/scheduler/gpumodel"
)

// contest is the workload of TestTheSimulatorAgrees: all four always have work, at
// weights that differ between classes and within one.
const contest = `
seed: 1
warmup: 20s
duration: 150s
bounded: true
gpu: {slots: 16}
classes: {gold: {weight: 3}, bronze: {weight: 1}}
users:
  - {name: gold-a, class: gold, weight: 1, input: &in {min: 100, max: 300}, output: &out {min: 40, max: 160}, load: &load {outstanding: 24}}
  - {name: gold-b, class: gold, weight: 2, input: *in, output: *out, load: *load}
  - {name: bronze-a, class: bronze, weight: 1, input: *in, output: *out, load: *load}
  - {name: bronze-b, class: bronze, weight: 1, input: *in, output: *out, load: *load}`

// TestTheSimulatorAgrees with a real dispatcher, real desks and the same workload in
// fake time: what both have of each user, and how long it waits at the median. What
// differs is how progress is told, and that the house's GPU knows no steps.
func TestTheSimulatorAgrees(t *testing.T) {
	w, err := simulate.ParseWorkload([]byte(contest), "contest")
	if err != nil {
		t.Fatal(err)
	}
	said, err := simulate.Run(t.Context(), w, steady(w), simulate.Fair)
	if err != nil {
		t.Fatal(err)
	}
	classes := map[string]Class{"gold": {Weight: 3}, "bronze": {Weight: 1, Rank: 1}}
	inHouse(t, plan{classes: classes, gpus: map[string]int{gpuA: 16}}, func(h *house) {
		h.gpus[gpuA].set(func() { h.gpus[gpuA].rate = 1e9 })
		c := &competition{h: h, w: w, start: time.Now(), ended: make(chan attemptOf), rows: make([]contestant, len(w.Users))}
		c.run()
		total := 0.0
		for i := range c.rows {
			total += c.rows[i].cost
		}
		for i := range c.rows {
			slices.Sort(c.rows[i].waits)
			seen, said := &c.rows[i], &said.Rows[i]
			share, wait := seen.cost/total, seen.waits[len(seen.waits)/2].Seconds()
			if math.Abs(share/said.Share-1) > 0.03 || math.Abs(wait/said.Wait.P50-1) > 0.05 {
				t.Errorf("%s: a share of %.3f, simulated %.3f; a median wait of %.2f s, simulated %.2f s", said.Name, share, said.Share, wait, said.Wait.P50)
			}
		}
	})
}

// steady is a GPU that takes as long for each token as the house's.
func steady(w *simulate.Workload) *simulate.Setup {
	w.GPU.Model = &gpumodel.Profile{
		Name: "steady", Base: 10 * time.Millisecond, KVTokens: 1 << 20, BlockSize: 16, MaxNumSeqs: 64, PrefillBudget: 1 << 16, MaxModelLen: 4096,
	}
	return simulate.SetupOf(w)
}

// contestant is what came of a user.
type contestant struct {
	cost  float64
	waits []time.Duration
}

// attemptOf is a request that ended.
type attemptOf struct {
	who *simulate.Asker
	ask simulate.Ask
	c   *client
}

// competition plays the workload in a house.
type competition struct {
	h     *house
	w     *simulate.Workload
	start time.Time
	ended chan attemptOf
	rows  []contestant
}

func (c *competition) run() {
	flying := 0
	for _, a := range c.w.Askers() {
		for range a.User().Load.Outstanding {
			c.ask(a)
			flying++
		}
	}
	for flying > 0 {
		x := <-c.ended
		if c.count(&x) {
			c.ask(x.who)
		} else {
			flying--
		}
	}
}

func (c *competition) ask(a *simulate.Asker) {
	ask := a.Next()
	x := attemptOf{who: a, ask: ask, c: c.h.ask(wish{
		user: a.Name(), class: a.User().Class, weight: a.User().Weight, in: ask.Input, out: ask.Output, maxTokens: ask.Output,
	})}
	c.h.clients.Go(func() {
		<-x.c.done
		c.ended <- x
	})
}

// count takes what is within the time that is measured; false: that is over.
func (c *competition) count(x *attemptOf) (more bool) {
	c.h.t.Helper()
	x.c.served(c.h.t)
	from, end := c.start.Add(c.w.Warmup), c.start.Add(c.w.Warmup+c.w.Duration)
	row := &c.rows[x.who.Row()]
	if !x.c.ended.Before(from) && x.c.ended.Before(end) {
		row.cost += float64(x.ask.Input + 2*x.ask.Output)
	}
	if !x.c.asked.Before(from) && x.c.granted.Before(end) {
		row.waits = append(row.waits, x.c.granted.Sub(x.c.asked))
	}
	return time.Now().Before(end)
}
