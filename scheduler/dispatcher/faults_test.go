package dispatcher

import (
	"testing"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
)

// TestWaitsForABackend: what waits is served when one comes back, which is filled
// step by step.
func TestWaitsForABackend(t *testing.T) {
	inHouse(t, plan{}, func(h *house) {
		h.ask(wish{in: 10, out: 10}).served(t) // it was up
		h.gpus[gpuA].kill()
		advance(time.Second)
		var waiting []*client
		for range 20 {
			waiting = append(waiting, h.ask(wish{in: 100, out: 100}))
		}
		advance(30 * time.Second)
		if n := len(h.gpus[gpuA].started()); n != 1 {
			t.Fatalf("%d started on a dead backend", n)
		}
		h.gpus[gpuA].set(func() { h.gpus[gpuA].rate, h.gpus[gpuA].peak = 100, 0 }) // a second until the first token
		h.gpus[gpuA].revive()
		advance(999 * time.Millisecond) // a beat comes within half of it
		if p := h.gpus[gpuA].most(); p != 2 {
			t.Errorf("%d at once on a backend that has just returned", p)
		}
		h.gpus[gpuA].set(func() { h.gpus[gpuA].rate = 100_000 })
		for _, c := range waiting {
			c.served(t)
		}
		if p := h.gpus[gpuA].most(); p != 8 {
			t.Errorf("at most %d at once, 8 fit", p)
		}
	})
}

func TestNoBackendUntilTheDeadline(t *testing.T) {
	inHouse(t, plan{}, func(h *house) {
		h.gpus[gpuA].kill()
		advance(time.Second)
		c := h.ask(wish{wait: 20 * time.Second})
		c.refused(t, scheduler.CodeNoBackend, scheduler.ReasonNoBackend)
		if c.problem.RetryAfter < 30*time.Second || c.problem.NoRetry {
			t.Errorf("got %+v", c.problem)
		}
		if took := c.ended.Sub(c.asked); took < 20*time.Second || took > 21*time.Second {
			t.Errorf("ended after %v", took)
		}
		if n := h.observed("fairlane_queue_wait_seconds", "normal,refused"); n != 1 {
			t.Errorf("%d refused waits observed", n)
		}
	})
}

func TestExpires(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 1}}, func(h *house) {
		busy := h.ask(wish{out: 5000})
		advance(time.Second)
		c := h.ask(wish{wait: 10 * time.Second})
		c.refused(t, scheduler.CodeQueueTimeout, "")
		if !c.problem.NoRetry {
			t.Error("clients would repeat what expired")
		}
		if n := h.observed("fairlane_queue_wait_seconds", "normal,expired"); n != 1 {
			t.Errorf("%d expired waits observed", n)
		}
		busy.served(t)
	})
}

// TestADeathIsTriedOnceMoreAlone: what was in flight when a backend died runs once
// more, alone.
func TestADeathIsTriedOnceMoreAlone(t *testing.T) {
	inHouse(t, plan{}, func(h *house) {
		g := h.gpus[gpuA]
		g.set(func() { g.rate = 100 }) // so that none has a first byte
		var cs []*client
		for range 4 {
			cs = append(cs, h.ask(wish{in: 200, out: 50}))
		}
		advance(time.Second)
		g.kill()
		advance(time.Second)
		g.set(func() { g.rate = 100_000 })
		g.set(func() { g.peak = 0 })
		g.revive()
		for _, c := range cs {
			c.served(t)
			if c.head.Attempt != 2 {
				t.Errorf("served in attempt %d", c.head.Attempt)
			}
		}
		if g.most() != 1 {
			t.Errorf("%d suspects at once", g.most())
		}
		if n := h.counter("fairlane_backend_retries_total", "gpu-a:8000,died"); n != 4 {
			t.Errorf("%v retries counted", n)
		}
		h.ask(wish{}).served(t)
	})
}

// TestAPoisonousRequestKillsTwoServersOnly and is listed.
func TestAPoisonousRequestKillsTwoServersOnly(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 4, gpuB: 4}}, func(h *house) {
		kills := func(id string) bool { return id == "px-1" }
		h.gpus[gpuA].set(func() { h.gpus[gpuA].poison, h.gpus[gpuB].poison = kills, kills })
		bad := h.ask(wish{user: "bad", in: 77})
		bad.refused(t, scheduler.CodeBackendCrashed, "")
		if !bad.problem.NoRetry {
			t.Error("clients would repeat it")
		}
		h.gpus[gpuA].revive()
		h.gpus[gpuB].revive()
		h.ask(wish{}).served(t)
		advance(time.Second)
		s, leading := h.dispatchers[0].Status()
		if !leading || len(s.Suspects) != 1 || s.Suspects[0].ID != "px-1" || s.Suspects[0].User != "bad" || s.Suspects[0].InputTokens != 77 {
			t.Errorf("got %+v", s)
		}
		if n := h.counter("fairlane_backend_crash_suspects_total", ""); n != 1 {
			t.Errorf("%v suspects counted", n)
		}
	})
}

