package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/scheduler"
)

func verdict(v scheduler.Verdict, err error) func(context.Context, scheduler.Handshake) (*scheduler.Handover, error) {
	return func(context.Context, scheduler.Handshake) (*scheduler.Handover, error) {
		if err != nil {
			return nil, err
		}
		return &scheduler.Handover{Verdict: v}, nil
	}
}

func TestTheHandshakeDecides(t *testing.T) {
	for _, tc := range []struct {
		name  string
		shake func(context.Context, scheduler.Handshake) (*scheduler.Handover, error)
		want  scheduler.EventKind
		took  time.Duration
	}{
		{"stale", verdict(scheduler.Stale, nil), scheduler.EventStale, 0},
		{"gone", verdict(scheduler.Gone, nil), scheduler.EventGone, 0},
		{"nobody there", verdict("", scheduler.ErrNoResponder), scheduler.EventNoProxy, 0},
		{"it goes wrong", verdict("", errors.New("no")), scheduler.EventNoProxy, 0},
		{"no answer", func(ctx context.Context, _ scheduler.Handshake) (*scheduler.Handover, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, scheduler.EventNoProxy, handshakePatience},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := build(t, nil)
				h.proxy.shake = tc.shake
				began := time.Now()
				ev, story := h.serve(nil, nil)
				if diff := cmp.Diff(fault{Kind: tc.want}, faultOf(ev)); diff != "" || story != "" {
					t.Error(diff, story)
				}
				if d := time.Since(began); d != tc.took {
					t.Errorf("it took %v", d)
				}
				if len(h.engine.seen) > 0 {
					t.Errorf("the backend was asked: %v", h.engine.seen)
				}
			})
		})
	}
}

// TestALargeBodyHasTime to come over a slow network.
func TestALargeBodyHasTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		h.proxy.shake = func(ctx context.Context, hs scheduler.Handshake) (*scheduler.Handover, error) {
			select {
			case <-time.After(40 * time.Second):
				return goAhead(ctx, hs)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if ev, _ := h.serve(sse(done), nil); ev.Outcome != scheduler.Completed {
			t.Errorf("got %+v", ev)
		}
	})
}

func TestTheHandshakeSaysWhoAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		var got scheduler.Handshake
		h.proxy.shake = func(_ context.Context, hs scheduler.Handshake) (*scheduler.Handover, error) {
			got = hs
			return &scheduler.Handover{Verdict: scheduler.Gone}, nil
		}
		ev, _ := h.serve(nil, nil)
		if diff := cmp.Diff(scheduler.Handshake{ID: "r1", Fence: ev.Fence, Worker: "w1"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestGrantsThatAreNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		for name, change := range map[string]func(g *scheduler.Grant){
			"of another pool":         func(g *scheduler.Grant) { g.Entry.Pool = "other" },
			"of a backend not known":  func(g *scheduler.Grant) { g.Backend = "http://elsewhere" },
			"of a backend of nothing": func(g *scheduler.Grant) { g.Backend = "" },
		} {
			if _, err := h.offer(change); !errors.Is(err, scheduler.ErrBusy) {
				t.Errorf("%s: %v", name, err)
			}
		}
		h.engine.answer = then(after(time.Second), sse(done))
		g := h.grant(func(g *scheduler.Grant) { g.Number = 7 })
		if _, err := h.offer(func(again *scheduler.Grant) { *again = *g }); !errors.Is(err, scheduler.ErrBusy) {
			t.Errorf("the same grant twice: %v", err)
		}
		<-h.leader.ended
		// What was refused must not seem to be over: the dispatcher would delete it.
		if _, err := h.offer(func(g *scheduler.Grant) { g.Number, g.Backend = 8, "http://elsewhere" }); err == nil {
			t.Error("it was taken")
		}
		if err := h.w.Muster(t.Context(), "main"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if got := h.leader.beat().LastGrant; got != 7 {
			t.Errorf("the last grant was %d", got)
		}
	})
}
