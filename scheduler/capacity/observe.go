package capacity

import "time"

const (
	staleAfter = 3 * time.Second // older metrics change nothing
	waitsFor   = time.Second     // how long a head that lacked a slot counts as waiting
	fullKV     = 0.9             // of the KV cache: what waits beyond it waits for KV

	leastRho, mostRho = 0.5, 2
	rhoWeight         = 0.1  // of a new sample
	leastFilled       = 0.01 // of the KV cache: less is noise
)

// Observe takes a sample of the backend's metrics. One that was seen before
// changes nothing, and neither does one that repeats every figure of the last
// while something of ours runs: what works shows it, and what does not is an
// exporter that stands still, to which every request looks free.
func (b *Backend) Observe(now time.Time, s Sample) {
	if !s.At.IsZero() && s.At.Equal(b.seen.At) {
		return
	}
	if b.running > 0 && s.says(&b.seen) && !b.seenAt.IsZero() {
		b.seen.At = s.At
		return
	}
	before, fresh := b.seen, within(now, b.seenAt, staleAfter)
	b.seen, b.seenAt = s, now
	b.prefix = s.PrefixCache
	if s.BlockSize > 0 && s.BlockSize <= mostBlock {
		b.block = s.BlockSize
	}
	if s.KVTokens > 0 {
		b.kvSeen = min(s.KVTokens, mostTokens)
	}
	b.sizeKV()
	b.pool.sizeKV()
	b.prefill.sweep(now)
	b.weigh(s.KVUsage)
	b.learner.observe(b, before, s)
	b.control.observe(now, b, fresh)
}

// says reports whether s tells the same as another sample.
func (s Sample) says(as *Sample) bool {
	s.At = as.At
	return s == *as
}

const mostBlock = 1 << 16 // tokens; what says more is no block

// sizeKV takes the smaller of what is configured and what was last observed.
func (b *Backend) sizeKV() {
	switch {
	case b.kvSeen == 0:
		b.kvTokens = b.kvLimit
	case b.kvLimit == 0:
		b.kvTokens = b.kvSeen
	default:
		b.kvTokens = min(b.kvSeen, b.kvLimit)
	}
}

// weigh compares what the backend's KV cache holds with what we count there.
func (b *Backend) weigh(usage float64) {
	size := float64(b.kvSeen)
	filled := float64(b.ledger.filled)
	if size <= 0 || filled < leastFilled*size || !(usage >= 0 && usage <= 1) {
		return
	}
	ratio := usage * size / (filled + float64(b.ledger.shared))
	b.rho += rhoWeight * (min(max(ratio, leastRho), mostRho) - b.rho)
}

// slotLearner finds how many sequences a backend runs at once, which it does
// not tell.
type slotLearner struct {
	queued  int // samples in a row in which something waited there, and not for KV
	ceiling int // where it was found to end; 0: nowhere yet
	stepped bool
}

// completed adds a slot if a head waits for one and the backend's own queue is
// empty. Beyond a ceiling that was found, one for each sample: its effect is
// seen before the next.
func (l *slotLearner) completed(now time.Time, b *Backend) {
	switch {
	case b.fixed || b.slots >= mostSlots || b.limit() < b.slots: // it is not the slots that bind
	case !within(now, b.pool.head.slotAt, waitsFor) && (l.ceiling > 0 || !within(now, b.pool.head.refusedAt, waitsFor)):
	case !within(now, b.seenAt, staleAfter) || b.seen.Waiting > 0:
	case l.ceiling > 0 && b.slots >= l.ceiling && l.stepped:
	default:
		b.slots++
		l.stepped = true
	}
}

// observe takes the slots back to what runs when the backend queues by itself.
func (l *slotLearner) observe(b *Backend, before, s Sample) {
	l.stepped = false
	if s.Waiting <= 0 || s.KVUsage >= fullKV {
		l.queued = 0
		return
	}
	if l.queued++; l.queued < 2 || b.fixed {
		return
	}
	b.slots = min(max(before.Running, s.Running, 1), b.slots)
	l.ceiling = b.slots
}
