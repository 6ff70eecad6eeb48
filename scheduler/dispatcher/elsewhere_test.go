package dispatcher

import (
	"testing"
	"testing/synctest"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
)

// away lets a request be served elsewhere: ours came too late, and others tell of theirs.
func away(t *testing.T, test func(w *world, ours scheduler.Fence, event func(scheduler.EventKind, scheduler.Fence, int))) {
	t.Helper()
	direct(t, 8, 0, func(w *world) {
		w.put("x", "a", 100)
		w.pass()
		s, r := w.attempt(t, "x")
		ours := r.Grant.Fence
		w.happens(t, "x", scheduler.Event{Kind: scheduler.EventStale})
		delete(s.running, attemptKey{"x", ours})
		test(w, ours, func(k scheduler.EventKind, f scheduler.Fence, generated int) {
			w.tell(&scheduler.Report{Worker: s.id, Pool: pool, Events: []scheduler.Event{{ID: "x", Fence: f, Kind: k, Generated: generated}}})
			w.pass()
		})
	})
}

func older(f scheduler.Fence, by uint32) scheduler.Fence {
	f.Revision, f.Attempt = f.Revision-1, 10-by
	return f
}

// TestAnotherAttemptsEndIsNotTheAnswers: an older attempt that is given up says nothing
// of the one whose answer has begun.
func TestAnotherAttemptsEndIsNotTheAnswers(t *testing.T) {
	for _, kind := range []scheduler.EventKind{scheduler.EventCancelled, scheduler.EventFault, scheduler.EventBusy, scheduler.EventNoProxy} {
		away(t, func(w *world, ours scheduler.Fence, event func(scheduler.EventKind, scheduler.Fence, int)) {
			event(kind, older(ours, 2), 0)
			if _, still := w.l.elsewhere["x"]; !still {
				t.Fatalf("%s of an attempt that was given up ended it", kind)
			}
			event(scheduler.EventProgress, older(ours, 1), 10)
			event(kind, older(ours, 2), 0)
			if _, still := w.l.elsewhere["x"]; !still {
				t.Fatalf("%s of another attempt ended it", kind)
			}
			event(scheduler.EventCancelled, older(ours, 1), 10)
			if len(w.l.elsewhere) > 0 || len(w.stream.left()) > 0 {
				t.Errorf("%s: it is not over: %v", kind, w.stream.left())
			}
		})
	}
}

// TestANewerAttemptHoldsTheCall: when it fails, the request waits again.
func TestANewerAttemptHoldsTheCall(t *testing.T) {
	away(t, func(w *world, ours scheduler.Fence, event func(scheduler.EventKind, scheduler.Fence, int)) {
		newer := ours
		newer.Revision++
		event(scheduler.EventFault, newer, 0)
		if it := w.l.items["x"]; it == nil || it.run == nil {
			t.Error("it was not tried again")
		}
	})
}

// TestAStaleAttemptIsNotAdoptedAgain from a beat that was written before.
func TestAStaleAttemptIsNotAdoptedAgain(t *testing.T) {
	direct(t, 8, 0, func(w *world) {
		w.put("x", "a", 100)
		w.pass()
		s, r := w.attempt(t, "x")
		beat := s.report()
		w.happens(t, "x", scheduler.Event{Kind: scheduler.EventStale})
		w.tell(beat)
		if n := w.l.turn.Running("normal"); n != 0 || len(w.l.elsewhere) != 1 {
			t.Errorf("%d run, %d elsewhere", n, len(w.l.elsewhere))
		}
		delete(s.running, attemptKey{"x", r.Grant.Fence})
	})
}

// TestWhatRunsOnARemovedBackend is ended by its own attempt only.
func TestWhatRunsOnARemovedBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t.Context(), nil)
		w.cfg.Policy.Classes = map[string]Class{"normal": {Weight: 1}}
		w.cfg.Policy.Backend.Backends = []capacity.BackendConfig{{URL: gpuA}}
		w.lead()
		w.put("x", "a", 100)
		w.pass()
		s, r := w.attempt(t, "x")
		w.cfg.Policy.Backend.Backends = []capacity.BackendConfig{{URL: gpuB}}
		w.lead()
		f := r.Grant.Fence
		for _, c := range []struct {
			fence scheduler.Fence
			left  int
		}{{older(f, 1), 1}, {f, 0}} {
			w.tell(&scheduler.Report{Worker: s.id, Pool: pool, Events: []scheduler.Event{{ID: "x", Fence: c.fence, Kind: scheduler.EventCancelled}}})
			if n := len(w.l.elsewhere); n != c.left {
				t.Errorf("%d elsewhere, want %d", n, c.left)
			}
		}
		delete(s.running, attemptKey{"x", f})
		w.finish()
		for _, what := range w.wrong {
			t.Error(what)
		}
	})
}
