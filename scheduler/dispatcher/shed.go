package dispatcher

import (
	"fmt"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/turn"
)

// shed refuses what has waited for too long in classes that ask for it, while a
// head waits for capacity: nobody waits for answers that come too late, and the
// newest are served in time. While no backend is up, and for as long after it as
// any request waits before, nothing is.
func (l *leader) shed(now time.Time) {
	if !l.open || !l.short || !l.noneUp.IsZero() {
		return
	}
	for name, class := range l.policy.Classes {
		if class.CoDel {
			l.shedClass(l.class(name), now)
		}
	}
}

func (l *leader) shedClass(c *classState, now time.Time) {
	for it := c.front; it != nil && !turn.Fresh(it.entry, now); {
		next, limit := it.newer, turn.Patience(it.entry)
		if limit > 0 && now.Sub(it.entry.AcceptedAt) >= limit && now.Sub(l.upAgain) >= limit {
			l.endQueued(it, l.refusal(it, scheduler.CodeOverloaded, scheduler.ReasonShed,
				fmt.Sprintf("too much waits, and the request waited %s, as long as its class lets it then", scheduler.Words(now.Sub(it.entry.AcceptedAt)))))
		}
		it = next
	}
}
