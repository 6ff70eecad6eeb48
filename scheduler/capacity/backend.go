package capacity

import "time"

// Backend is one model server as its pool sees it.
type Backend struct {
	pool *Pool
	url  string

	// What was configured and observed.
	slots    int  // sequences that may run, the ramp apart
	fixed    bool // slots are configured
	kvLimit  int  // configured; 0: none
	kvSeen   int  // as last told; 0: never
	kvTokens int  // in force; 0: unknown
	block    int  // tokens of a KV block
	prefix   bool // prefix caching is on
	beta     float64
	rho      float64
	seen     Sample
	seenAt   time.Time // when it came, by our clock
	learner  slotLearner
	control  slowControl
	pace     pacer

	// What runs there for us, all sums over holds.
	running int // sequences
	alone   int // crash suspects
	ledger  ledger
	prefill prefill

	// Health.
	up, met  bool // met: it was up before
	draining bool // it takes nothing new
	listed   bool // it is configured
	busy     window
	pause    time.Duration // the last back-off
	breaker  breaker
	ramp     int // sequences allowed while it is filled anew; 0: all
}

func newBackend(p *Pool, url string) *Backend {
	return &Backend{
		pool: p, url: url, block: defaultBlock, beta: firstBeta, rho: 1,
		ledger: ledger{groups: map[uint64]groupUse{}}, prefill: prefill{rate: firstRate},
	}
}

func (b *Backend) configure(c BackendConfig) {
	fixed := c.Slots > 0
	switch {
	case fixed:
		b.slots = c.Slots
	case b.slots == 0 || b.fixed:
		b.slots, b.learner = firstSlots, slotLearner{}
	}
	b.fixed = fixed
	if b.pool.fixed {
		b.beta = firstBeta
	}
	if b.pool.itl == 0 {
		b.pace = pacer{}
	}
	b.kvLimit = max(c.KVTokens, 0)
	b.sizeKV()
}

// URL is the backend's key.
func (b *Backend) URL() string { return b.url }

// State is the backend as it stands.
func (b *Backend) State() State {
	why := b.why()
	return State{
		URL: b.url, Slots: b.limit(), Running: b.running,
		KVHeld: b.rho * float64(b.ledger.held), KVBudget: b.beta * float64(b.kvTokens), KVTokens: b.kvTokens,
		Beta: b.beta, Rho: b.rho, Prefill: b.prefill.pending, Rate: b.prefill.rate,
		Up: why == "", Why: why, Seen: b.seen,
	}
}

func (b *Backend) why() string {
	switch {
	case b.draining:
		return "draining"
	case !b.up && !b.met:
		return "not seen up yet"
	case !b.up:
		return "down"
	case b.breaker.tripped:
		return "failed several times in a row"
	default:
		return ""
	}
}

// limit is the cap in force, in sequences.
func (b *Backend) limit() int {
	n := b.slots
	if b.ramp > 0 {
		n = min(n, b.ramp)
	}
	if b.pace.slots > 0 {
		n = min(n, b.pace.slots)
	}
	return n
}

// Take lets a request onto the backend. It never refuses: Fit decides, and what
// a new leader adopts runs already.
func (b *Backend) Take(now time.Time, d Demand) *Hold {
	d = d.clamped()
	a := b.pool.ask(d, false)
	own, _ := b.needs(&a)
	h := &Hold{
		backend: b, sequences: d.Sequences, expected: d.Expected, stream: d.Stream, alone: d.Alone,
		block: b.block, taken: now, large: b.isLarge(own), passed: b.pool.head.reserves(b) && !b.isLarge(own),
	}
	if d.Chat != "" {
		b.pool.homes.move(d.Chat, b.url)
	}
	h.shared, h.group = b.join(&a)
	h.prompt = b.promptKV(&d, h.shared)
	b.running += h.sequences
	if h.alone {
		b.alone++
	}
	h.recount(&b.ledger)
	b.prefill.add(h, d.uncached())
	if b.breaker.tripped && b.breaker.probe == nil {
		b.breaker.probe = h
	}
	return h
}
