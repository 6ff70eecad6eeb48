package dispatcher

import (
	"time"

	"fairlane/scheduler"
)

// fastest is more than any server makes of one sequence, in tokens a second.
const fastest = 10_000

// plausible is what a backend says that it has served, as far as that can be: at
// least what was seen of a stream, and at most what fits into the time. A backend
// that counts wrongly makes nobody's answers free, and ruins nobody.
func plausible(u scheduler.Usage, it *item, now time.Time) scheduler.Usage {
	u.Input, u.Output = max(u.Input, 0), max(u.Output, 0)
	u.Cached = min(max(u.Cached, 0), u.Input)
	a := it.run
	if !a.Adopted { // else nobody knows since when it runs
		seconds := int(now.Sub(a.At)/time.Second) + 1
		u.Output = min(u.Output, it.sequences()*fastest*seconds)
	}
	if it.entry.Stream {
		u.Output = max(u.Output, a.Generated)
	}
	return u
}
