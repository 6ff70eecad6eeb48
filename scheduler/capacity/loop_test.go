package capacity

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"fairlane/scheduler/gpumodel"
)

// loop is a pool in front of one engine of the GPU model on virtual time, with
// more work than fits: a queue of one user, served in order, small ones past a
// large one as Fit allows.
type loop struct {
	pool    *Pool
	b       *Backend
	engine  *gpumodel.Engine
	rand    *rand.Rand
	now     time.Time
	queue   []work
	runs    map[uint64]*served
	mean    map[bool]float64 // output of what is long, and of what is not
	next    uint64
	metrics func(time.Time) bool // whether a scrape works

	done, preempted int
	tokens          int
	waiting         float64 // in the engine's own queue, summed over samples
	samples         int
	usage           float64
}

type work struct {
	id             uint64
	long           bool
	prompt, output int
}

type served struct {
	work
	*Hold
}

func newLoop(t *testing.T, seed uint64, cfg Config) *loop {
	t.Helper()
	e, err := gpumodel.New(gpumodel.Config{Profile: gpumodel.A100()})
	if err != nil {
		t.Fatal(err)
	}
	p := NewPool(cfg)
	l := &loop{
		pool: p, b: p.Backends()[0], engine: e, rand: rand.New(rand.NewPCG(seed, 5)), now: epoch(),
		runs: map[uint64]*served{}, mean: map[bool]float64{true: 256, false: 256}, metrics: func(time.Time) bool { return true },
	}
	l.b.Up(l.now)
	return l
}

// draw is one request of the long-context mix: a tenth are long, outputs have a
// heavy tail.
func (l *loop) draw() work {
	l.next++
	w := work{id: l.next, long: l.rand.IntN(10) == 0, prompt: 500 + l.rand.IntN(3000)}
	mean := 6.2
	if w.long {
		w.prompt, mean = 20_000+l.rand.IntN(40_000), 7
	}
	w.output = min(int(math.Exp(mean+0.8*l.rand.NormFloat64()))+1, 8000)
	return w
}

func (w *work) demand(mean float64) Demand {
	return Demand{Sequences: 1, Input: w.prompt, Expected: int(mean), Stream: true}
}

// fill starts what fits: the head, then what may pass it.
func (l *loop) fill(t *testing.T) {
	t.Helper()
	for i, looked := 0, 0; looked < 64; {
		for len(l.queue) <= i {
			l.queue = append(l.queue, l.draw())
		}
		w := l.queue[i]
		d := w.demand(l.mean[w.long])
		switch b, v := l.pool.Fit(l.now, d, i == 0); {
		case v == Fits:
			if err := l.engine.Add(gpumodel.Request{ID: w.id, Prompt: w.prompt, Output: w.output}); err != nil {
				t.Fatal(err)
			}
			l.runs[w.id] = &served{w, b.Take(l.now, d)}
			l.queue = append(l.queue[:i], l.queue[i+1:]...)
			i = 0
		case v == NoKV:
			i++
			looked++
		case i > 0:
			i++
			looked++
		default:
			return
		}
	}
}

// run lets the loop go on for a while.
func (l *loop) run(t *testing.T, d time.Duration) {
	t.Helper()
	end, scrape := l.now.Add(d), l.now
	for l.now.Before(end) {
		l.fill(t)
		s := l.engine.Step()
		l.now = l.now.Add(max(s.Took, time.Millisecond))
		for _, e := range s.Events {
			l.event(e)
		}
		if !l.now.Before(scrape) {
			scrape = scrape.Add(time.Second)
			l.sample()
		}
	}
}

func (l *loop) event(e gpumodel.Event) {
	r := l.runs[e.ID]
	switch e.Kind {
	case gpumodel.Token:
		l.tokens++
		if e.Generated == 1 {
			r.FirstToken(l.now)
		} else if e.Generated%32 == 0 {
			r.Progress(l.now, e.Generated)
		}
	case gpumodel.Finished:
		l.done++
		l.mean[r.long] += (float64(r.output) - l.mean[r.long]) / 16
		r.Release(l.now, true)
		l.b.Success(l.now)
		delete(l.runs, e.ID)
	case gpumodel.Preempted:
		l.preempted++
	case gpumodel.Scheduled:
	}
}

func (l *loop) sample() {
	s := l.engine.Stats()
	l.waiting += float64(s.Waiting)
	usage := float64(s.KVUsed) / float64(s.KVBlocks)
	l.usage += usage
	l.samples++
	if l.metrics(l.now) {
		l.b.Observe(l.now, Sample{
			At: l.now, Running: s.Running, Waiting: s.Waiting, KVUsage: usage,
			Preemptions: float64(s.Preemptions), KVTokens: gpumodel.A100().KVTokens, BlockSize: 16,
		})
	}
}

// figures of a run, from when the counts began anew.
type figures struct{ rate, preemptions, queued, usage float64 }

