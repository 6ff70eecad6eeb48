package capacity

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world drives a pool at random and keeps its own books.
type world struct {
	now   time.Time
	pool  *Pool
	holds []*booked
}

// booked is what the world knows of a hold by itself.
type booked struct {
	*Hold
	d         Demand
	block     int
	generated int
}

func (w *world) demand(t *rapid.T) Demand {
	return Demand{
		Sequences: rapid.SampledFrom([]int{1, 1, 1, 2, 4, 9, -1}).Draw(t, "sequences"),
		Input:     rapid.SampledFrom([]int{0, 10, 300, 2000, 9000, 40000, 1 << 40, -5}).Draw(t, "input"),
		Cached:    rapid.SampledFrom([]int{-10, 0, 1000, 40000}).Draw(t, "cached"),
		Expected:  rapid.SampledFrom([]int{0, 16, 500, 4000}).Draw(t, "expected"),
		Stream:    rapid.Bool().Draw(t, "stream"),
		Group:     rapid.Uint64Range(0, 3).Draw(t, "group"),
		Chat:      rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "chat"),
		Alone:     rapid.IntRange(0, 9).Draw(t, "alone") == 0,
		Avoid:     rapid.SampledFrom([]string{"", "a"}).Draw(t, "avoid"),
		Faulted:   rapid.Bool().Draw(t, "faulted"),
	}
}

// start asks, and takes what fits; it checks what must be true of the answer.
func (w *world) start(t *rapid.T, d Demand, head bool) {
	b, v := w.pool.Fit(w.now, d, head)
	if v != Fits {
		if b != nil || v < Never || v > Fits {
			t.Fatalf("%v with a backend %v", v, b)
		}
		return
	}
	passes := !head && w.pool.head.reserves(b)
	running, limit := b.running, b.limit()
	if d.Faulted && b.breaker.tripped && b.breaker.late.covers(w.now) {
		t.Fatal("what has faulted probes")
	}
	h := b.Take(w.now, d)
	w.holds = append(w.holds, &booked{Hold: h, d: d, block: b.block})
	budget := b.beta * float64(b.kvTokens) / b.rho
	switch {
	case !b.up || b.draining || b.busy.covers(w.now) || b.breaker.open.covers(w.now):
		t.Fatalf("started on a backend that takes nothing")
	case passes && (budget == 0 || float64(b.ledger.passed) > budget/10 || float64(h.est) > budget/20):
		t.Fatalf("%d passed into a slack of a tenth of %.0f, %d in all", h.est, budget, b.ledger.passed)
	case passes && b.running+w.pool.head.sequences > limit:
		t.Fatalf("%d run of %d, and the head needs %d", b.running, limit, w.pool.head.sequences)
	case passes && w.pool.head.idle:
		t.Fatal("joined what has to become idle")
	case running == 0: // whatever can ever fit
	case b.running > limit:
		t.Fatalf("%d run of %d", b.running, limit)
	case budget > 0 && float64(b.ledger.held) > budget:
		t.Fatalf("%d held of %.0f", b.ledger.held, budget)
	case b.alone > 0:
		t.Fatal("joined a suspect, or a suspect joined others")
	case b.prefill.pending > h.uncached && float64(b.prefill.pending) > b.prefill.rate:
		t.Fatalf("%d pending of %.0f", b.prefill.pending, b.prefill.rate)
	}
}

func (w *world) starts(t *rapid.T) {
	for range rapid.IntRange(1, 6).Draw(t, "starts") {
		w.start(t, w.demand(t), rapid.Bool().Draw(t, "head"))
	}
}

// pass lets small requests try to pass a large head.
func (w *world) pass(t *rapid.T) {
	large := rapid.SampledFrom([]int{6000, 15000, 25000}).Draw(t, "large")
	w.start(t, Demand{Sequences: rapid.IntRange(1, 3).Draw(t, "sequences"), Input: large, Cached: large, Expected: 10}, true)
	for range rapid.IntRange(1, 6).Draw(t, "small") {
		n := rapid.IntRange(1, 2000).Draw(t, "small")
		w.start(t, Demand{Input: n, Cached: n, Expected: 100, Stream: true}, false)
	}
}

