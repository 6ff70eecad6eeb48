package dispatcher

import (
	"testing"

	"fairlane/scheduler"
)

// TestWhatABackendRefusesCostsNothing: it did no work for a request with which
// something is wrong, and its user is not behind the others for it, whatever it says
// that it counted.
func TestWhatABackendRefusesCostsNothing(t *testing.T) {
	usage := scheduler.Usage{Input: 2_000, Output: 10, Known: true}
	for name, x := range map[string]struct {
		end  scheduler.Event
		paid float64 // tokens
	}{
		"served":           {scheduler.Event{Outcome: scheduler.Completed, Usage: usage}, 2_020},
		"refused":          {scheduler.Event{Outcome: scheduler.Invalid}, 0},
		"refused, counted": {scheduler.Event{Outcome: scheduler.Invalid, Usage: usage}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			direct(t, 8, 0, func(w *world) {
				w.put("steady", "steady", 10)
				w.pass() // and keeps the others' place
				w.put("x", "u", usage.Input)
				w.pass()
				x.end.Kind, x.end.Sent = scheduler.EventEnd, true
				w.ends(t, "x", x.end)
				ahead := 0.0
				class := w.l.turn.Queue.Dump().Children[0]
				for _, user := range class.Children {
					if user.Key == "u" {
						ahead = user.V - class.VNow
					}
				}
				if ahead < x.paid/2 || ahead > x.paid {
					t.Errorf("its user has paid %v tokens, want about %v", ahead, x.paid)
				}
				w.ends(t, "steady", scheduler.Event{Kind: scheduler.EventEnd, Sent: true, Outcome: scheduler.Completed})
			})
		})
	}
}
