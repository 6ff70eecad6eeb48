package worker

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/scheduler"
)

// TestAMusterReachesTheNewLeader although a report to the old one, who was stopped,
// is under way.
func TestAMusterReachesTheNewLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		h.leader.set(func(l *leader) {
			l.away = func(ctx context.Context, _ *scheduler.Report) error {
				<-ctx.Done()
				return ctx.Err()
			}
		})
		<-time.After(600 * time.Millisecond) // a beat is under way
		h.leader.set(func(l *leader) { l.away, l.beats = nil, 0 })
		if err := h.w.Muster(t.Context(), "main"); err != nil {
			t.Error(err)
		}
		<-time.After(150 * time.Millisecond)
		h.leader.set(func(l *leader) {
			if l.beats == 0 {
				t.Error("the new leader heard no beat")
			}
		})
	})
}

// A leader gives up a worker of which it hears nothing for three and a half beats.
func TestLostAnswersDoNotSilenceTheBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		last, longest, n := time.Now(), time.Duration(0), 0
		h.leader.set(func(l *leader) {
			l.away = func(ctx context.Context, r *scheduler.Report) error {
				if n++; n%3 != 0 { // two of three are lost on their way, or their answers are
					<-ctx.Done()
					return ctx.Err()
				}
				if r.Beat != nil {
					longest, last = max(longest, time.Since(last)), time.Now()
				}
				return nil
			}
		})
		<-time.After(30 * time.Second)
		h.leader.set(func(l *leader) { l.away = nil })
		if longest == 0 || longest > 1750*time.Millisecond {
			t.Errorf("no beat for %s", longest)
		}
	})
}

// TestAReportIsTheLeadersOnceItIsTold although it is told again.
func TestAReportIsTheLeadersOnceItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		h.engine.answer = then(sse(textChunk), after(400*time.Millisecond), sse(done))
		var kept []*scheduler.Report
		h.leader.set(func(l *leader) {
			l.away = func(ctx context.Context, r *scheduler.Report) error {
				if len(r.Events) == 0 || r.Events[0].Kind != scheduler.EventProgress {
					return nil
				}
				kept = append(kept, r)
				<-ctx.Done()
				return ctx.Err()
			}
		})
		h.grant(nil)
		<-h.leader.ended
		if len(kept) != 1 || len(kept[0].Events) != 1 || kept[0].Events[0].Kind != scheduler.EventProgress {
			t.Errorf("its events are others now: %+v", kept)
		}
	})
}

func TestTheBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		h.engine.answer = then(sse(textChunk), silence)
		g := h.grant(func(g *scheduler.Grant) { g.Number = 9 })
		<-time.After(600 * time.Millisecond)
		b := h.leader.beat()
		if b.LastGrant != 9 || b.Draining || b.Leaving || b.Started.IsZero() || len(b.Backends) != 1 || !b.Backends[0].Up {
			t.Errorf("got %+v", b)
		}
		if diff := cmp.Diff([]scheduler.Running{{Grant: *g, Sent: true, Generated: 1, FirstByte: true}}, b.Running); diff != "" {
			t.Error(diff)
		}
		h.leader.set(func(l *leader) { l.beats = 0 })
		<-time.After(5 * time.Second)
		h.leader.set(func(l *leader) {
			if l.beats != 10 {
				t.Errorf("%d beats in five seconds", l.beats)
			}
		})
		// A backend that goes down is told at once.
		h.engine.set(func(e *engine) { e.health = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) } })
		h.fleet.Backend("main", gpu).Look(t.Context())
		synctest.Wait()
		if h.leader.beat().Backends[0].Up {
			t.Error("still up")
		}
		if err := errors.Join(h.w.Muster(t.Context(), "nobody's"), h.w.Cancel(t.Context(), g.Entry.ID, g.Fence)); err != nil {
			t.Error(err)
		}
	})
}

func TestAnEndIsToldUntilALeaderHearsIt(t *testing.T) {
	for name, away := range map[string]func(context.Context, *scheduler.Report) error{"no leader": notLeader, "one that hangs": hangs} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := build(t, nil)
				var answer []http.HandlerFunc
				for range 10 {
					answer = append(answer, sse(textChunk), after(time.Second))
				}
				h.engine.answer = then(append(answer, sse(done))...)
				h.leader.set(func(l *leader) { l.away = away })
				g := h.grant(nil)
				<-time.After(30 * time.Second)
				if h.w.Running() != 1 || h.engine.busy() != 0 {
					t.Errorf("%d attempts are held, %d at the backend", h.w.Running(), h.engine.busy())
				}
				h.leader.set(func(l *leader) { l.away, l.heard, l.events = nil, nil, nil })
				ev := <-h.leader.ended
				if ev.Fence != g.Fence || ev.Outcome != scheduler.Completed || ev.Usage.Output != 10 {
					t.Errorf("got %+v", ev)
				}
				synctest.Wait()
				// A leader that is new learns from the beat what the events are about.
				if first := h.leader.heard[0]; !strings.HasPrefix(first, "beat first_byte") {
					t.Errorf("heard first: %s", first)
				}
				if h.w.Running() != 0 {
					t.Error("it is still held")
				}
				if kinds := h.leader.told(scheduler.EventEnd); len(kinds) != 1 {
					t.Errorf("told %d times", len(kinds))
				}
				if n := len(h.leader.told(scheduler.EventProgress)); n > 1 {
					t.Errorf("%d reports of a progress that is over", n)
				}
			})
		})
	}
}

