package dispatcher

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/turn"
)

// direct runs a test against a leader that it calls itself, with one backend of so
// many slots and KV tokens.
func direct(t *testing.T, slots, kv int, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t.Context(), nil)
		w.cfg.Policy.Backend.Backends = []capacity.BackendConfig{{URL: gpuA, Slots: slots, KVTokens: kv}}
		w.cfg.Policy.Classes = map[string]Class{"normal": {Weight: 1}}
		w.lead()
		test(w)
		w.finish()
		if len(w.wrong) > 0 {
			t.Error(strings.Join(w.wrong, "\n"))
		}
	})
}

// put publishes an entry that arrives at once.
func (w *world) put(id, user string, input int) *scheduler.Entry {
	return w.putBound(id, user, input, 0)
}

// putBound is put of a request with which so many of its user's may run.
func (w *world) putBound(id, user string, input, most int) *scheduler.Entry {
	e := &scheduler.Entry{
		ID: id, Proxy: "p0", Mode: scheduler.ModeSync, Pool: pool, Endpoint: "chat", Class: "normal", User: user, Stream: true,
		UserWeight: 1, AcceptedAt: time.Now(), Deadline: time.Now().Add(time.Hour), Sequences: 1, InputTokens: input, MaxRunning: most,
	}
	w.ids = append(w.ids, id)
	seq, _ := w.stream.Publish(w.ctx, e)
	w.arrive(seq)
	return e
}

// attempt is the only one of a request that a worker runs.
func (w *world) attempt(t *testing.T, id string) (*scriptWorker, *scheduler.Running) {
	t.Helper()
	for _, s := range w.workers {
		for k, r := range s.running {
			if k.id == id {
				return s, r
			}
		}
	}
	t.Fatalf("%s runs nowhere", id)
	return nil, nil
}

func (w *world) happens(t *testing.T, id string, ev scheduler.Event) {
	t.Helper()
	s, r := w.attempt(t, id)
	ev.ID, ev.Fence, ev.Backend = id, r.Grant.Fence, r.Grant.Backend
	w.tell(&scheduler.Report{Worker: s.id, Pool: pool, Events: []scheduler.Event{ev}})
}

// TestSomebodyPassesWhileAnotherCanNeverFit: both are seen to, the one that passes
// runs and the one that can't is told.
func TestSomebodyPassesWhileAnotherCanNeverFit(t *testing.T) {
	direct(t, 8, 10_000, func(w *world) {
		w.put("hog", "hog", 5000)
		w.pass()
		w.put("head", "a", 7000) // has no KV
		w.pass()
		w.put("never", "b", 20_000)
		w.put("small", "c", 100)
		w.pass()
		w.attempt(t, "hog")
		w.attempt(t, "small")
		if w.ended["never"] != 1 || w.l.items["head"] == nil || !w.l.items["head"].queued() {
			t.Errorf("told: %v", w.ended)
		}
		check(w, w.l)
	})
}

// TestAnEndThatIsToldTwice counts once, although the beat that comes with it still
// lists the attempt.
func TestAnEndThatIsToldTwice(t *testing.T) {
	direct(t, 8, 0, func(w *world) {
		w.put("x", "a", 10)
		w.pass()
		s, r := w.attempt(t, "x")
		fault := scheduler.Event{ID: "x", Fence: r.Grant.Fence, Kind: scheduler.EventFault, Refused: true, Backend: gpuA}
		for range 3 {
			w.tell(s.report(fault))
		}
		it := w.l.items["x"]
		if it == nil || !it.queued() {
			t.Fatal("it does not wait")
		}
		delete(s.running, attemptKey{"x", r.Grant.Fence})
		w.pass()
		if _, again := w.attempt(t, "x"); again.Grant.Try != 1 || again.Grant.Fence.Attempt != r.Grant.Fence.Attempt+1 {
			t.Errorf("granted again as %+v", again.Grant)
		}
	})
}

// TestABeatSaysNothingOfARefusedGrant: later ones were taken, this one was not.
func TestABeatSaysNothingOfARefusedGrant(t *testing.T) {
	direct(t, 8, 0, func(w *world) {
		for _, s := range w.workers {
			s.mode = 1
		}
		w.put("x", "a", 10)
		w.l.grantAll()
		it := w.l.items["x"]
		s := w.workers[it.run.worker.id]
		s.last = it.run.number + 1
		w.tell(s.report())
		if w.l.items["x"] != it {
			t.Fatal("taken for over")
		}
		w.pass()
		if !it.queued() {
			t.Error("it does not wait")
		}
	})
}

