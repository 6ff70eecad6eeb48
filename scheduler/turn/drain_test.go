package turn

import (
	"testing"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
)

// busyDrain has delivered so many tokens a second, and nothing is expected of slots.
func busyDrain(seconds int) *Drain {
	d, now := &Drain{}, time.Unix(1_000_000_000, 0)
	d.Tick(now, true)
	for range seconds {
		d.Delivered(1000 * fairqueue.Token)
		now = now.Add(time.Second)
		d.Tick(now, true)
	}
	return d
}

// TestHopeless: a request is refused at once if more than nine tenths of the time that
// it has left are expected to be waited away, and not by less, nor by what was seen for
// half a minute only. What its own others take is told apart.
func TestHopeless(t *testing.T) {
	t.Parallel()
	of := func(ahead, own int) *fairqueue.Outlook {
		return &fairqueue.Outlook{AheadCost: fairqueue.Cost(own) * 1000 * fairqueue.Token, Lag: fairqueue.Cost(ahead-own) * 1000 * fairqueue.Token, Share: 1}
	}
	const waiting = 1_000_000 * fairqueue.Token
	for _, x := range []struct {
		name             string
		measured         int // seconds
		ahead, own, left int // seconds
		want             scheduler.Reason
	}{
		{"well before its deadline", 60, 10, 0, 100, ""},
		{"just before it", 60, 89, 0, 100, ""},
		{"with little to spare", 60, 91, 0, 100, scheduler.ReasonDeadline},
		{"at twice its time", 60, 200, 0, 100, scheduler.ReasonDeadline},
		{"behind its user's own", 60, 95, 92, 100, scheduler.ReasonOwnBacklog},
		{"behind its user's own and others", 60, 95, 50, 100, scheduler.ReasonDeadline},
		{"when little is known", sureAfter - 1, 200, 0, 100, ""},
	} {
		why, all, _ := busyDrain(x.measured).Hopeless(of(x.ahead, x.own), waiting, time.Duration(x.left)*time.Second)
		if want := time.Duration(x.ahead) * time.Second; why != x.want || all != want {
			t.Errorf("%s: refused for %q, a wait of %v; want %q and %v", x.name, why, all, x.want, want)
		}
	}
}
