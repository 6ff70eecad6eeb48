package capacity

import (
	"slices"
	"time"
)

// mostGroups bounds how many prefix groups are remembered.
const mostGroups = 100_000

// Pool is a set of interchangeable backends. It is not safe for concurrent use:
// one goroutine owns it, its backends and their holds.
type Pool struct {
	backends []*Backend // replaced, never changed in place, when one comes or goes
	maxSlots int        // largest configured; 0: none is
	maxKV    int        // of the largest KV cache; 0: not all are known
	fixed    bool       // no slow controller
	itl      time.Duration
	anywhere bool // no prefix affinity
	homes    homes
	shared   map[uint64]float64
	head     blockedHead
}

// NewPool makes a pool. Its backends are down until Up says otherwise.
func NewPool(cfg Config) *Pool {
	p := &Pool{shared: map[uint64]float64{}}
	p.Configure(cfg)
	return p
}

// Configure changes the pool while it runs. A backend that is not in cfg takes
// nothing more and is forgotten when what it runs has ended; of two with one URL
// the first counts.
func (p *Pool) Configure(cfg Config) {
	next := make([]*Backend, 0, len(cfg.Backends))
	p.maxSlots = 0
	p.fixed, p.itl, p.anywhere = cfg.Fixed, max(cfg.ITL, 0), cfg.Anywhere
	for _, c := range cfg.Backends {
		if slices.ContainsFunc(next, func(b *Backend) bool { return b.url == c.URL }) {
			continue
		}
		b := p.Backend(c.URL)
		if b == nil {
			b = newBackend(p, c.URL)
		}
		b.draining, b.listed = c.Draining, true
		b.configure(c)
		p.maxSlots = max(p.maxSlots, c.Slots)
		next = append(next, b)
	}
	for _, b := range p.backends {
		if !slices.Contains(next, b) {
			b.draining, b.listed = true, false
			if b.running > 0 {
				next = append(next, b)
			}
		}
	}
	p.backends = next
	p.head = blockedHead{}
	p.sizeKV()
}

// drop forgets a backend that has drained.
func (p *Pool) drop(b *Backend) {
	p.backends = slices.DeleteFunc(slices.Clone(p.backends), func(x *Backend) bool { return x == b })
}

// sizeKV finds the largest KV cache. While one is unknown, nothing is too large.
func (p *Pool) sizeKV() {
	p.maxKV = 0
	for _, b := range p.backends {
		switch {
		case b.draining:
		case b.kvTokens == 0:
			p.maxKV = 0
			return
		default:
			p.maxKV = max(p.maxKV, b.kvTokens)
		}
	}
}

// Backend is the one with that URL; nil: there is none.
func (p *Pool) Backend(url string) *Backend {
	for _, b := range p.backends {
		if b.url == url {
			return b
		}
	}
	return nil
}

// Backends are all in the order of the configuration, then those that drain.
// The slice is not to be changed; it stays as it is when the pool changes.
func (p *Pool) Backends() []*Backend { return p.backends }

// MaxSlots is the largest configured number of slots of a backend, which bounds
// the sequences of a request; 0: none is configured.
func (p *Pool) MaxSlots() int { return p.maxSlots }

// Learn takes the cached tokens that a backend reported of one sequence of a
// prefix group. What all members of a group share is the least that any finds
// cached, so the shared length falls at once and rises slowly. A report of 0
// says only that the cache was cold.
func (p *Pool) Learn(group uint64, cached int) {
	if group == 0 || cached <= 0 {
		return
	}
	const rise = 1.0 / 64
	x := float64(min(cached, mostTokens))
	s, known := p.shared[group]
	if known && x > s {
		x = s + (x-s)*rise
	}
	if !known && len(p.shared) >= mostGroups {
		for old := range p.shared { // any: what is forgotten is learned again
			delete(p.shared, old)
			break
		}
	}
	p.shared[group] = x
}

// Wake is the earliest time at which something that only time opens may open:
// a back-off, a circuit breaker, the prefill gate. Zero: there is nothing such.
func (p *Pool) Wake(now time.Time) time.Time {
	var at time.Time
	earliest := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	for _, b := range p.backends {
		if !b.up || b.draining {
			continue
		}
		for _, w := range [...]window{b.busy, b.breaker.open, b.breaker.late, b.prefill.next()} {
			if w.covers(now) {
				earliest(w.until)
			}
		}
	}
	return at
}

// window is a span in which something is shut. A clock that steps back to
// before its beginning opens it: a step may cost some patience, never more.
type window struct{ from, until time.Time }

func shut(now time.Time, d time.Duration) window { return window{now, now.Add(d)} }

func (w window) covers(now time.Time) bool { return !now.Before(w.from) && now.Before(w.until) }
