package calls

import "fairlane/scheduler"

// grantedLocked notes that the call left the queue. Whoever shows its place takes
// that away at once; the others find it with the first byte.
func (c *call) grantedLocked() {
	c.granted = true
	ev := scheduler.CallEvent{Kind: scheduler.CallGranted, At: c.heard}
	if c.shows {
		c.pushLocked(ev)
		return
	}
	c.noteLocked(ev)
}

// queuedLocked takes a place in the queue. Of a call that was granted that is news
// only if it is the attempt at hand that is over: it may have been under way since
// before. Nobody is woken for a new place who does not show it.
func (c *call) queuedLocked(n *scheduler.Notice) {
	again := c.granted && n.Ended == c.fence
	switch {
	case c.begun, c.granted && !again:
		return
	case !again && c.placed && !c.shows:
		return
	}
	c.granted, c.placed = false, true
	ev := scheduler.CallEvent{Kind: scheduler.CallQueued, Position: n.Position, ETA: n.ETA, NoBackend: n.NoBackend}
	if last := c.events.last(); last != nil && last.Kind == scheduler.CallQueued {
		*last = ev // nobody wants the older ones
		return
	}
	c.pushLocked(ev)
}
