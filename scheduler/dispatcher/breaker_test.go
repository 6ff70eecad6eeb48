package dispatcher

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"fairlane/scheduler"
)

// listen keeps what the leader logs, from Info on.
func (w *world) listen() *bytes.Buffer {
	log := &bytes.Buffer{}
	w.cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	return log
}

// ends is the end of the attempt at a request, at the backend and at its worker.
func (w *world) ends(t *testing.T, id string, ev scheduler.Event) {
	t.Helper()
	s, r := w.attempt(t, id)
	k := attemptKey{id, r.Grant.Fence}
	w.happens(t, id, ev)
	delete(s.running, k)
}

// probes is how many of old0 to old4 run.
func (w *world) probes() (n int) {
	for i := range 5 {
		if it := w.l.items[fmt.Sprintf("old%d", i)]; it != nil && it.run != nil {
			n++
		}
	}
	return n
}

// The requests of one person that the backend answers with an error end after
// their attempts, and nobody else notices.
func TestAnErrorThatIsAnsweredIsNotHeldAgainstTheBackend(t *testing.T) {
	direct(t, 8, 0, func(w *world) {
		log := w.listen()
		failed := scheduler.Problemf(scheduler.CodeBackendFailed, "500")
		for i := range 4 {
			id := fmt.Sprintf("bad%d", i)
			w.put(id, "bad", 10)
			w.pass()
			for range 3 {
				w.ends(t, id, scheduler.Event{Kind: scheduler.EventFault, Sent: true, Answered: true, Problem: failed})
				w.pass()
			}
			if w.ended[id] != 1 {
				t.Fatalf("%s was told %d ends", id, w.ended[id])
			}
		}
		for i := range 6 { // the same of those that stream
			id := fmt.Sprintf("cut%d", i)
			w.put(id, "bad", 10)
			w.pass()
			w.ends(t, id, scheduler.Event{Kind: scheduler.EventEnd, Sent: true, Answered: true, Outcome: scheduler.Failed})
			w.pass()
		}
		w.put("good", "good", 10)
		w.pass()
		w.attempt(t, "good")
		if log.Len() > 0 {
			t.Error(log)
		}
	})
}

// breaks lets five requests, old0 to old4, fail in a row.
func (w *world) breaks(t *testing.T) {
	t.Helper()
	for i := range 5 {
		w.put(fmt.Sprintf("old%d", i), "old", 10)
	}
	w.pass()
	broke := scheduler.Problemf(scheduler.CodeBackendFailed, "the connection broke")
	for i := range 5 {
		w.ends(t, fmt.Sprintf("old%d", i), scheduler.Event{Kind: scheduler.EventFault, Sent: true, Problem: broke})
	}
	w.pass()
}

// What has faulted does not probe, stands in nobody's way, and is served when the
// probe was answered, with whatever.
func TestAProbeIsOneThatHasNotFailed(t *testing.T) {
	for name, answer := range map[string]scheduler.Event{
		"completed": {Kind: scheduler.EventEnd, Outcome: scheduler.Completed},
		"invalid":   {Kind: scheduler.EventEnd, Outcome: scheduler.Invalid},
		"an error":  {Kind: scheduler.EventFault, Sent: true, Answered: true},
		"cut off":   {Kind: scheduler.EventEnd, Outcome: scheduler.Failed, Answered: true},
	} {
		t.Run(name, func(t *testing.T) {
			direct(t, 8, 0, func(w *world) {
				log := w.listen()
				w.breaks(t)
				if s := log.String(); strings.Count(s, "level=WARN") != 1 || !strings.Contains(s, "backend="+gpuA) || !strings.Contains(s, "the connection broke") {
					t.Errorf("logged %q", s)
				}
				advance(time.Second)
				w.pass()
				if n := w.probes(); n != 0 {
					t.Errorf("%d probe", n)
				}
				w.put("fresh", "fresh", 10)
				w.pass()
				w.ends(t, "fresh", answer)
				w.pass()
				if s := log.String(); strings.Count(s, "level=INFO") != 1 {
					t.Errorf("logged %q", s)
				}
				if w.probes() == 0 {
					t.Error("what failed is not tried again")
				}
			})
		})
	}
}

// Where nobody else comes, what has faulted is not left waiting.
func TestWhatHasFailedProbesIfNobodyElseDoes(t *testing.T) {
	direct(t, 8, 0, func(w *world) {
		log := w.listen()
		w.breaks(t)
		for i, wait := range []time.Duration{2 * time.Second, 4 * time.Second} {
			advance(wait - time.Millisecond)
			w.pass()
			if n := w.probes(); n != 0 {
				t.Fatalf("%d probe early", n)
			}
			advance(time.Millisecond)
			w.pass()
			if n := w.probes(); n != 1 {
				t.Fatalf("%d probe", n)
			}
			if i == 0 {
				w.ends(t, "old0", scheduler.Event{Kind: scheduler.EventFault, Sent: true})
				w.pass()
			}
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 1 {
			t.Errorf("warned %d times of one backend", n)
		}
	})
}