// An attempt that is missing in a beat counts as over. So it stays in until its
// end was acknowledged.
func TestAnAttemptIsInTheBeatUntilItsEndWasHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		h.engine.answer = sse(done)
		var reports []*scheduler.Report
		var lost int
		h.leader.set(func(l *leader) {
			l.away = func(_ context.Context, r *scheduler.Report) error {
				if slices.ContainsFunc(r.Events, func(ev scheduler.Event) bool { return ev.Kind.Ends() }) && lost < 3 {
					lost++
					return scheduler.ErrNotLeader
				}
				reports = append(reports, r)
				return nil
			}
		})
		g := h.grant(nil)
		<-h.leader.ended
		<-time.After(time.Second)
		h.w.Stop()
		told := false
		for _, r := range reports {
			if b := r.Beat; b != nil && b.LastGrant == g.Number {
				runs := slices.ContainsFunc(b.Running, func(r scheduler.Running) bool { return r.Grant.Fence == g.Fence })
				if runs == told {
					t.Errorf("runs %v, told %v", runs, told)
				}
			}
			told = told || len(r.Events) > 0
		}
		if !told || lost != 3 {
			t.Errorf("told %v after %d times", told, lost)
		}
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		h.engine.answer = then(sse(textChunk), after(3*time.Second), sse(done))
		h.grant(nil)
		began := time.Now()
		drained := make(chan struct{})
		go func() {
			h.w.Drain(t.Context())
			h.w.Drain(t.Context())
			close(drained)
		}()
		synctest.Wait()
		if _, err := h.offer(nil); !errors.Is(err, scheduler.ErrBusy) {
			t.Errorf("a grant was taken: %v", err)
		}
		if b := h.leader.beat(); !b.Draining || b.Leaving || len(b.Running) != 1 {
			t.Errorf("the dispatcher was not told: %+v", b)
		}
		<-drained
		if d := time.Since(began); d != 3*time.Second {
			t.Errorf("it took %v", d)
		}
		if ev := <-h.leader.ended; ev.Outcome != scheduler.Completed {
			t.Errorf("got %+v", ev)
		}
		h.w.Stop()
		if b := h.leader.beat(); !b.Leaving || len(b.Running) != 0 {
			t.Errorf("no goodbye: %+v", b)
		}
	})
}

func TestDrainHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		h.engine.answer = silence
		h.grant(nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		h.w.Drain(ctx)
		if h.w.Running() != 1 {
			t.Error("it was cut off")
		}
	})
}

func TestStopCutsOffWhatRuns(t *testing.T) {
	for _, tc := range []struct {
		name   string
		shake  func(context.Context, scheduler.Handshake) (*scheduler.Handover, error)
		answer http.HandlerFunc
		want   fault
		last   string
	}{
		{"in the handshake", func(ctx context.Context, _ scheduler.Handshake) (*scheduler.Handover, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, nil, fault{Kind: scheduler.EventNoProxy}, ""},
		{"before the first byte", goAhead, silence, fault{Kind: scheduler.EventNoProxy, Sent: true}, ""},
		{"with half an event", goAhead, then(sse("data: "), silence), fault{Kind: scheduler.EventNoProxy, Sent: true}, ""},
		{"in a stream", goAhead, then(sse(textChunk), silence), fault{Kind: scheduler.EventEnd, Sent: true}, "err shutting_down lost"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := build(t, nil)
				h.proxy.shake, h.engine.answer = tc.shake, tc.answer
				g := h.grant(nil)
				<-time.After(500 * time.Millisecond)
				began := time.Now()
				h.w.Stop()
				h.w.Stop()
				if time.Since(began) != 0 {
					t.Errorf("it took %v", time.Since(began))
				}
				ev := <-h.leader.ended
				if diff := cmp.Diff(tc.want, faultOf(ev)); diff != "" {
					t.Error(diff)
				}
				if story := h.proxy.story(g.Fence); !strings.HasSuffix(story, tc.last) || tc.last == "" && story != "" {
					t.Error(story)
				}
				if b := h.leader.beat(); !b.Leaving {
					t.Errorf("no goodbye: %+v", b)
				}
				if _, err := h.offer(nil); !errors.Is(err, scheduler.ErrBusy) {
					t.Errorf("a grant was taken: %v", err)
				}
			})
		})
	}
}

func TestStartAndStopTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		h.engine.answer = silence
		first := h.leader.beat().Started
		g := h.grant(nil)
		synctest.Wait()
		h.leader.set(func(l *leader) { l.away = notLeader })
		began := time.Now()
		h.w.Stop() // nobody hears the end
		if d := time.Since(began); d != goodbyePatience {
			t.Errorf("it took %v", d)
		}
		h.leader.set(func(l *leader) { l.away = nil })
		h.w.Start(t.Context())
		h.w.Start(t.Context())
		synctest.Wait()
		b := h.leader.beat()
		if len(b.Running) != 0 || b.Draining || b.Started.Equal(first) {
			t.Errorf("it is not as new: %+v", b)
		}
		h.grants = slices.DeleteFunc(h.grants, func(o *scheduler.Grant) bool { return o == g })
		if ev, _ := h.serve(sse(done), func(g *scheduler.Grant) { g.Entry.ID = "r2" }); ev.Outcome != scheduler.Completed {
			t.Errorf("got %+v", ev)
		}
	})
}

func TestNothingSecretIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		ev, _ := h.serve(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			says(500, r.Header.Get("Authorization")+string(body))(w, r)
		}, nil)
		if p := ev.Problem.Error(); strings.Contains(p, "secret") || strings.Contains(p, "prompt") {
			t.Errorf("the client is told %s", p)
		}
	})
}
