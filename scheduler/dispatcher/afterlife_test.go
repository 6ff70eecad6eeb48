package dispatcher

import (
	"testing"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
)

// TestADeadlineBoundsWaitingOnly: what has run for longer than it could wait is adopted
// by the next leader, whether its answer has begun or not.
func TestADeadlineBoundsWaitingOnly(t *testing.T) {
	inHouse(t, plan{dispatchers: 2, takeover: 400 * time.Millisecond}, func(h *house) {
		h.gpus[gpuA].set(func() { h.gpus[gpuA].rate = 100 })
		begun, silent := h.ask(wish{in: 1, out: 1000, wait: 2 * time.Second}), h.ask(wish{in: 800, out: 100, wait: 2 * time.Second})
		advance(5 * time.Second)
		h.leases[0].end()
		h.bus.sever("w0", true) // its beat comes a tick after the entries
		h.elect(1)
		advance(270 * time.Millisecond)
		h.bus.sever("w0", false)
		advance(time.Second)
		h.look(func(l *leader) {
			check(t, l)
			if n := l.turn.Running("normal"); n != 2 {
				t.Errorf("%d adopted", n)
			}
		})
		begun.served(t)
		silent.served(t)
		if n := len(h.gpus[gpuA].started()); n != 2 {
			t.Errorf("%d starts of 2 requests", n)
		}
	})
}

// TestWhatWaitedInVainWhileNobodyLed is told as soon as it is known what runs.
func TestWhatWaitedInVainWhileNobodyLed(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 1}, dispatchers: 2, takeover: 400 * time.Millisecond}, func(h *house) {
		busy := h.ask(wish{out: 1000})
		advance(time.Second)
		waits := h.ask(wish{wait: 2 * time.Second})
		h.leases[0].end()
		advance(3 * time.Second)
		h.elect(1)
		waits.refused(t, scheduler.CodeQueueTimeout, "")
		busy.served(t)
	})
}

// TestWhatIsOverHoldsItsRoom while it runs, if its worker tells of it too late: the
// backend has no other slot meanwhile, and it is charged at its end.
func TestWhatIsOverHoldsItsRoom(t *testing.T) {
	direct(t, 8, 0, func(w *world) {
		e := w.put("x", "a", 100)
		w.pass()
		s, r := w.attempt(t, "x")
		r.Sent, r.FirstByte = true, true
		s.silent = true
		e.Deadline = time.Now()
		w.stream.entries[1] = *e
		w.lead() // and expires it
		if w.ended["x"] != 1 {
			t.Fatalf("told %v", w.ended)
		}
		w.tell(s.report())
		w.pass()
		check(w, w.l)
		if n := w.l.turn.Pool.Backends()[0].State().Running; n != 1 {
			t.Errorf("%d slots are taken", n)
		}
		end := s.report(scheduler.Event{ID: "x", Fence: r.Grant.Fence, Kind: scheduler.EventEnd, Outcome: scheduler.Completed, Usage: scheduler.Usage{Input: 100, Output: 50, Known: true}})
		for range 2 { // its acknowledgement was lost
			w.tell(end)
			w.pass()
		}
		delete(s.running, attemptKey{"x", r.Grant.Fence})
		if n := w.l.turn.Pool.Backends()[0].State().Running; n != 0 || len(w.l.items) != 0 {
			t.Errorf("%d slots are taken, %d requests are left", n, len(w.l.items))
		}
		if cost := counterValue(t, w.cfg.Metrics.costs.WithLabelValues(pool, "normal")); cost != 100+2*50 {
			t.Errorf("%v were charged", cost)
		}
	})
}

// TestWhatIsOverGetsNoOtherAttempt.
func TestWhatIsOverGetsNoOtherAttempt(t *testing.T) {
	for _, kind := range []scheduler.EventKind{scheduler.EventBusy, scheduler.EventFault, scheduler.EventNoProxy} {
		direct(t, 8, 0, func(w *world) {
			e := w.put("x", "a", 100)
			w.pass()
			s, r := w.attempt(t, "x")
			s.silent = true
			e.Deadline = time.Now()
			w.stream.entries[1] = *e
			w.lead()
			w.tell(s.report())
			w.happens(t, "x", scheduler.Event{Kind: kind, Sent: true})
			delete(s.running, attemptKey{"x", r.Grant.Fence})
			if w.pass(); len(w.l.items) > 0 || w.ended["x"] != 1 {
				t.Errorf("%s: %d requests, told %v", kind, len(w.l.items), w.ended)
			}
		})
	}
}