// TestAPredecessorsGrantIsNotOurs: a worker has taken one that was under way, and
// its beat was written before it took ours.
func TestAPredecessorsGrantIsNotOurs(t *testing.T) {
	direct(t, 8, 0, func(w *world) {
		w.put("x", "a", 10)
		w.pass()
		s, r := w.attempt(t, "x")
		beat := s.report()
		beat.Beat.LastGrant, beat.Beat.Running = 7, nil
		w.tell(beat)
		if it := w.l.items["x"]; it == nil || it.run == nil || it.run.fence != r.Grant.Fence {
			t.Error("taken for over")
		}
	})
}

// TestABeatOfBeforeTheRestart changes nothing.
func TestABeatOfBeforeTheRestart(t *testing.T) {
	direct(t, 8, 0, func(w *world) {
		before := map[string]*scheduler.Report{}
		for id, s := range w.workers {
			before[id] = s.report()
			s.born = s.born.Add(time.Second)
			w.tell(s.report())
		}
		w.put("x", "a", 10)
		w.pass()
		s, r := w.attempt(t, "x")
		w.tell(before[s.id])
		if it := w.l.items["x"]; it.run == nil || it.run.fence != r.Grant.Fence {
			t.Error("its attempt was given up")
		}
	})
}

// TestWhoLeftDoesNotWaitAgain: the attempt of a client that is gone comes back.
func TestWhoLeftDoesNotWaitAgain(t *testing.T) {
	direct(t, 8, 0, func(w *world) {
		w.put("x", "a", 10)
		w.pass()
		w.l.cancelled("x")
		w.happens(t, "x", scheduler.Event{Kind: scheduler.EventBusy})
		if len(w.l.items) > 0 || len(w.stream.left()) > 0 {
			t.Errorf("%d items, %v in the stream", len(w.l.items), w.stream.left())
		}
		s, r := w.attempt(t, "x")
		delete(s.running, attemptKey{"x", r.Grant.Fence})
	})
}

// TestADeleteWaitsForTheLease.
func TestADeleteWaitsForTheLease(t *testing.T) {
	direct(t, 8, 0, func(w *world) {
		w.put("x", "a", 10)
		w.lease.setDoubt(true)
		w.l.cancelled("x")
		w.l.tick(time.Now())
		if left := w.stream.left(); len(left) != 1 {
			t.Errorf("left %v", left)
		}
		w.lease.setDoubt(false)
		w.l.tick(time.Now())
		if left := w.stream.left(); len(left) != 0 {
			t.Errorf("left %v", left)
		}
	})
}

// TestWholeAnswersAreChargedByTime, but for those that generate nothing.
func TestWholeAnswersAreChargedByTime(t *testing.T) {
	direct(t, 8, 0, func(w *world) {
		w.l.turn.Recall(&turn.Learned{Gap: turn.Mean{Value: 0.01, N: 1}})
		for id, endpoint := range map[string]string{"chat": "chat", "list": "embeddings", "short": "chat"} {
			w.put(id, id, 10)
			e := w.l.items[id].entry
			e.Stream, e.Endpoint = false, endpoint
			if id == "short" {
				e.MaxTokens = 7
			}
		}
		w.pass()
		for _, id := range []string{"chat", "list", "short"} {
			_, r := w.attempt(t, id)
			r.Sent = true
		}
		for _, s := range w.workers {
			w.tell(s.report())
		}
		advance(2 * time.Second)
		w.l.tick(time.Now())
		for id, want := range map[string]int{"chat": 200, "list": 0, "short": 7} {
			if got := w.l.items[id].run.Generated; got != want {
				t.Errorf("%s: %d tokens after 2 s, want %d", id, got, want)
			}
		}
	})
}

// TestAnOlderAttempt whose answer has begun is left alone: ours will be told that it is
// stale. One without a first byte is cancelled.
func TestAnOlderAttempt(t *testing.T) {
	for _, begun := range []bool{false, true} {
		direct(t, 8, 0, func(w *world) {
			w.put("x", "a", 10)
			w.pass()
			s, r := w.attempt(t, "x")
			old := *r
			old.Grant.Fence.Revision--
			old.FirstByte = begun
			s.cancelled = nil
			s.running[attemptKey{"x", old.Grant.Fence}] = &old
			w.tell(s.report())
			w.pass()
			if got := len(s.cancelled) == 1 && s.cancelled[0] == old.Grant.Fence; got == begun || len(s.cancelled) > 1 {
				t.Errorf("begun %t: cancelled %v", begun, s.cancelled)
			}
			if it := w.l.items["x"]; it.run.fence != r.Grant.Fence {
				t.Errorf("the older one was adopted")
			}
		})
	}
}

