package dispatcher

import "time"

// classState counts what waits of a class and was served to it, for bounds and metrics.
type classState struct {
	queued      int
	tokens      int64 // estimated cost that waits, in thousandths
	front, back *item // the line of those that wait, the oldest in front
	charge      int64 // delivered since the last slice of the window
	slices      [shareSlices]int64
	active      [shareSlices]bool // it wanted something in that slice
}

func (l *leader) class(name string) *classState {
	c := l.classes[name]
	if c == nil {
		c = &classState{}
		l.classes[name] = c
	}
	return c
}

// dropClasses forgets classes that are not in the policy any more.
func (l *leader) dropClasses() {
	for name, c := range l.classes {
		if _, known := l.policy.Classes[name]; !known && c.queued == 0 && l.turn.Running(name) == 0 && c.window() == 0 {
			delete(l.classes, name)
		}
	}
}

func (c *classState) full(bound int) bool { return bound > 0 && c.queued >= bound }

// age of the request that waits longest; 0: none waits.
func (c *classState) age(now time.Time) time.Duration {
	if c.front == nil {
		return 0
	}
	return max(now.Sub(c.front.entry.AcceptedAt), 0)
}

// join lets an item wait. The line is about in the order of acceptance, with the
// oldest in front: entries come in that order, and what returns is old.
func (c *classState) join(it *item, returns bool) {
	switch {
	case c.back == nil:
		c.front, c.back = it, it
	case !returns && !it.entry.AcceptedAt.Before(c.front.entry.AcceptedAt):
		it.older, c.back.newer = c.back, it
		c.back = it
	case it.entry.AcceptedAt.Before(c.front.entry.AcceptedAt):
		it.newer, c.front.older = c.front, it
		c.front = it
	default:
		it.older, it.newer = c.front, c.front.newer
		if it.newer != nil {
			it.newer.older = it
		} else {
			c.back = it
		}
		c.front.newer = it
	}
}

// leave takes an item out of the line.
func (c *classState) leave(it *item) {
	if it.older != nil {
		it.older.newer = it.newer
	} else {
		c.front = it.newer
	}
	if it.newer != nil {
		it.newer.older = it.older
	} else {
		c.back = it.older
	}
	it.older, it.newer = nil, nil
}
