package dispatcher

import (
	"testing"
	"time"

	"fairlane/scheduler"
)

// TestALostWorkerIsReplaced: what had not begun runs elsewhere, what had begun is
// settled.
func TestALostWorkerIsReplaced(t *testing.T) {
	inHouse(t, plan{workers: 2}, func(h *house) {
		h.gpus[gpuA].set(func() { h.gpus[gpuA].rate = 50 })
		begun := []*client{h.ask(wish{in: 1, out: 2000}), h.ask(wish{in: 1, out: 2000})} // one on each worker
		advance(time.Second)
		slow := []*client{h.ask(wish{in: 500, out: 10}), h.ask(wish{in: 500, out: 10})}
		advance(time.Second)
		h.workers["w0"].kill()
		for _, c := range slow {
			c.served(t)
		}
		lost := 0
		for _, c := range begun {
			<-c.done
			if c.problem != nil && c.problem.Code == scheduler.CodeAnswerLost {
				lost++
			}
		}
		if lost != 1 {
			t.Errorf("%d of two answers were lost with one of two workers", lost)
		}
		if n := h.counter("fairlane_requeues_total", "worker"); n != 1 {
			t.Errorf("%v went back", n)
		}
		if n := h.counter("fairlane_backend_retries_total", "gpu-a:8000,worker"); n != 1 {
			t.Errorf("%v retries counted", n)
		}
	})
}

// TestAWorkerThatReturnsGoesOn: cut off for longer than three beats, its attempts
// are known again, or fenced.
func TestAWorkerThatReturnsGoesOn(t *testing.T) {
	inHouse(t, plan{workers: 2}, func(h *house) {
		h.gpus[gpuA].set(func() { h.gpus[gpuA].rate = 50 })
		var cs []*client
		for i := range 8 {
			cs = append(cs, h.ask(wish{in: 100 + 50*i, out: 300}))
		}
		advance(3 * time.Second)
		h.bus.sever("w0", true)
		advance(4 * time.Second)
		h.bus.sever("w0", false)
		for _, c := range cs {
			<-c.done
			if c.problem != nil && c.problem.Code != scheduler.CodeAnswerLost {
				t.Errorf("got %v", c.problem)
			}
		}
	})
}

// TestARestartedWorkerIsANewOne also under the same id and within a beat.
func TestARestartedWorkerIsANewOne(t *testing.T) {
	inHouse(t, plan{}, func(h *house) {
		h.gpus[gpuA].set(func() { h.gpus[gpuA].rate = 50 })
		c := h.ask(wish{in: 100, out: 10})
		advance(time.Second)
		h.workers["w0"].kill()
		h.workers["w0"].start()
		c.served(t)
		if c.head.Attempt != 2 {
			t.Errorf("served in attempt %d", c.head.Attempt)
		}
	})
}

// TestARefusedGrantGoesBack without a cost, and the backend is not taken for dead.
func TestARefusedGrantGoesBack(t *testing.T) {
	inHouse(t, plan{}, func(h *house) {
		h.ask(wish{}).served(t)
		h.gpus[gpuA].set(func() { h.gpus[gpuA].rate = 10 }) // a second until the first byte
		h.workers["w0"].mu.Lock()
		h.workers["w0"].refuses = true
		h.workers["w0"].mu.Unlock()
		var cs []*client
		for range 8 {
			cs = append(cs, h.ask(wish{in: 10, out: 50}))
		}
		advance(100 * time.Millisecond)
		h.workers["w0"].mu.Lock()
		h.workers["w0"].refuses = false
		h.workers["w0"].mu.Unlock()
		advance(900 * time.Millisecond)
		if h.gpus[gpuA].most() != 8 {
			t.Errorf("%d at once, as if the backend had to be filled anew", h.gpus[gpuA].most())
		}
		if n := h.counter("fairlane_backend_retries_total", "gpu-a:8000,worker"); n != h.counter("fairlane_requeues_total", "worker") || n == 0 {
			t.Errorf("%v retries counted", n)
		}
		for _, c := range cs {
			c.served(t)
			if wait := c.first.Sub(c.asked); wait > 1600*time.Millisecond {
				t.Errorf("waited %v for a worker that refused for 100 ms", wait)
			}
		}
	})
}

func TestADeadProxysEntriesAreRemoved(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 1}}, func(h *house) {
		h.addDesk("other")
		advance(time.Second)
		busy := h.ask(wish{out: 1000})
		advance(time.Second)
		for range 5 {
			h.ask(wish{proxy: "other"}).cancel() // nobody will tell it
		}
		advance(time.Second)
		h.bus.sever("other", true)
		advance(3 * time.Second)
		h.look(func(l *leader) {
			check(t, l)
			if l.turn.Queue.Len() != 0 || l.proxies["other"] != (time.Time{}) {
				t.Errorf("%d of a dead proxy wait", l.turn.Queue.Len())
			}
		})
		busy.served(t)
		h.bus.sever("other", false)
		advance(3 * time.Second) // it publishes again what was dropped
		if n := h.observed("fairlane_queue_wait_seconds", "normal,cancelled"); n != 5 {
			t.Errorf("%d cancelled waits observed", n)
		}
	})
}

// TestAProxyThatWasTakenForDead publishes again what the leader dropped; all of it is
// served, once.
func TestAProxyThatWasTakenForDead(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 1}}, func(h *house) {
		h.addDesk("other")
		advance(time.Second)
		busy := h.ask(wish{proxy: "other", out: 1500})
		advance(time.Second)
		var cs []*client
		for range 5 {
			cs = append(cs, h.ask(wish{out: 20}))
		}
		advance(time.Second)
		h.bus.sever("px", true)
		advance(3 * time.Second)
		if left := h.stream.left(); len(left) != 1 {
			t.Errorf("left of a dead proxy: %v", left)
		}
		h.bus.sever("px", false)
		advance(5 * time.Second)
		h.look(func(l *leader) {
			if l.turn.Queue.Len() != 5 {
				t.Errorf("%d wait", l.turn.Queue.Len())
			}
		})
		busy.served(t)
		for _, c := range cs {
			c.served(t)
		}
		if n := len(h.gpus[gpuA].started()); n != 6 {
			t.Errorf("%d starts of 6 requests", n)
		}
	})
}