// TestPreemptionsAreCounted as they grow, over a restart and two workers that look.
func TestPreemptionsAreCounted(t *testing.T) {
	direct(t, 8, 0, func(w *world) {
		count := func() float64 {
			return counterValue(t, w.cfg.Metrics.preempted.WithLabelValues(pool, "gpu-a:8000"))
		}
		at := time.Now()
		for i, step := range []struct{ told, want float64 }{{40, 0}, {43, 3}, {43, 3}, {2, 5}, {2.5, 5.5}} {
			r := w.workers[[]string{"w0", "w1"}[i%2]].report()
			r.Beat.Backends[0].Scrape = &scheduler.Scrape{At: at.Add(time.Duration(i) * time.Second), Preemptions: step.told}
			w.tell(r)
			if got := count(); got != step.want {
				t.Errorf("step %d: %v, want %v", i, got, step.want)
			}
		}
	})
}

func TestJitter(t *testing.T) {
	direct(t, 8, 0, func(w *world) {
		for _, d := range []time.Duration{-time.Second, 0, time.Second, 2 * time.Second, 10 * time.Second, time.Minute} {
			least, seen := max(d, time.Second), map[time.Duration]bool{}
			for range 100 {
				got := w.l.jitter(d)
				if seen[got] = true; got < least || got > max(least*6/5, least+time.Second) || got%time.Second != 0 {
					t.Fatalf("%v becomes %v", d, got)
				}
			}
			if len(seen) < 2 {
				t.Errorf("%v always becomes the same", d)
			}
		}
	})
}

// TestWhoIsOneOfTwoComesBackLater: a queue that is full drains at the share of
// those who fill it.
func TestWhoIsOneOfTwoComesBackLater(t *testing.T) {
	direct(t, 1, 0, func(w *world) {
		w.put("first", "a", 10)
		w.pass()
		w.put("a1", "a", 10)
		it := w.l.items["a1"]
		for reason, want := range map[scheduler.Reason]float64{scheduler.ReasonUserQueue: 1, scheduler.ReasonClassQueue: 1, scheduler.ReasonShed: 1} {
			if got := w.l.drainShare(it, reason); got != want {
				t.Errorf("%s: the only one has %v of what is delivered", reason, got)
			}
		}
		w.put("b1", "b", 10)
		w.put("c1", "c", 10)
		if got := w.l.drainShare(it, scheduler.ReasonUserQueue); math.Abs(got-1./3) > 1e-9 {
			t.Errorf("one of three has %v of what is delivered", got)
		}
		if got := w.l.drainShare(it, scheduler.ReasonClassQueue); got != 1 {
			t.Errorf("the only class has %v of what is delivered", got)
		}
	})
}

// TestAnAttemptThatIsTakenBackGivesNoCredit: the user's next request could not start
// meanwhile, and comes back like any other.
func TestAnAttemptThatIsTakenBackGivesNoCredit(t *testing.T) {
	direct(t, 8, 0, func(w *world) {
		w.put("first", "a", 10)
		w.putBound("next", "a", 10, 1)
		for _, id := range []string{"b1", "b2", "b3"} {
			w.put(id, "b", 100)
		}
		w.pass()
		for _, id := range []string{"b1", "b2"} {
			s, r := w.attempt(t, id)
			w.happens(t, id, scheduler.Event{Kind: scheduler.EventEnd, Outcome: scheduler.Completed, Usage: scheduler.Usage{Input: 100, Output: 10, Known: true}})
			delete(s.running, attemptKey{id, r.Grant.Fence})
			w.pass()
		}
		w.happens(t, "first", scheduler.Event{Kind: scheduler.EventGone})
		class := w.l.turn.Queue.Dump().Children[0]
		for _, user := range class.Children {
			if user.Key == "a" && user.V < class.VNow {
				t.Errorf("it stands at %v, the others at %v", user.V, class.VNow)
			}
		}
		s, r := w.attempt(t, "first")
		delete(s.running, attemptKey{"first", r.Grant.Fence})
	})
}
