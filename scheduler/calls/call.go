package calls

import (
	"context"
	"sync"
	"time"

	"fairlane/scheduler"
)

// call is one accepted request. Fields below mu are guarded by it.
type call struct {
	desk *Desk
	pool string
	wake chan struct{} // holds one token while there may be events
	// shows tells that the client is shown its place.
	shows bool

	mu      sync.Mutex
	id      string
	sub     *scheduler.Submission
	events  events
	bytes   int // of the data in events
	granted bool
	placed  bool // the client's goroutine knows its place
	begun   bool // a byte of a backend's answer arrived: no further attempt
	over    bool // the last event is in events, or the client left
	fence   scheduler.Fence
	worker  string
	seq     uint32    // of the next frame of this fence
	heard   time.Time // when something was last heard of it
	unknown int       // times in a row the dispatcher did not know it

	publishing bool               // nobody can be expected to know the call yet
	unpublish  context.CancelFunc // ends a try to publish it again
}

func newCall(d *Desk, s *scheduler.Submission) *call {
	return &call{desk: d, pool: s.Entry.Pool, wake: make(chan struct{}, 1), shows: s.ShowsPlace, id: s.Entry.ID, sub: s, heard: time.Now(), publishing: true, unpublish: func() {}}
}

// Next implements scheduler.Call.
func (c *call) Next(ctx context.Context) (scheduler.CallEvent, error) {
	for {
		if ev, ok := c.pop(); ok {
			return ev, nil
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			if ev, ok := c.pop(); ok { // one that wakes nobody
				return ev, nil
			}
			return scheduler.CallEvent{}, ctx.Err()
		}
	}
}

func (c *call) pop() (scheduler.CallEvent, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ev, ok := c.events.pop()
	if !ok {
		return ev, false
	}
	if n := len(ev.Data); n > 0 {
		c.takenLocked(n)
	}
	return ev, true
}

// noteLocked appends an event that makes no difference to the client: its
// goroutine is not woken for it, and finds it with the next, or when it gives up.
func (c *call) noteLocked(ev scheduler.CallEvent) { c.events.push(ev) }

// pushLocked appends an event and wakes the client's goroutine.
func (c *call) pushLocked(ev scheduler.CallEvent) {
	c.events.push(ev)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// endLocked appends the last event. The call is unknown from here on.
func (c *call) endLocked(ev scheduler.CallEvent) {
	c.closeLocked()
	c.pushLocked(ev)
}

func (c *call) closeLocked() {
	c.over = true
	c.unpublish()
	c.desk.remove(c)
}

// failLocked ends the call with a problem and stops the attempt that runs.
func (c *call) failLocked(p *scheduler.Problem) {
	c.endLocked(scheduler.CallEvent{Kind: scheduler.CallProblem, Problem: p})
	c.desk.recall(c.id, c.pool, c.worker, c.fence)
}

func (c *call) fail(p *scheduler.Problem) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.failLocked(p)
	}
}

// Cancel implements scheduler.Call.
func (c *call) Cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropLocked()
	if c.over {
		return
	}
	c.closeLocked()
	c.desk.recall(c.id, c.pool, c.worker, c.fence)
}

// shake answers a handshake; see the package's comment.
func (c *call) shake(h scheduler.Handshake) *scheduler.Handover {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.over:
		return &scheduler.Handover{Verdict: scheduler.Gone}
	case c.begun, c.worker != "" && !h.Fence.Newer(c.fence):
		return &scheduler.Handover{Verdict: scheduler.Stale}
	}
	if c.worker != "" {
		c.desk.cancelAttempt(c.id, c.worker, c.fence)
	}
	c.fence, c.worker, c.seq, c.publishing = h.Fence, h.Worker, 0, false
	c.heardLocked()
	if !c.granted {
		c.grantedLocked()
	}
	return &scheduler.Handover{Verdict: scheduler.Go, Header: c.sub.Header, Body: c.sub.Body, AddedUsage: c.sub.AddedUsage}
}

func (c *call) heardLocked() { c.heard, c.unknown = time.Now(), 0 }

// frame takes a piece of the answer. False: its attempt does not hold the call.
func (c *call) frame(f *scheduler.Frame) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || f.Fence != c.fence || c.worker == "" {
		return false
	}
	c.heardLocked()
	switch {
	case f.Seq != c.seq:
		c.gapLocked()
		return true
	case f.Type != scheduler.FrameBeat: // which tells the next one's number
		c.seq++
	}
	c.takeLocked(f)
	return true
}

// gapLocked deals with the loss of a frame. While the client saw nothing another
// attempt may answer, if there is time to wait for it.
func (c *call) gapLocked() {
	if c.begun || c.pastLocked(0) {
		c.failLocked(scheduler.Problemf(scheduler.CodeAnswerLost, "a part of the answer was lost on the way; please try again"))
		return
	}
	c.againLocked("the beginning of its answer was lost")
}

// pastLocked reports whether the call's deadline passed, and as much time again.
func (c *call) pastLocked(more time.Duration) bool {
	deadline := c.sub.Entry.Deadline
	return !deadline.IsZero() && time.Since(deadline) > more
}

func (c *call) takeLocked(f *scheduler.Frame) {
	switch f.Type {
	case scheduler.FrameHead:
		c.begun = true
		c.noteLocked(scheduler.CallEvent{Kind: scheduler.CallHead, Head: f.Head}) // its first byte comes with it
	case scheduler.FrameData:
		c.dataLocked(f.Data)
	case scheduler.FrameEnd:
		c.endLocked(scheduler.CallEvent{Kind: scheduler.CallEnd, End: f.End})
	case scheduler.FrameErr:
		c.endLocked(scheduler.CallEvent{Kind: scheduler.CallProblem, Problem: f.Problem, End: f.End})
	case scheduler.FrameBeat:
	}
}

// notice takes what the dispatcher says.
func (c *call) notice(n scheduler.Notice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || n.ID != c.id {
		return
	}
	c.heardLocked()
	switch n.Kind {
	case scheduler.NoticeQueued:
		c.queuedLocked(&n)
	case scheduler.NoticeGranted, scheduler.NoticeLoad: // which is of no call
	case scheduler.NoticeEnded:
		if !c.begun { // else the answer that has begun is the end
			c.endLocked(scheduler.CallEvent{Kind: scheduler.CallProblem, Problem: n.Problem, Backend: n.Backend, Attempts: n.Attempts})
		}
	}
}
