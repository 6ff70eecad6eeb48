package dispatcher

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/scheduler"
)

// TestAPersonIsToldOfItsOwn: what runs and what waits, of nobody else, and not
// without bound.
func TestAPersonIsToldOfItsOwn(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 2}}, func(h *house) {
		lister, ok := h.bus.from("px").Dispatcher(pool).(scheduler.Lister)
		if !ok {
			t.Error("the leader is no lister")
			return
		}
		list := func(user string) []scheduler.Listed {
			t.Helper()
			got, err := lister.List(h.t.Context(), user)
			if err != nil {
				t.Error(err)
			}
			return got
		}
		if got := list("ann"); len(got) != 0 {
			t.Errorf("of nobody: %+v", got)
		}
		var cs []*client
		for range 2 {
			cs = append(cs, h.ask(wish{user: "ann", in: 10, out: 1000}))
		}
		advance(time.Second)
		for range 3 {
			cs = append(cs, h.ask(wish{user: "bob", in: 10, out: 10, class: "vip"}), h.ask(wish{user: "ann", in: 10, out: 10}))
		}
		advance(2 * time.Second)
		var got []string
		for _, x := range list("ann") {
			got = append(got, fmt.Sprintf("%s %s %s running=%t waited=%s position=%d no_backend=%t", x.ID, x.Model, x.Class, x.Running, x.Waited, x.Position, x.NoBackend))
		}
		want := []string{
			"px-1 m normal running=true waited=0s position=0 no_backend=false",
			"px-2 m normal running=true waited=0s position=0 no_backend=false",
			"px-4 m normal running=false waited=2s position=4 no_backend=false",
			"px-6 m normal running=false waited=2s position=5 no_backend=false",
			"px-8 m normal running=false waited=2s position=6 no_backend=false",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		for range 150 {
			cs = append(cs, h.ask(wish{user: "many", in: 10, out: 10}))
		}
		advance(time.Millisecond)
		if got := list("many"); len(got) != mostListed || got[0].Position >= got[mostListed-1].Position {
			t.Errorf("%d are listed", len(got))
		}
		for _, c := range cs {
			c.served(t)
		}
		if got := list("ann"); len(got) != 0 {
			t.Errorf("of what is over: %+v", got)
		}
	})
}

// TestWhoWaitsAgainIsToldSo: its proxy has taken it for granted, and must not go on
// to when it shuts down. It hears that no backend is up, too.
func TestWhoWaitsAgainIsToldSo(t *testing.T) {
	inHouse(t, plan{}, func(h *house) {
		h.gpus[gpuA].set(func() { h.gpus[gpuA].rate, h.gpus[gpuA].peak = 1, 0 }) // the prefill takes its time
		c := h.ask(wish{in: 100, out: 10})
		advance(100 * time.Millisecond)
		h.gpus[gpuA].kill()
		advance(100 * time.Millisecond)
		c.mu.Lock()
		if n := len(c.events); n == 0 || c.events[n-1].Kind != scheduler.CallQueued || c.events[n-1].Position != 1 || !c.events[n-1].NoBackend {
			t.Errorf("after the backend's death: %+v", c.events)
		}
		c.mu.Unlock()
		h.gpus[gpuA].set(func() { h.gpus[gpuA].rate = 100_000 })
		h.gpus[gpuA].revive()
		c.served(t)
	})
}

// TestImpatience: who may wait for a short time only is refused at once where others
// wait, and told when it is worth to come back.
func TestImpatience(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 2}}, func(h *house) {
		var cs []*client
		for range 100 { // 2 at once, 2 s each: 100 s
			cs = append(cs, h.ask(wish{user: "crowd", in: 10, out: 200, maxTokens: 200}))
		}
		for i := range 40 {
			cs = append(cs, h.ask(wish{user: fmt.Sprint("u", i), in: 10, out: 200, maxTokens: 200}))
		}
		advance(35 * time.Second)
		impatient := h.ask(wish{user: "late", in: 10, out: 10, wait: 100 * time.Millisecond})
		impatient.refused(t, scheduler.CodeOverloaded, scheduler.ReasonDeadline)
		if p := impatient.problem; p.RetryAfter < time.Second || p.RetryAfter > time.Minute || p.NoRetry || impatient.ended.Sub(impatient.asked) > 50*time.Millisecond {
			t.Errorf("got %+v after %s", p, impatient.ended.Sub(impatient.asked))
		}
		patient := h.ask(wish{user: "late", in: 10, out: 10, wait: 2 * time.Minute})
		patient.served(t)
		for _, c := range cs {
			c.served(t)
		}
	})
}
