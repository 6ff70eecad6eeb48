package dispatcher

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
)

// TestTakeover: the second leader adopts what runs, grants nothing twice, keeps the
// order of what waits, and inherits what was learned.
func TestTakeover(t *testing.T) {
	inHouse(t, plan{dispatchers: 2, workers: 2, takeover: 400 * time.Millisecond}, func(h *house) {
		for range 8 {
			h.ask(wish{user: "u", in: 10, out: 700, maxTokens: 2000}).served(t)
		}
		var running, waiting []*client
		for range 8 {
			running = append(running, h.ask(wish{user: "u", in: 10, out: 1500, maxTokens: 2000}))
		}
		advance(time.Second)
		for range 8 {
			waiting = append(waiting, h.ask(wish{user: "u", in: 10, out: 100}))
		}
		advance(6 * time.Second) // it is saved
		h.leases[0].end()
		advance(100 * time.Millisecond)
		if _, leading := h.dispatchers[0].Status(); leading {
			t.Error("it does not lead any more, and says so")
		}
		if n := len(h.gaugesOf("fairlane_dispatcher_leader")); n != 0 {
			t.Errorf("%d lead, by the metrics", n)
		}
		h.elect(1)
		advance(time.Second)
		h.look(func(l *leader) {
			check(t, l)
			if n := l.turn.Running("normal"); n != 8 {
				t.Errorf("%d adopted", n)
			}
			if n := l.turn.Queue.Len(); n != 8 {
				t.Errorf("%d wait", n)
			}
			if e := l.turn.Input(&scheduler.Entry{Endpoint: "chat", Class: "normal", User: "u"}).Expected; e != 700 {
				t.Errorf("the next answer of u is expected to have %d tokens", e)
			}
		})
		for _, c := range append(running, waiting...) {
			c.served(t)
			if c.head.Attempt != 1 {
				t.Errorf("served in attempt %d", c.head.Attempt)
			}
		}
		if started := h.gpus[gpuA].started(); len(started) != 24 {
			t.Errorf("%d starts of 24 requests", len(started))
		}
		for i := 1; i < len(waiting); i++ {
			if waiting[i].granted.Before(waiting[i-1].granted) {
				t.Errorf("%d was granted before %d", i, i-1)
			}
		}
		if n := h.observed("fairlane_queue_wait_seconds", "normal,granted"); n != 24 {
			t.Errorf("%d waits observed of 24", n)
		}
	})
}

// TestLeftoversAreDeleted: entries of requests that ended while nobody led, or
// whose delete was lost, never reach the backend.
func TestLeftoversAreDeleted(t *testing.T) {
	inHouse(t, plan{dispatchers: 2, takeover: 400 * time.Millisecond}, func(h *house) {
		busy := h.ask(wish{in: 10, out: 300})
		for range 7 {
			h.ask(wish{in: 10, out: 3000})
		}
		advance(time.Second)
		waiting := h.ask(wish{})
		h.leases[0].end()
		busy.served(t) // without a leader
		waiting.leave()
		_, _ = h.stream.Publish(t.Context(), &scheduler.Entry{
			ID: "ghost", Proxy: "px", Mode: scheduler.ModeSync, Pool: pool, Class: "normal", User: "u", Endpoint: "chat",
			AcceptedAt: time.Now(), Deadline: time.Now().Add(time.Hour), Sequences: 1, InputTokens: 1,
		})
		advance(time.Second)
		h.elect(1)
		advance(2 * time.Second)
		if left := h.stream.left(); len(left) != 7 {
			t.Errorf("left in the stream: %v", left)
		}
		for _, id := range h.gpus[gpuA].started() {
			if id == "ghost" {
				t.Error("a ghost was served")
			}
		}
	})
}

// TestAWorkerAndTheLeaderDieAtOnce: what had not begun is served by others.
func TestAWorkerAndTheLeaderDieAtOnce(t *testing.T) {
	inHouse(t, plan{dispatchers: 2, workers: 2, takeover: 400 * time.Millisecond}, func(h *house) {
		h.gpus[gpuA].set(func() { h.gpus[gpuA].rate = 50 })
		var cs []*client
		for range 8 {
			cs = append(cs, h.ask(wish{in: 200, out: 10}))
		}
		advance(time.Second)
		h.leases[0].end()
		h.workers["w1"].kill()
		advance(time.Second)
		h.elect(1)
		for _, c := range cs {
			c.served(t)
		}
	})
}

