package worker

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/scheduler"
	"fairlane/scheduler/vllm"
)

func TestCancel(t *testing.T) {
	slow := func(ctx context.Context, h scheduler.Handshake) (*scheduler.Handover, error) {
		select {
		case <-time.After(time.Second):
			return goAhead(ctx, h)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	for _, tc := range []struct {
		name      string
		shake     func(context.Context, scheduler.Handshake) (*scheduler.Handover, error)
		answer    http.HandlerFunc
		stream    bool
		sent      bool
		generated int
	}{
		{"before go", slow, nil, true, false, 0},
		{"before the first byte", goAhead, silence, true, true, 0},
		{"before a whole answer", goAhead, silence, false, true, 0},
		{"in a whole answer", goAhead, then(says(200, "{"), silence), false, true, 0},
		{"in a stream", goAhead, then(sse(textChunk, textChunk), silence), true, true, 2},
		{"before the first event is complete", goAhead, then(sse("data: "), silence), true, true, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := build(t, nil)
				h.engine.answer, h.proxy.shake = tc.answer, tc.shake
				g := h.grant(func(g *scheduler.Grant) { g.Entry.Stream = tc.stream })
				<-time.After(500 * time.Millisecond)
				began := time.Now()
				for range 2 {
					if err := h.w.Cancel(t.Context(), g.Entry.ID, g.Fence); err != nil {
						t.Error(err)
					}
				}
				ev := <-h.leader.ended
				want := scheduler.Event{ID: "r1", Fence: g.Fence, Backend: gpu, Kind: scheduler.EventCancelled, Sent: tc.sent, Generated: tc.generated, Outcome: scheduler.Cancelled}
				if diff := cmp.Diff(want, ev); diff != "" {
					t.Error(diff)
				}
				if time.Since(began) != 0 {
					t.Errorf("it took %v", time.Since(began))
				}
				synctest.Wait()
				if n := h.engine.busy(); n > 0 {
					t.Error("the backend still works on it")
				}
				if story := h.proxy.story(g.Fence); strings.Contains(story, "err") || strings.Contains(story, "end") {
					t.Error(story)
				}
			})
		})
	}
}

// A client that leaves before there is a connection has cost nothing.
func TestACancelBeforeTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		hangs := func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		if err := h.fleet.Apply("main", []vllm.Config{{URL: gpu, APIKey: "other", Dial: hangs}}); err != nil {
			t.Fatal(err)
		}
		g := h.grant(nil)
		synctest.Wait()
		if err := h.w.Cancel(t.Context(), g.Entry.ID, g.Fence); err != nil {
			t.Error(err)
		}
		if ev := <-h.leader.ended; ev.Kind != scheduler.EventCancelled || ev.Sent {
			t.Errorf("got %+v", ev)
		}
	})
}

func TestCancelOfWhatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		h.engine.answer = then(after(time.Second), sse(done))
		g := h.grant(nil)
		older := g.Fence
		older.Attempt--
		for id, f := range map[string]scheduler.Fence{"nobody": g.Fence, g.Entry.ID: older} {
			if err := h.w.Cancel(t.Context(), id, f); err != nil {
				t.Error(err)
			}
		}
		if ev := <-h.leader.ended; ev.Outcome != scheduler.Completed {
			t.Errorf("got %+v", ev)
		}
		if err := h.w.Cancel(t.Context(), g.Entry.ID, g.Fence); err != nil { // it is over
			t.Error(err)
		}
	})
}

// A client that leaves while its backend goes down is no victim of it.
func TestACancelAtADeathIsACancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		h.engine.answer = then(sse(textChunk), silence)
		g := h.grant(nil)
		<-time.After(time.Second)
		if err := h.w.Cancel(t.Context(), g.Entry.ID, g.Fence); err != nil {
			t.Error(err)
		}
		h.net.Die()
		if ev := <-h.leader.ended; ev.Kind != scheduler.EventCancelled || ev.Died {
			t.Errorf("got %+v", ev)
		}
	})
}

// refuse lets n frames through and answers the others with err.
func (p *proxy) refuse(n int, err error) {
	p.take = func(*scheduler.Frame) error {
		if n--; n < 0 {
			return err
		}
		return nil
	}
}

