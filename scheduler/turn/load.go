package turn

import (
	"errors"
	"fmt"
	"time"

	"fairlane/scheduler"
)

const (
	// tighten is how long a pool is loaded before the level rises by one, and before
	// each further step; loosen the same for one that is idle. What was given is taken
	// back faster than it is given, for a full machine is worse than an idle one.
	tighten = 2 * time.Second
	loosen  = 10 * time.Second
)

// Marks say when a pool counts as loaded and when as idle.
type Marks struct {
	KVLow, KVHigh     float64       // part of the KV budget that is held
	WaitLow, WaitHigh time.Duration // of a user for its turn
}

// DefaultMarks are those of an empty configuration.
func DefaultMarks() Marks {
	return Marks{KVLow: 0.7, KVHigh: 0.9, WaitLow: 2 * time.Second, WaitHigh: 10 * time.Second}
}

// Validate says which marks are wrong, by their keys.
func (m Marks) Validate() error {
	var errs []error
	if !(m.KVLow >= 0 && m.KVHigh <= 1) {
		errs = append(errs, fmt.Errorf("load.kv_high: the marks %v and %v are no parts of a whole: they have to lie between 0 and 1", m.KVLow, m.KVHigh))
	}
	if !(m.KVLow < m.KVHigh) {
		errs = append(errs, fmt.Errorf("load.kv_low: %v is not below kv_high, which is %v: between the two nothing changes", m.KVLow, m.KVHigh))
	}
	if m.WaitLow < 0 || m.WaitLow >= m.WaitHigh {
		errs = append(errs, fmt.Errorf("load.wait_low: %v is not below wait_high, which is %v: between the two nothing changes", m.WaitLow, m.WaitHigh))
	}
	return errors.Join(errs...)
}

// Load is how loaded a pool is, as a level that moves in small steps. Its zero value
// is at 0, where limits are as written.
type Load struct {
	level  int
	toward int       // 1: it is loaded, -1: it is idle, 0: between the marks
	since  time.Time // of that, or of the last step
}

// Level is from -[scheduler.MostLoad], idle, to [scheduler.MostLoad].
func (l *Load) Level() int { return l.level }

// Resume begins at the level of a predecessor.
func (l *Load) Resume(level int) {
	*l = Load{level: bounded(level)}
}

// Reading is how things are at a moment.
type Reading struct {
	KV    float64       // part of the budget that is held; 0: no budget is known
	Wait  time.Duration // of a user for its turn
	Short bool          // a head waits for capacity
}

// Tick takes how things are now. It is called about once a second.
func (l *Load) Tick(now time.Time, m Marks, r Reading) {
	switch {
	case r.KV >= m.KVHigh || r.Wait >= m.WaitHigh:
		l.move(now, 1, tighten)
	case r.KV <= m.KVLow && r.Wait <= m.WaitLow && !r.Short:
		l.move(now, -1, loosen)
	default:
		l.toward = 0
	}
}

// move makes a step if things have been so for long enough.
func (l *Load) move(now time.Time, toward int, patience time.Duration) {
	if l.toward != toward || now.Before(l.since) {
		l.toward, l.since = toward, now
		return
	}
	if now.Sub(l.since) >= patience {
		l.level, l.since = bounded(l.level+toward), now
	}
}

func bounded(level int) int { return min(max(level, -scheduler.MostLoad), scheduler.MostLoad) }