// TestBusyGoesBackUncharged: vLLM's own 503 is no failure and costs nothing.
func TestBusyGoesBackUncharged(t *testing.T) {
	inHouse(t, plan{}, func(h *house) {
		h.gpus[gpuA].set(func() { h.gpus[gpuA].max = 2 })
		var cs []*client
		for range 12 {
			cs = append(cs, h.ask(wish{in: 50, out: 100}))
		}
		for _, c := range cs {
			c.served(t)
			if c.head.Attempt != 1 {
				t.Errorf("served in attempt %d", c.head.Attempt)
			}
		}
		advance(time.Second)
		if n := h.counter("fairlane_cost_total", "normal"); n != 12*(50+2*100) {
			t.Errorf("%v were charged", n)
		}
		if n := h.counter("fairlane_requeues_total", "busy"); n == 0 {
			t.Error("nobody was sent back")
		}
		if n := h.observed("fairlane_queue_wait_seconds", "normal,granted"); n != 12 {
			t.Errorf("%d waits were observed of 12 requests", n)
		}
	})
}

// TestBusyKeepsThePlace: the first that came is the first that is tried again.
func TestBusyKeepsThePlace(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 1}}, func(h *house) {
		g := h.gpus[gpuA]
		g.set(func() { g.max, g.running = 1, 1 }) // somebody else's
		var cs []*client
		for i := range 4 {
			cs = append(cs, h.ask(wish{user: "u" + string(rune('a'+i/2)), in: 50, out: 100}))
			advance(100 * time.Millisecond)
		}
		advance(time.Second)
		g.stop(1)
		for _, c := range cs {
			c.served(t)
		}
		if started := g.started(); started[0] != "px-1" || started[1] != "px-3" {
			t.Errorf("served in the order %v", started)
		}
	})
}

// TestAFaultTriesAnotherBackend first, and gives up after three attempts.
func TestAFaultTriesAnotherBackend(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 4, gpuB: 4}}, func(h *house) {
		never := func(string) bool { return true }
		h.gpus[gpuA].set(func() { h.gpus[gpuA].fails = never })
		for range 8 {
			c := h.ask(wish{})
			c.served(t)
			if c.head.Backend != gpuB {
				t.Errorf("served by %s", c.head.Backend)
			}
		}
		h.gpus[gpuB].set(func() { h.gpus[gpuB].fails = never })
		c := h.ask(wish{})
		c.refused(t, scheduler.CodeBackendFailed, "")
		if c.problem.Message != "500" {
			t.Errorf("told %q, not what the backend said", c.problem.Message)
		}
		var ours int
		for _, g := range h.gpus {
			g.set(func() { g.fails = nil })
		}
		ours = int(h.counter("fairlane_requeues_total", "backend"))
		retries := 0
		for _, m := range h.series("fairlane_backend_retries_total") {
			retries += int(m.GetCounter().GetValue())
		}
		if ours != retries || retries < 2 {
			t.Errorf("%d went back, %d retries counted", ours, retries)
		}
	})
}

func TestCancels(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 1}}, func(h *house) {
		running := h.ask(wish{in: 100, out: 5000})
		advance(time.Second)
		waiting := h.ask(wish{})
		advance(time.Second)
		waiting.leave()
		advance(time.Second)
		h.look(func(l *leader) {
			if l.turn.Queue.Len() != 0 {
				t.Error("it still waits")
			}
		})
		running.leave()
		next := h.ask(wish{})
		next.served(t)
		if wait := next.first.Sub(next.asked); wait > 100*time.Millisecond {
			t.Errorf("the slot of who left came back after %v", wait)
		}
		advance(time.Second)
		// The whole prompt and what was generated in three seconds; and the other one.
		if n := h.counter("fairlane_cost_total", "normal") - (1 + 2*1); n < 100+2*275 || n > 100+2*300 {
			t.Errorf("%v were charged", n)
		}
	})
}

// TestACancelOvertakesItsEntry: the entry is deleted when it comes.
func TestACancelOvertakesItsEntry(t *testing.T) {
	inHouse(t, plan{}, func(h *house) {
		speak := h.stream.hush()
		advance(time.Second)
		c := h.ask(wish{})
		advance(100 * time.Millisecond)
		c.leave()
		advance(100 * time.Millisecond)
		speak()
		advance(time.Second)
		if left := h.stream.left(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		if n := len(h.gpus[gpuA].started()); n != 0 {
			t.Errorf("%d reached the backend", n)
		}
	})
}

// TestABackendIsRemovedWhileItRuns: what runs there ends, what comes goes
// elsewhere.
func TestABackendIsRemovedWhileItRuns(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 2, gpuB: 2}}, func(h *house) {
		var cs []*client
		for range 4 {
			cs = append(cs, h.ask(wish{in: 10, out: 500}))
		}
		advance(time.Second)
		p := h.config.Policy
		for _, b := range p.Backend.Backends {
			if b.URL == gpuB {
				p.Backend.Backends = []capacity.BackendConfig{b}
			}
		}
		h.dispatchers[0].Apply(p)
		h.gpus[gpuA].set(func() { h.gpus[gpuA].starts = nil })
		for range 6 {
			cs = append(cs, h.ask(wish{in: 10, out: 100}))
		}
		advance(time.Second)
		for _, c := range cs {
			c.served(t)
		}
		if n := len(h.gpus[gpuA].started()); n != 0 {
			t.Errorf("%d went to a backend that was removed", n)
		}
		h.look(func(l *leader) {
			if n := len(l.turn.Pool.Backends()); n != 1 {
				t.Errorf("%d backends", n)
			}
		})
	})
}
