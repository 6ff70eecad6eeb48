package gpumodel

import (
	"math"
	"time"
)

// Leap does many steps at once, as long as nothing happens in them but one more
// token for every running sequence, none of them the last, and as long as they
// take no longer than limit together. It returns how many it did, often none, and
// how long they took. It leaves the engine as the same number of calls of Step
// would, but reports no events: a simulator that only wants to know when
// sequences start and finish calls Leap, then Step.
func (e *Engine) Leap(limit time.Duration) (steps int, took time.Duration) {
	if e.dead || len(e.running) == 0 || !e.settled() {
		return 0, 0
	}
	k, context := math.MaxInt, 0
	for _, s := range e.running {
		if !s.decoding() {
			return 0, 0
		}
		k = min(k, s.Output-s.generated-1)
		if e.cfg.OOMTokens > 0 {
			k = min(k, e.cfg.OOMTokens-s.length()+1)
		}
		context += s.length()
	}
	k = e.fitTime(k, context, limit)
	for k > 0 && e.blocksOf(k) > e.spareBlocks() {
		k /= 2
	}
	if k <= 0 {
		return 0, 0
	}
	e.grow(k)
	return k, e.duration(k, context)
}

// settled reports whether the next step would admit nobody.
func (e *Engine) settled() bool {
	return len(e.waiting.heap) == 0 || len(e.running) >= e.cfg.Profile.MaxNumSeqs || e.blocked
}

// spareBlocks is how many blocks can be taken without a change for the head of the
// queue: if it lost some of its prompt's head, it might fit in a smaller chunk.
func (e *Engine) spareBlocks() int {
	n := e.kv.free + e.kv.idle
	if len(e.waiting.heap) > 0 && len(e.running) < e.cfg.Profile.MaxNumSeqs {
		n -= e.wanted
	}
	return n
}

// duration is how long k steps take that begin with this context.
func (e *Engine) duration(k, context int) time.Duration {
	p, n := &e.cfg.Profile, len(e.running)
	tokens := k*context + n*(k*(k-1)/2)
	return time.Duration(k)*(p.Base+time.Duration(n)*p.PerSequence) + time.Duration(tokens)*p.PerContextToken
}

// fitTime is the largest number of steps up to k that take no longer than limit.
func (e *Engine) fitTime(k, context int, limit time.Duration) int {
	k = min(k, int(limit/e.cfg.Profile.Base))
	if k <= 0 || e.duration(k, context) <= limit {
		return k
	}
	low, high := 0, k // low fits, high does not
	for high-low > 1 {
		mid := low + (high-low)/2
		if e.duration(mid, context) <= limit {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// blocksOf is how many blocks k steps take.
func (e *Engine) blocksOf(k int) int {
	n := 0
	for _, s := range e.running {
		n += e.kv.need(s, s.computed+k)
	}
	return n
}

func (e *Engine) grow(k int) {
	for _, s := range e.running {
		e.kv.reserve(s, s.computed+k)
		s.computed += k
		s.generated += k
	}
	e.stats.Steps += k
	e.stats.GeneratedTokens += k * len(e.running)
}