// TestADoubtfulLeaseStopsEverything: a leader that was stopped and goes on while
// another one leads grants, tells and deletes nothing.
func TestADoubtfulLeaseStopsEverything(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 2}}, func(h *house) {
		one, two := h.ask(wish{out: 100}), h.ask(wish{out: 400, in: 5})
		advance(500 * time.Millisecond)
		expires := h.ask(wish{wait: 2 * time.Second})
		waits := h.ask(wish{})
		h.leases[0].setDoubt(true)
		one.served(t)
		advance(3 * time.Second)
		if n := len(h.gpus[gpuA].started()); n != 2 {
			t.Errorf("%d were started", n)
		}
		if left := h.stream.left(); len(left) != 4 {
			t.Errorf("deleted all but %v", left)
		}
		select {
		case <-expires.done:
			t.Errorf("was told %v", expires.problem)
		default:
		}
		h.leases[0].setDoubt(false)
		waits.served(t)
		two.served(t)
		<-expires.done
	})
}

// TestTwoLeaders for some seconds, one of which was stopped and goes on: it knows
// that its lease is in doubt, or, worse, does not. Nobody is served twice.
func TestTwoLeaders(t *testing.T) {
	for _, knows := range []bool{true, false} {
		inHouse(t, plan{gpus: map[string]int{gpuA: 4}, dispatchers: 2, workers: 2, takeover: 400 * time.Millisecond}, func(h *house) {
			var cs []*client
			for i := range 40 {
				cs = append(cs, h.ask(wish{in: 10, out: 100 + 10*i}))
			}
			advance(1500 * time.Millisecond)
			h.leases[0].setDoubt(knows)
			h.elect(1)
			advance(5 * time.Second)
			h.leases[0].end()
			for _, c := range cs {
				c.served(t)
			}
			started := h.gpus[gpuA].started()
			if n := len(started); n != 40 {
				t.Errorf("knows %t: %d starts of 40 requests", knows, n)
			}
			if most := h.gpus[gpuA].most(); knows && most > 4 {
				t.Errorf("%d at once on 4 slots", most)
			}
		})
	}
}

// TestALeaderThatStoodStillTakesNobodyForDead.
func TestALeaderThatStoodStillTakesNobodyForDead(t *testing.T) {
	inHouse(t, plan{}, func(h *house) {
		c := h.ask(wish{in: 10, out: 600})
		advance(time.Second)
		h.look(func(l *leader) {
			l.tick(time.Now().Add(10 * time.Second))
			if len(l.workers) != 1 || len(l.proxies) != 1 || len(l.items) != 1 {
				t.Errorf("%d workers, %d proxies, %d requests are left", len(l.workers), len(l.proxies), len(l.items))
			}
			l.ticked = time.Now()
			for _, w := range l.workers {
				w.lastBeat = time.Now()
			}
			l.proxies["px"] = time.Now()
		})
		c.served(t)
	})
}

// TestALeaderThatWasCutOffTakesNobodyForDead, but who stays silent afterwards is.
func TestALeaderThatWasCutOffTakesNobodyForDead(t *testing.T) {
	var down atomic.Bool
	up := func() error {
		if down.Load() {
			return errors.New("no connection")
		}
		return nil
	}
	inHouse(t, plan{dispatchers: 2, workers: 2, up: up}, func(h *house) {
		c := h.ask(wish{in: 10, out: 2500})
		advance(time.Second)
		hear := func(cut bool) {
			for _, id := range []string{"w0", "w1", "px"} {
				h.bus.sever(id, cut)
			}
			down.Store(cut)
		}
		hear(true)
		advance(4 * time.Second)
		hear(false)
		h.bus.sever("w1", true)
		stand := func() (workers, proxies, running int) {
			h.look(func(l *leader) { workers, proxies, running = len(l.workers), len(l.proxies), l.turn.Running("normal") })
			return workers, proxies, running
		}
		if workers, proxies, running := stand(); workers != 2 || proxies != 1 || running != 1 {
			t.Errorf("%d workers, %d proxies, %d running are left", workers, proxies, running)
		}
		advance(3 * time.Second)
		if workers, proxies, _ := stand(); workers != 1 || proxies != 1 {
			t.Errorf("%d workers, %d proxies are there", workers, proxies)
		}
		h.bus.sever("w1", false)
		<-c.done
	})
}

