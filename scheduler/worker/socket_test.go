package worker

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"fairlane/scheduler"
	"fairlane/scheduler/vllm"
)

// TestOverSockets is the way of a request with a real network below it.
func TestOverSockets(t *testing.T) {
	e := &engine{}
	srv := httptest.NewServer(e)
	t.Cleanup(srv.Close)
	l := &leader{ended: make(chan scheduler.Event, 10)}
	p := &proxy{t: t, shake: goAhead, frames: map[scheduler.Fence][]scheduler.Frame{}}
	fleet := vllm.NewFleet()
	if err := fleet.Apply("main", []vllm.Config{{URL: srv.URL}}); err != nil {
		t.Fatal(err)
	}
	w := New(Config{ID: "w1", Fleet: fleet, Bus: &house{proxies: map[string]*proxy{"px": p}, leader: l}, Pools: map[string]Pool{"main": {}}})
	fleet.Start(t.Context(), w.Changed)
	t.Cleanup(fleet.Stop)
	w.Start(t.Context())
	t.Cleanup(w.Stop)
	if !fleet.Backend("main", srv.URL).Look(t.Context()).Up {
		t.Fatal("the backend is not up")
	}
	attempts := uint32(0)
	grant := func(answer http.HandlerFunc) *scheduler.Grant {
		e.set(func(e *engine) { e.answer = answer })
		attempts++
		g := &scheduler.Grant{
			Entry: scheduler.Entry{ID: "r1", Proxy: "px", Pool: "main", Endpoint: "chat", Path: "/v1/chat/completions", Stream: true},
			Fence: scheduler.Fence{Attempt: attempts}, Number: uint64(attempts), Try: 1, Backend: srv.URL,
		}
		w.Grant(g, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
		return g
	}

	grant(sse(roleChunk, textChunk, usageChunk, done))
	if ev := <-l.ended; ev.Outcome != scheduler.Completed || ev.Usage.Output != 5 {
		t.Errorf("a stream ended as %+v", ev)
	}

	begun, aborted := make(chan struct{}), make(chan struct{})
	g := grant(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		close(aborted)
	})
	<-begun
	if err := w.Cancel(t.Context(), g.Entry.ID, g.Fence); err != nil {
		t.Error(err)
	}
	if ev := <-l.ended; ev.Kind != scheduler.EventCancelled || !ev.Sent {
		t.Errorf("a cancel ended as %+v", ev)
	}
	<-aborted

	streaming := make(chan struct{})
	p.set(func(p *proxy) {
		p.take = func(f *scheduler.Frame) error {
			if f.Type == scheduler.FrameData {
				close(streaming)
			}
			return nil
		}
	})
	g = grant(then(sse(textChunk), silence))
	<-streaming
	srv.Listener.Close()
	srv.CloseClientConnections()
	if ev := <-l.ended; ev.Outcome != scheduler.Failed || !ev.Died {
		t.Errorf("a death ended as %+v; the proxy heard:\n%s", ev, p.story(g.Fence))
	}

	grant(nil)
	if ev := <-l.ended; ev.Kind != scheduler.EventFault || !ev.Refused || ev.Sent {
		t.Errorf("of a backend that is gone: %+v", ev)
	}
}