// measure warms up and then counts.
func (l *loop) measure(t *testing.T, warm, d time.Duration) figures {
	t.Helper()
	l.run(t, warm)
	l.done, l.preempted, l.tokens, l.waiting, l.samples, l.usage = 0, 0, 0, 0, 0, 0
	l.run(t, d)
	return figures{
		rate: float64(l.tokens) / d.Seconds(), preemptions: 100 * float64(l.preempted) / float64(max(l.done, 1)),
		queued: l.waiting / float64(l.samples), usage: l.usage / float64(l.samples),
	}
}

func one(c BackendConfig) Config {
	c.URL = "gpu"
	return Config{Backends: []BackendConfig{c}}
}

// blind is a pool without a budget of KV: its slots alone bound what runs.
func blind(t *testing.T, seed uint64, slots int) *loop {
	t.Helper()
	cfg := one(BackendConfig{Slots: slots})
	cfg.Fixed = true
	l := newLoop(t, seed, cfg)
	l.b.beta = 1000
	return l
}

// TestBudgetAgainstTheEngine serves the long-context mix from a backlog that never
// ends: with the budget next to nothing is preempted, with slots alone a great
// part is; and what is generated is at least what the best fixed cap gets, which
// nobody knows beforehand and which is another one for another mix.
func TestBudgetAgainstTheEngine(t *testing.T) {
	const warm, span = 120 * time.Second, 300 * time.Second
	for seed := range uint64(3) {
		best, most := figures{}, 0
		for _, slots := range []int{32, 48, 64, 80, 96, 128} {
			if f := blind(t, seed, slots).measure(t, warm, span); f.queued < 0.5 && f.rate > best.rate {
				best, most = f, slots
			}
		}
		off := blind(t, seed, 256).measure(t, warm, span)
		l := newLoop(t, seed, one(BackendConfig{Slots: 256}))
		on := l.measure(t, warm, span)
		t.Logf("best fixed cap %d: %+v", most, best)
		t.Logf("slots alone: %+v", off)
		t.Logf("budget, beta %.3f, rho %.2f: %+v", l.b.beta, l.b.rho, on)
		if on.rate < best.rate || on.preemptions > 6 || on.queued > 0.5 {
			t.Errorf("%+v, and the fixed cap %d gets %+v", on, most, best)
		}
		if off.preemptions < 20 {
			t.Errorf("the mix is no test: %+v without a budget", off)
		}
	}
}

// TestAnHour: with slots that bind, beta does not creep up, and the engine's own
// queue stays empty when the long ones come.
func TestAnHour(t *testing.T) {
	if testing.Short() {
		t.Skip("an hour of virtual time")
	}
	l := newLoop(t, 1, one(BackendConfig{Slots: 24}))
	l.run(t, time.Hour)
	if l.b.beta > firstBeta {
		t.Errorf("beta %.3f while slots bind", l.b.beta)
	}
	l.pool.Configure(one(BackendConfig{Slots: 256}))
	if f := l.measure(t, 0, 300*time.Second); f.queued > 0.5 || f.preemptions > 6 {
		t.Errorf("%+v", f)
	}
}

// TestMetricsThatVanish, freeze or begin anew stop nothing: at least half of what was
// generated goes on to be, whatever the mix of the moment is.
func TestMetricsThatVanish(t *testing.T) {
	l := newLoop(t, 2, one(BackendConfig{Slots: 256}))
	before := l.measure(t, 120*time.Second, 180*time.Second)
	beta := l.b.beta
	l.metrics = func(time.Time) bool { return false }
	after := l.measure(t, 0, 180*time.Second)
	if l.b.beta != beta || after.rate < before.rate/2 {
		t.Errorf("before %+v, after %+v, beta %.3f then %.3f", before, after, beta, l.b.beta)
	}
	frozen := l.b.seen
	idle := Sample{KVTokens: frozen.KVTokens, BlockSize: 16, Preemptions: frozen.Preemptions}
	for _, what := range []Sample{frozen, idle, {Waiting: 9, Running: 3, KVUsage: 0.99, KVTokens: frozen.KVTokens, BlockSize: 16, Preemptions: frozen.Preemptions}} {
		freeze := what
		freeze.At = l.now.Add(time.Millisecond) // the last one came just now
		l.b.Observe(freeze.At, freeze)
		beta, rho := l.b.beta, l.b.rho
		l.metrics = func(now time.Time) bool {
			freeze.At = now
			l.b.Observe(now, freeze)
			return false
		}
		after = l.measure(t, 0, 900*time.Second)
		if after.rate < before.rate/2 || l.b.beta != beta || l.b.rho != rho {
			t.Errorf("before %+v, frozen %+v, beta %.3f then %.3f, rho %.3f then %.3f", before, after, beta, l.b.beta, rho, l.b.rho)
		}
	}
	l.metrics = func(time.Time) bool { return true }
	if after = l.measure(t, 200*time.Second, 180*time.Second); after.rate < before.rate/2 {
		t.Errorf("before %+v, in the end %+v, beta %.3f", before, after, l.b.beta)
	}
}