// TestAWorkerThatWasNotHeard has its answers go on; each token is charged once.
func TestAWorkerThatWasNotHeard(t *testing.T) {
	direct(t, 8, 0, func(w *world) {
		w.put("x", "a", 100)
		w.pass()
		s, r := w.attempt(t, "x")
		w.happens(t, "x", scheduler.Event{Kind: scheduler.EventFirstByte, Sent: true})
		w.happens(t, "x", scheduler.Event{Kind: scheduler.EventProgress, Generated: 20})
		r.Sent, r.FirstByte, r.Generated = true, true, 20
		w.l.dropWorker(s.id)
		cost := func() float64 { return counterValue(t, w.cfg.Metrics.costs.WithLabelValues(pool, "normal")) }
		if got := cost(); got != 100+2*20 || len(w.stream.left()) > 0 {
			t.Errorf("%v were charged, %v are left", got, w.stream.left())
		}
		w.tell(s.report())
		w.pass()
		if n := w.l.turn.Running("normal"); n != 1 {
			t.Errorf("%d run", n)
		}
		if got := w.l.items["x"].req.Charged(); got != (100+2*20)*fairqueue.Token {
			t.Errorf("the queue has charged %v", got)
		}
		w.happens(t, "x", scheduler.Event{Kind: scheduler.EventEnd, Outcome: scheduler.Completed, Usage: scheduler.Usage{Input: 100, Output: 70, Known: true}})
		delete(s.running, attemptKey{"x", r.Grant.Fence})
		if got := cost(); got != 100+2*70 {
			t.Errorf("%v were charged", got)
		}
		if got := counterValue(t, w.cfg.Metrics.token.WithLabelValues(pool, "", "normal", "input")); got != 100 {
			t.Errorf("%v tokens of input", got)
		}
	})
}

// TestANoticeThatWasLost is told again to who asks, and nothing is published anew.
func TestANoticeThatWasLost(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 1}}, func(h *house) {
		busy := h.ask(wish{out: 1000})
		advance(time.Second)
		waits := h.ask(wish{wait: 2 * time.Second})
		advance(time.Second)
		h.bus.mu.Lock()
		px := h.bus.proxies["px"]
		delete(h.bus.proxies, "px") // what it says is heard
		h.bus.mu.Unlock()
		advance(1500 * time.Millisecond)
		h.bus.mu.Lock()
		h.bus.proxies["px"] = px
		h.bus.mu.Unlock()
		waits.refused(t, scheduler.CodeQueueTimeout, "")
		busy.served(t)
		if h.stream.last != 2 {
			t.Errorf("%d entries of 2 requests", h.stream.last)
		}
	})
}

// TestAFailureThatWasNotHeard is told to who asks.
func TestAFailureThatWasNotHeard(t *testing.T) {
	direct(t, 8, 0, func(w *world) {
		w.put("x", "a", 100)
		w.pass()
		s, r := w.attempt(t, "x")
		w.happens(t, "x", scheduler.Event{Kind: scheduler.EventFault, Sent: true, Final: true, Problem: scheduler.Problemf(scheduler.CodeBackendFailed, "no")})
		delete(s.running, attemptKey{"x", r.Grant.Fence})
		if got := w.l.where([]string{"x", "unknown"}); len(got) != 1 || got[0].Kind != scheduler.NoticeEnded || got[0].Problem.Message != "no" {
			t.Errorf("got %+v", got)
		}
	})
}

// TestANoticeTellsWhatWasTried: how many attempts there were, and where the last was.
func TestANoticeTellsWhatWasTried(t *testing.T) {
	for name, c := range map[string]struct {
		event    scheduler.Event
		attempts int
	}{
		"failed":  {scheduler.Event{Kind: scheduler.EventFault, Sent: true, Answered: true}, 3},
		"final":   {scheduler.Event{Kind: scheduler.EventFault, Sent: true, Answered: true, Final: true}, 1},
		"crashed": {scheduler.Event{Kind: scheduler.EventFault, Sent: true, Died: true}, 2},
		"proxy":   {scheduler.Event{Kind: scheduler.EventNoProxy}, 3},
	} {
		direct(t, 8, 0, func(w *world) {
			w.put("x", "a", 100)
			for range c.attempts {
				for _, s := range w.workers { // what has died is up again
					w.tell(s.report())
				}
				w.pass()
				s, r := w.attempt(t, "x")
				w.happens(t, "x", c.event)
				delete(s.running, attemptKey{"x", r.Grant.Fence})
			}
			if got := w.l.where([]string{"x"}); len(got) != 1 || got[0].Backend != "gpu-a:8000" || got[0].Attempts != c.attempts || got[0].Problem == nil {
				t.Errorf("%s: got %+v", name, got)
			}
		})
	}
	direct(t, 8, 0, func(w *world) {
		w.put("x", "a", 100)
		w.l.expire(time.Now().Add(2 * time.Hour))
		if got := w.l.where([]string{"x"}); len(got) != 1 || got[0].Backend != "" || got[0].Attempts != 0 {
			t.Errorf("never tried: got %+v", got)
		}
	})
}