// TestASecondTermInOneProcess waits for beats, although the first one did not.
func TestASecondTermInOneProcess(t *testing.T) {
	inHouse(t, plan{workers: 2}, func(h *house) {
		h.gpus[gpuA].set(func() { h.gpus[gpuA].rate = 100 })
		var cs []*client
		for range 8 {
			cs = append(cs, h.ask(wish{in: 300, out: 50}))
		}
		advance(time.Second)
		h.leases[0].end()
		h.bus.sever("w1", true)
		h.elect(0)
		advance(200 * time.Millisecond)
		h.bus.sever("w1", false)
		_ = h.workers["w1"].Muster(t.Context(), pool)
		for _, c := range cs {
			c.served(t)
		}
		if n := len(h.gpus[gpuA].started()); n != 8 {
			t.Errorf("%d starts of 8 requests", n)
		}
	})
}

// TestNothingIsPublishedAgainWhileTheQueueIsLoaded: the leader says nothing of what
// it has not read.
func TestNothingIsPublishedAgainWhileTheQueueIsLoaded(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 1}, dispatchers: 2}, func(h *house) {
		busy, waits := h.ask(wish{out: 2000}), h.ask(wish{})
		advance(time.Second)
		h.leases[0].end()
		speak := h.stream.hush()
		h.elect(1)
		advance(10 * time.Second)
		speak()
		busy.served(t)
		waits.served(t)
		if h.stream.last != 2 {
			t.Errorf("%d entries of two requests", h.stream.last)
		}
	})
}

// TestAPredecessorInTheProcess may need a moment to leave the bus.
func TestAPredecessorInTheProcess(t *testing.T) {
	inHouse(t, plan{dispatchers: 2}, func(h *house) {
		h.leases[0].end()
		h.bus.mu.Lock()
		h.bus.taken = 2
		h.bus.mu.Unlock()
		h.elect(1)
		h.ask(wish{}).served(t)
	})
}

// TestStopHandsOver what was learned since the last time.
func TestStopHandsOver(t *testing.T) {
	inHouse(t, plan{dispatchers: 2}, func(h *house) {
		h.ask(wish{user: "u", out: 900, maxTokens: 2000}).served(t)
		advance(time.Second)
		h.dispatchers[0].Stop()
		h.dispatchers[0].Stop()
		h.elect(1)
		advance(time.Second)
		h.look(func(l *leader) {
			if e := l.turn.Input(&scheduler.Entry{Endpoint: "chat", Class: "normal", User: "u"}).Expected; e != 900 {
				t.Errorf("%d tokens are expected", e)
			}
		})
	})
}

// TestDebtsAreInherited, unless they are old.
func TestDebtsAreInherited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fresh := func() *leader {
			l, err := newLeader(t.Context(), &Config{Share: []string{"class", "user"}}, Policy{Tiers: []Tier{{Classes: []string{"vip"}, Floor: 0.3}}}, scheduler.Fence{})
			if err != nil {
				t.Fatal(err)
			}
			l.cfg.Metrics = newMetrics()
			return l
		}
		s := &saved{
			Version: savedVersion, At: time.Now(), Debts: []fairqueue.Debt{{Tier: 1, Path: []string{"normal"}, V: 1 << 40}}, Owed: []fairqueue.Cost{5000},
			Troubles: map[string]trouble{"x": {Deaths: 1}},
		}
		l := fresh()
		l.inherit(s, time.Now())
		if got := l.learned(time.Now()); len(got.Debts) != 1 || got.Debts[0].V != 1<<40 || got.Owed[0] != 5000 || got.Troubles["x"].Deaths != 1 {
			t.Errorf("got %+v", got)
		}
		if l.begin(); len(l.troubles) != 0 {
			t.Error("a request that is over is still a suspect")
		}
		l = fresh()
		if l.inherit(s, time.Now().Add(time.Hour)); len(l.learned(time.Now()).Debts) != 0 || l.learned(time.Now()).Owed[0] != 0 || len(l.troubles) != 0 {
			t.Error("debts of an hour ago are still owed")
		}
	})
}

// TestNonsenseInMemoryIsNotTaken.
func TestNonsenseInMemoryIsNotTaken(t *testing.T) {
	for _, bad := range []string{"", "{", `{"version":99}`, `{"version":1,"output":{"v":-5,"n":-1},"backends":[{"url":"x"}],"suspects":null}`} {
		synctest.Test(t, func(t *testing.T) {
			h := build(t, plan{})
			h.memory.last = []byte(bad)
			h.elect(0)
			h.ask(wish{}).served(t)
			h.close()
		})
	}
}
