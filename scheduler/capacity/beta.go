package capacity

import "time"

const (
	firstBeta           = 0.85 // of the KV cache is budget
	leastBeta, mostBeta = 0.5, 1.1

	betaEvery = 900 * time.Millisecond // a step a second, from samples that come about once a second
	betaCut   = 0.96
	betaRise  = 0.002
	blockedBy = time.Second // how long a head that lacked KV counts as blocked by it

	spareKV     = 0.95 // of the KV cache: beyond it nothing is added
	fewQueued   = 2    // sequences in the backend's own queue that may be chance
	firstSpan   = 5 * time.Second
	spanWeight  = 0.1 // of a new service time
	longestSpan = time.Hour
)

// slowControl moves beta, once a second at most, by what the backend shows: see
// doc.go. It acts when a sample comes, so without metrics it holds.
type slowControl struct {
	at          time.Time // of the last step
	cut         time.Time // when beta was last cut
	blocked     time.Time // when a head last lacked KV here
	preemptions float64   // at the last step
	queued      int       // steps in a row with a queue
	span        time.Duration
}

// served learns how long a request runs: what was admitted before a cut goes on
// for about that long, and tells nothing of it.
func (c *slowControl) served(took time.Duration) {
	took = min(max(took, 0), longestSpan)
	if c.span == 0 {
		c.span = took
		return
	}
	c.span += time.Duration(spanWeight * float64(took-c.span))
}

func (c *slowControl) service() time.Duration {
	if c.span == 0 {
		return firstSpan
	}
	return c.span
}

// observe makes a step. fresh tells that the sample before this one was not old:
// else there is nothing to compare with.
func (c *slowControl) observe(now time.Time, b *Backend, fresh bool) {
	s := &b.seen
	if fresh && within(now, c.at, betaEvery) {
		return
	}
	// A counter that jumped back is that of a backend that started anew.
	grew := fresh && s.Preemptions > c.preemptions
	c.at, c.preemptions = now, s.Preemptions
	if !fresh || s.Waiting <= fewQueued || s.KVUsage <= fullKV {
		c.queued = 0
	}
	if s.Waiting > fewQueued && s.KVUsage > fullKV {
		c.queued++
	}
	if b.pool.fixed || within(now, c.cut, c.service()) {
		return
	}
	switch {
	case s.KVUsage > fullKV && (grew || c.queued >= 2):
		b.beta = max(b.beta*betaCut, leastBeta)
		c.cut, c.queued = now, 0
	case within(now, c.blocked, blockedBy) && s.Waiting == 0 && s.KVUsage < spareKV:
		b.beta = min(b.beta+betaRise, mostBeta)
	}
}

// restarted forgets what a counter said before the backend went away.
func (c *slowControl) restarted() { c.at, c.preemptions, c.queued = time.Time{}, 0, 0 }
