package calls

import "fairlane/scheduler"

// dataLocked takes bytes of the answer. A stream has a bound of its own. An answer
// that is no stream was generated whole, and takes as much as there is for all.
func (c *call) dataLocked(data []byte) {
	c.begun = true
	if c.sub.Entry.Stream && c.bytes+len(data) > c.desk.cfg.MaxBuffer {
		c.failLocked(tooSlow(c.bytes))
		return
	}
	c.bytes += len(data)
	c.desk.buffered.Add(int64(len(data)))
	if last := c.events.last(); last != nil && last.Kind == scheduler.CallData && len(last.Data)+len(data) <= maxPiece {
		last.Data = append(last.Data, data...) // the client is slower than its answer
		return
	}
	c.pushLocked(scheduler.CallEvent{Kind: scheduler.CallData, Data: data})
}

func tooSlow(bytes int) *scheduler.Problem {
	return scheduler.Problemf(scheduler.CodeOverloaded, "the answer was read too slowly: %d bytes were waiting for this client", bytes)
}

// takenLocked notes that n bytes do not wait any more.
func (c *call) takenLocked(n int) {
	c.bytes -= n
	c.desk.buffered.Add(int64(-n))
	if c.over && c.bytes == 0 {
		c.desk.read(c)
	}
}

// dropLocked throws away what waits.
func (c *call) dropLocked() {
	n := c.bytes
	c.events = events{}
	if n > 0 {
		c.takenLocked(n)
	}
}

// relieve ends the calls that hold the most until all together hold no more than
// they may: whoever happens to send the next byte has not filled the memory.
func (d *Desk) relieve() {
	d.relief.Lock()
	defer d.relief.Unlock()
	for d.buffered.Load() > d.cfg.MaxTotal {
		c := d.fullest()
		if c == nil {
			return
		}
		c.cutOff()
	}
}

// fullest is the call that holds the most; nil: none holds anything.
func (d *Desk) fullest() *call {
	d.mu.RLock()
	calls := make([]*call, 0, len(d.calls)+len(d.unread))
	for _, c := range d.calls {
		calls = append(calls, c)
	}
	for c := range d.unread {
		calls = append(calls, c)
	}
	d.mu.RUnlock()
	var fullest *call
	most := 0
	for _, c := range calls {
		if n := c.waiting(); n > most {
			fullest, most = c, n
		}
	}
	return fullest
}

func (c *call) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// cutOff ends a call, or what is left of one, without what waits for its client.
func (c *call) cutOff() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bytes == 0 {
		return // it was read just now
	}
	p := tooSlow(c.bytes)
	c.dropLocked()
	if c.over {
		c.pushLocked(scheduler.CallEvent{Kind: scheduler.CallProblem, Problem: p})
		return
	}
	c.failLocked(p)
}