func (w *world) health(t *rapid.T) {
	b := w.anyBackend(t)
	switch rapid.SampledFrom([]string{"up", "up", "up", "down", "busy", "fault", "faults", "success", "success", "answered"}).Draw(t, "health") {
	case "up":
		for _, b := range w.pool.Backends() {
			b.Up(w.now)
		}
	case "down":
		b.Down(w.now)
	case "busy":
		b.Busy(w.now)
	case "fault":
		b.Fault(w.now)
	case "faults":
		for range faultsToTrip {
			b.Fault(w.now)
		}
	case "success":
		b.Success(w.now)
	case "answered":
		if b.Answered(w.now); b.why() == "failed several times in a row" {
			t.Fatal("it answered, and gets nothing")
		}
	}
}

func (w *world) any(t *rapid.T) *booked {
	if len(w.holds) == 0 {
		t.Skip("nothing runs")
	}
	return w.holds[rapid.IntRange(0, len(w.holds)-1).Draw(t, "hold")]
}

func (w *world) anyBackend(t *rapid.T) *Backend {
	bs := w.pool.Backends()
	if len(bs) == 0 {
		t.Skip("no backend")
	}
	return bs[rapid.IntRange(0, len(bs)-1).Draw(t, "backend")]
}

func (w *world) release(t *rapid.T) {
	x := w.any(t)
	x.Release(w.now, rapid.Bool().Draw(t, "completed"))
	w.holds = slices.DeleteFunc(w.holds, func(y *booked) bool { return y == x })
	x.Release(w.now, true)
	x.Progress(w.now, 1<<30)
	x.FirstToken(w.now)
}

func (w *world) progress(t *rapid.T) {
	x := w.any(t)
	n := rapid.IntRange(-10, 10000).Draw(t, "generated")
	x.generated = max(x.generated, n)
	x.Progress(w.now, n)
}

func (w *world) observe(t *rapid.T) {
	w.anyBackend(t).Observe(w.now, Sample{
		At: w.now, Running: rapid.IntRange(0, 20).Draw(t, "running"), Waiting: rapid.IntRange(0, 4).Draw(t, "waiting"),
		Preemptions: float64(rapid.IntRange(0, 3).Draw(t, "preemptions")),
		KVUsage:     rapid.Float64Range(-1, 2).Draw(t, "usage"),
		KVTokens:    rapid.SampledFrom([]int{0, 8192, 40000, 100000}).Draw(t, "kv"), BlockSize: rapid.SampledFrom([]int{0, 1, 16, 528}).Draw(t, "block"),
		PrefixCache: rapid.Bool().Draw(t, "prefix"),
	})
}

func (w *world) configure(t *rapid.T) {
	cfg := Config{
		Fixed: rapid.Bool().Draw(t, "fixed"), Anywhere: rapid.Bool().Draw(t, "anywhere"),
		ITL: rapid.SampledFrom([]time.Duration{0, time.Millisecond, time.Second}).Draw(t, "itl"),
	}
	for _, url := range []string{"a", "b", "c"} {
		if rapid.IntRange(0, 5).Draw(t, "there") > 0 {
			cfg.Backends = append(cfg.Backends, BackendConfig{
				URL: url, Draining: rapid.IntRange(0, 9).Draw(t, "drains") == 0,
				Slots: rapid.SampledFrom([]int{0, 0, 3, 12, 64}).Draw(t, "slots"), KVTokens: rapid.SampledFrom([]int{0, 50000, 50000, 50000}).Draw(t, "kv"),
			})
		}
	}
	w.pool.Configure(cfg)
	for _, b := range w.pool.Backends() {
		if !b.met {
			b.Up(w.now)
		}
	}
}

// advance moves the clock, sometimes back.
func (w *world) advance(t *rapid.T) {
	w.now = w.now.Add(time.Duration(rapid.SampledFrom([]int{1, 5, 100, 1000, 5000, 40000, -1, -60000}).Draw(t, "ms")) * time.Millisecond)
}