func TestFramesThatAreNotTaken(t *testing.T) {
	const untold = 1000
	for _, tc := range []struct {
		name    string
		n       int
		err     error
		stream  bool
		want    scheduler.EventKind
		outcome scheduler.Outcome
		story   string // its end
	}{
		{"the client left before the head", 0, scheduler.ErrUnknownCall, true, scheduler.EventCancelled, scheduler.Cancelled, "attempt 1"},
		{"the client left in a stream", 2, scheduler.ErrUnknownCall, true, scheduler.EventCancelled, scheduler.Cancelled, textChunk},
		{"the client left before a whole answer", 0, scheduler.ErrUnknownCall, false, scheduler.EventCancelled, scheduler.Cancelled, "attempt 1"},
		{"the client left after the head", 1, scheduler.ErrUnknownCall, false, scheduler.EventCancelled, scheduler.Cancelled, completion},
		{"the client left at the end", 2, scheduler.ErrUnknownCall, false, scheduler.EventEnd, scheduler.Completed, "end completed"},
		{"the head does not leave", 0, errors.New("reconnecting"), true, scheduler.EventNoProxy, "", "attempt 1"},
		{"the head of a whole answer does not leave", 0, errors.New("reconnecting"), false, scheduler.EventNoProxy, "", "attempt 1"},
		{"a piece does not leave", 2, errors.New("reconnecting"), true, scheduler.EventEnd, scheduler.Lost, "err answer_lost lost"},
		{"a whole answer does not leave", 1, errors.New("reconnecting"), false, scheduler.EventEnd, scheduler.Lost, "err answer_lost lost"},
		{"all is well", untold, nil, true, scheduler.EventEnd, scheduler.Completed, "end completed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := build(t, nil)
				h.proxy.refuse(tc.n, tc.err)
				answer := says(200, completion)
				if tc.stream {
					answer = then(sse(textChunk), after(100*time.Millisecond), sse(textChunk), after(100*time.Millisecond), sse(done))
				}
				ev, story := h.serve(answer, func(g *scheduler.Grant) { g.Entry.Stream = tc.stream })
				if ev.Kind != tc.want || ev.Outcome != tc.outcome || ev.Died || !ev.Sent {
					t.Errorf("got %+v", ev)
				}
				if !strings.HasSuffix(story, tc.story) {
					t.Error(story)
				}
			})
		})
	}
}

func noPong(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestAProxyThatIsDeadHasNoClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, func(c *Config) { c.Pools = map[string]Pool{"main": {Idle: 7500 * time.Millisecond}} })
		h.proxies["other"] = &proxy{t: t, shake: goAhead, frames: map[scheduler.Fence][]scheduler.Frame{}, ping: noPong}
		h.engine.answer = then(sse(textChunk), silence)
		other := h.grant(func(g *scheduler.Grant) { g.Entry.Proxy = "other" })
		mine := h.grant(nil)
		answers := []error{nil, scheduler.ErrNoResponder, nil, scheduler.ErrNoResponder, scheduler.ErrNoResponder}
		h.proxy.set(func(p *proxy) {
			p.ping = func(context.Context) error {
				err := answers[0]
				answers = answers[1:]
				return err
			}
		})
		began := time.Now()
		ev := <-h.leader.ended
		if ev.Fence != mine.Fence || ev.Kind != scheduler.EventCancelled {
			t.Errorf("got %+v", ev)
		}
		if d := time.Since(began); d != 5*time.Second { // one that hangs does not hold up the others
			t.Errorf("it took %v", d)
		}
		// One that does not answer, but is there, may have been stopped: it keeps its calls.
		ev = <-h.leader.ended
		if ev.Fence != other.Fence || ev.Kind != scheduler.EventEnd || ev.Problem != nil {
			t.Errorf("got %+v", ev)
		}
		h.proxy.set(func(p *proxy) { p.pings = 0 })
		<-time.After(10 * time.Second)
		if h.proxy.pings != 0 {
			t.Error("a proxy without calls is still pinged")
		}
	})
}

// A proxy that hangs must not keep another one's silent calls from being kept alive.
func TestBeatsDoNotWaitForAProxyThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, func(c *Config) { c.Pools = map[string]Pool{"main": {}} })
		for _, id := range []string{"a", "b", "c", "d"} {
			h.proxies[id] = &proxy{t: t, shake: goAhead, frames: map[scheduler.Fence][]scheduler.Frame{}, ping: noPong}
		}
		h.engine.answer = then(sse(textChunk), silence)
		for id := range h.proxies {
			h.grant(func(g *scheduler.Grant) { g.Entry.Proxy = id })
		}
		last, longest := time.Now(), time.Duration(0)
		h.proxy.set(func(p *proxy) {
			p.take = func(*scheduler.Frame) error {
				longest = max(longest, time.Since(last))
				last = time.Now()
				return nil
			}
		})
		<-time.After(30 * time.Second)
		h.proxy.set(func(*proxy) {
			if longest > 2*time.Second || time.Since(last) > 2*time.Second {
				t.Errorf("nothing for %v", max(longest, time.Since(last)))
			}
		})
		for _, g := range h.grants {
			if err := h.w.Cancel(t.Context(), g.Entry.ID, g.Fence); err != nil {
				t.Error(err)
			}
		}
	})
}
