package dispatcher

import (
	"testing"
	"time"
)

// TestAnswersThatOutgrowWhatWasExpected: somebody whose answers were short asks for
// very long ones that show nothing before their end; what it and others are told to
// wait follows from how long they have been running.
func TestAnswersThatOutgrowWhatWasExpected(t *testing.T) {
	const length = 12_000 // of tokens, two minutes
	inHouse(t, plan{gpus: map[string]int{gpuA: 2}}, func(h *house) {
		for range 80 { // 2 at once, 1 s each
			h.ask(wish{user: "u", in: 10, out: 100})
		}
		advance(45 * time.Second)
		var long []*client
		for range 6 { // 2 of them run after a moment, 4 wait
			long = append(long, h.ask(wish{user: "u", in: 10, out: length, whole: true}))
		}
		advance(time.Minute)
		other := h.ask(wish{user: "other", in: 10, out: 10, wait: 20 * time.Minute})
		own := h.ask(wish{user: "u", in: 10, out: 10, wait: 20 * time.Minute})
		for name, c := range map[string]*client{"another": other, "its own": own} {
			c.served(t)
			if took := c.granted.Sub(c.asked); c.eta < took/3 || c.eta > 2*took {
				t.Errorf("%s was told to wait %v, waited %v", name, c.eta, took)
			}
		}
		for _, c := range long {
			c.served(t)
		}
	})
}