// check holds the pool's sums against what the world's own books say.
func (w *world) check(t *rapid.T) {
	if err := w.pool.audit(); err != nil {
		t.Fatal(err)
	}
	if at := w.pool.Wake(w.now); !at.IsZero() && !at.After(w.now) {
		t.Fatalf("wakes %v ago", w.now.Sub(at))
	}
	type sums struct{ running, held, pending int }
	want := map[*Backend]sums{}
	groups := map[string]bool{}
	for _, x := range w.holds {
		s := want[x.backend]
		n := max(x.d.Sequences, 1)
		s.running += n
		s.held += n * (up(x.block, max(per(min(max(x.d.Input, 0), 1<<32), n)-x.shared, 0)) + x.outputs(n))
		if key := fmt.Sprint(x.backend.url, x.group); x.group != 0 && !groups[key] {
			groups[key] = true
			s.held += x.shared
		}
		if !x.prefilled {
			s.pending += x.uncached
		}
		want[x.backend] = s
	}
	for _, b := range w.pool.Backends() {
		if got := (sums{b.running, b.ledger.held, b.prefill.pending}); got != want[b] {
			t.Fatalf("%s: %+v, want %+v", b.url, got, want[b])
		}
		if !b.listed && b.running == 0 {
			t.Fatalf("%s drained and was kept", b.url)
		}
	}
}

// outputs is the KV of one sequence's output: what is there, and half of what comes.
func (x *booked) outputs(n int) int {
	e, g := max(x.d.Expected, 0), x.generated/n
	return up(x.block, g+max(e-g, per(e, 4))/2)
}

func up(block, n int) int {
	for n%block != 0 {
		n++
	}
	return n
}

func per(n, d int) int {
	if n%d == 0 {
		return n / d
	}
	return n/d + 1
}

// TestBooks drives a pool at random: the sums are right after every step, what
// starts was allowed to, and when all has ended nothing is left.
func TestBooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{now: epoch(), pool: NewPool(Config{})}
		w.configure(t)
		t.Repeat(map[string]func(*rapid.T){
			"start": w.starts, "start more": w.starts, "pass": w.pass, "pass again": w.pass,
			"release": w.release, "progress": w.progress, "health": w.health,
			"first":   func(t *rapid.T) { w.any(t).FirstToken(w.now) },
			"advance": w.advance, "observe": w.observe, "configure": w.configure,
			"learn": func(t *rapid.T) {
				w.pool.Learn(rapid.Uint64Range(0, 3).Draw(t, "group"), rapid.IntRange(-1, 5000).Draw(t, "cached"))
			},
			"": w.check,
		})
		for _, x := range w.holds {
			x.Release(w.now, true)
		}
		w.holds = nil
		w.check(t)
	})
}

// TestBlockedHeadIsServed floods the backends with small requests while a head
// does not fit: when what ran before it on its backend has ended, it starts.
func TestBlockedHeadIsServed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := epoch()
		p := NewPool(Config{Backends: []BackendConfig{{URL: "a", Slots: 16, KVTokens: 20000}, {URL: "b", Slots: 16, KVTokens: 20000}}})
		for _, b := range p.Backends() {
			b.Up(now)
		}
		small := Demand{Sequences: 1, Input: 100, Cached: 100, Expected: 200, Stream: true}
		var before, passed []*Hold
		for range rapid.IntRange(4, 40).Draw(t, "before") {
			d := small
			d.Input = rapid.IntRange(10, 6000).Draw(t, "input")
			d.Cached = d.Input
			if b, v := p.Fit(now, d, true); v == Fits {
				before = append(before, b.Take(now, d))
			}
		}
		head := Demand{
			Sequences: rapid.IntRange(1, 16).Draw(t, "sequences"), Input: rapid.IntRange(8000, 20000).Draw(t, "head"),
			Expected: 100, Stream: true, Alone: rapid.Bool().Draw(t, "alone"),
		}
		head.Cached = head.Input
		var mine *Backend
		for rest := before; ; {
			b, v := p.Fit(now, head, true)
			if v == Fits {
				break
			}
			if v == NoKV {
				if mine != nil && p.head.backend != mine {
					t.Fatal("the choice wavers")
				}
				mine = p.head.backend
				for range 3 { // a flood that never dries up
					if b, v := p.Fit(now, small, false); v == Fits {
						passed = append(passed, b.Take(now, small))
					}
				}
			}
			if len(passed) > 0 && rapid.Bool().Draw(t, "end of a small one") {
				passed[0].Release(now, true)
				passed = passed[1:]
			}
			now = now.Add(500 * time.Millisecond)
			if len(rest) == 0 {
				t.Fatalf("%v on %v although nothing is left of what ran before it, %+v", v, b, p.head)
			}
			rest[0].Release(now, true)
			rest = rest[1:]
		}
	})
}
