package dispatcher

import (
	"fmt"
	"math"
	"testing"
	"time"

	"fairlane/scheduler"
)

func TestServes(t *testing.T) {
	inHouse(t, plan{}, func(h *house) {
		a, b := h.ask(wish{in: 100, out: 50}), h.ask(wish{in: 100, out: 50, whole: true})
		a.served(t)
		b.served(t)
		if wait := a.granted.Sub(a.asked); wait != 0 {
			t.Errorf("waited %v for an idle backend", wait)
		}
		if took := a.ended.Sub(a.asked); took > time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// TestAVIPOvertakesAFlood: 8 slots, a flood of 200 from one user whose bounds are
// raised, then one of a VIP. It starts before every slot has turned over once: a
// newcomer begins at most a mean request, Q, behind the clock.
func TestAVIPOvertakesAFlood(t *testing.T) {
	inHouse(t, plan{}, func(h *house) {
		flood := make([]*client, 200)
		for i := range flood {
			flood[i] = h.ask(wish{user: "flood", in: 50, out: 300 + i%7*40, maxRunning: 100, maxQueued: 1000})
		}
		advance(10 * time.Second)
		h.look(func(l *leader) {
			if n := l.turn.Running("normal"); n != 8 {
				t.Fatalf("%d of the flood run", n)
			}
		})
		vip := h.ask(wish{user: "vip", class: "vip", in: 50, out: 100})
		vip.served(t)
		after := 0
		for _, c := range flood {
			c.served(t)
			if c.granted.After(vip.asked) && c.granted.Before(vip.granted) {
				after++
			}
		}
		if after > 3 {
			t.Errorf("%d of the flood were granted after the VIP came and before it", after)
		}
		turnover := 540 * 10 * time.Millisecond // the longest answer of the flood
		if wait := vip.first.Sub(vip.asked); wait > turnover {
			t.Errorf("the VIP's first byte came after %v, a slot turns over in %v", wait, turnover)
		}
		if len(vip.position) == 0 || vip.position[0] > 2 {
			t.Errorf("the VIP was told the positions %v", vip.position)
		}
		if p := flood[199].position; len(p) == 0 || p[0] < 150 {
			t.Errorf("the last of the flood was told the positions %v", p)
		}
	})
}

// delivered is the cost that users got until a moment at which all had work.
func delivered(clients map[string][]*client, at time.Time) map[string]float64 {
	out := map[string]float64{}
	for user, cs := range clients {
		for _, c := range cs {
			c.mu.Lock()
			if c.end != nil && c.ended.Before(at) {
				out[user] += scheduler.DefaultCost().Of(c.end.Usage)
			}
			c.mu.Unlock()
		}
	}
	return out
}

// TestEqualUsersGetEqualTokens although one asks for much longer answers: the
// difference stays within the bound 2B + 2K·Û of the fair queue, here for costs
// of at most 50+2·400.
func TestEqualUsersGetEqualTokens(t *testing.T) {
	inHouse(t, plan{}, func(h *house) {
		clients := map[string][]*client{}
		for i := range 400 {
			clients["short"] = append(clients["short"], h.ask(wish{user: "short", in: 50, out: 50}))
			if i < 100 {
				clients["long"] = append(clients["long"], h.ask(wish{user: "long", in: 50, out: 400}))
			}
		}
		advance(40 * time.Second)
		at := time.Now()
		for _, cs := range clients {
			for _, c := range cs {
				c.served(t)
			}
		}
		got := delivered(clients, at)
		const largest, slots = 50 + 2*400, 8
		bound := float64(2*(largest+slots*largest) + 2*slots*largest)
		if d := math.Abs(got["short"] - got["long"]); d > bound/4 || got["long"] < 10_000 {
			t.Errorf("got %v, a difference of %.0f, the bound is %.0f", got, d, bound)
		}
	})
}

// TestWeightsShare the GPU 8:3:1 among classes.
func TestWeightsShare(t *testing.T) {
	classes := map[string]Class{"a": {Weight: 8}, "b": {Weight: 3}, "c": {Weight: 1}}
	inHouse(t, plan{classes: classes}, func(h *house) {
		clients := map[string][]*client{}
		for i := range 600 {
			for class := range classes {
				clients[class] = append(clients[class], h.ask(wish{user: fmt.Sprintf("%s%d", class, i%3), class: class, in: 40, out: 60 + i*37%90}))
			}
		}
		advance(100 * time.Second)
		at := time.Now()
		shares := h.gaugesOf("fairlane_class_share")
		entitled := h.gaugesOf("fairlane_class_entitled_share")
		for _, cs := range clients {
			for _, c := range cs {
				c.served(t)
			}
		}
		got := delivered(clients, at)
		sum := got["a"] + got["b"] + got["c"]
		for class, weight := range map[string]float64{"a": 8, "b": 3, "c": 1} {
			if share := got[class] / sum; math.Abs(share-weight/12) > 0.03 {
				t.Errorf("class %s got %.3f of the work, its weight entitles it to %.3f", class, share, weight/12)
			}
			if math.Abs(shares[class]-weight/12) > 0.03 || math.Abs(entitled[class]-weight/12) > 0.001 {
				t.Errorf("class %s: metrics say %.3f of %.3f", class, shares[class], entitled[class])
			}
		}
	})
}

// TestShareByUser: without a level of classes a user's weight is class × own.
func TestShareByUser(t *testing.T) {
	classes := map[string]Class{"heavy": {Weight: 3}, "light": {Weight: 1}}
	inHouse(t, plan{classes: classes, share: []string{"user"}}, func(h *house) {
		clients := map[string][]*client{}
		for range 300 {
			clients["x"] = append(clients["x"], h.ask(wish{user: "x", class: "heavy", in: 40, out: 100}))
			clients["y"] = append(clients["y"], h.ask(wish{user: "y", class: "light", weight: 2, in: 40, out: 100}))
		}
		advance(40 * time.Second)
		at := time.Now()
		for _, cs := range clients {
			for _, c := range cs {
				c.served(t)
			}
		}
		got := delivered(clients, at)
		if ratio := got["x"] / got["y"]; math.Abs(ratio-1.5) > 0.15 {
			t.Errorf("x got %.2f times what y got, want 1.5: %v", ratio, got)
		}
	})
}
