package limit

import (
	"context"
	"hash/maphash"
	"math/bits"
	"sync"
	"time"
)

// MemoryConfig is how much a [Memory] keeps, and for how long.
type MemoryConfig struct {
	Most  int              // buckets that are not full; 0: a million. About 60 bytes each
	Sweep time.Duration    // how often those that have become full are dropped; 0: 10 s
	Now   func() time.Time // nil: time.Now
}

func (c MemoryConfig) withDefaults() MemoryConfig {
	if c.Most <= 0 {
		c.Most = 1 << 20
	}
	if c.Sweep <= 0 {
		c.Sweep = 10 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// shards is how many parts the levels are in; a set of them is a uint64.
const shards = 64

// Memory is a [Store] in this process. It works without Start, but drops what
// has become full only where it needs the room.
type Memory struct {
	cfg    MemoryConfig
	begin  time.Time // of its clock
	seeds  [2]maphash.Seed
	shards [shards]shard

	start, stop   sync.Once
	quit, stopped chan struct{}
}

// NewMemory makes a store of full buckets.
func NewMemory(cfg MemoryConfig) *Memory {
	cfg = cfg.withDefaults()
	m := &Memory{
		cfg: cfg, begin: cfg.Now(), seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		quit: make(chan struct{}), stopped: make(chan struct{}),
	}
	for i := range m.shards {
		m.shards[i] = shard{most: max(1, cfg.Most/shards), marks: map[id]mark{}}
	}
	return m
}

// now is the store's clock, in nanoseconds. It goes on when the machine's clock
// is set back.
func (m *Memory) now() int64 { return int64(max(0, m.cfg.Now().Sub(m.begin))) }

// id stands for a key: two keyed hashes. Names are not kept, so that an entry has
// one size whatever callers are called, and the garbage collector finds nothing
// in it to follow.
type id [2]uint64

func (m *Memory) id(k *Key) id {
	return id{maphash.Comparable(m.seeds[0], *k), maphash.Comparable(m.seeds[1], *k)}
}

func (i id) shard() uint64 { return i[0] % shards }

// entry is a charge on its way.
type entry struct {
	id   id
	used span // then: after the charge
}

// usual is how many charges an acquisition has without needing more memory.
const usual = 8

// Acquire takes all or nothing. It never fails.
func (m *Memory) Acquire(_ context.Context, charges []Charge) (Result, error) {
	var room [usual]entry
	entries, set := m.entries(room[:0], charges)
	r := Result{Granted: true, Levels: make([]Level, len(charges))}
	now := m.now()
	m.lock(set)
	defer m.unlock(set)
	for i := range charges {
		m.try(&r, i, &charges[i], &entries[i], now)
	}
	if !r.Granted {
		return r, nil
	}
	for i := range charges {
		if c := &charges[i]; c.Cost > 0 {
			r.Levels[i] = c.Limit.level(entries[i].used)
			m.put(entries[i].id, c.Limit.mark(entries[i].used, now), now)
		}
	}
	return r, nil
}

// try looks whether a charge is granted.
func (m *Memory) try(r *Result, i int, c *Charge, e *entry, now int64) {
	used := c.Limit.used(m.shards[e.id.shard()].marks[e.id], now)
	r.Levels[i] = c.Limit.level(used)
	if c.Cost <= 0 || r.Never {
		return
	}
	if c.Cost > c.Limit.Room() {
		*r = Result{Levels: r.Levels, Refused: i, Never: true}
		return
	}
	e.used = c.Limit.plus(used, c.Limit.span(c.Cost))
	if wait := c.Limit.over(e.used, c.Limit.span(c.Limit.Room())); wait > r.RetryAfter {
		r.Granted, r.Refused, r.RetryAfter = false, i, wait
	}
}

// Settle corrects levels. It never fails.
func (m *Memory) Settle(_ context.Context, corrections []Charge) error {
	var room [usual]entry
	entries, set := m.entries(room[:0], corrections)
	now := m.now()
	m.lock(set)
	defer m.unlock(set)
	for i := range corrections {
		c, e := &corrections[i], &entries[i]
		used := c.Limit.used(m.shards[e.id.shard()].marks[e.id], now)
		if c.Cost >= 0 {
			used = c.Limit.plus(used, c.Limit.span(c.Cost))
		} else {
			used = c.Limit.minus(used, c.Limit.span(-c.Cost))
		}
		m.put(e.id, c.Limit.mark(used, now), now)
	}
	return nil
}

// entries are the charges' places, and the set of their shards.
func (m *Memory) entries(to []entry, charges []Charge) (entries []entry, set uint64) {
	for i := range charges {
		e := entry{id: m.id(&charges[i].Key)}
		to, set = append(to, e), set|1<<e.id.shard()
	}
	return to, set
}

// lock locks a set of shards, always in one order.
func (m *Memory) lock(set uint64) {
	for ; set != 0; set &= set - 1 {
		m.shards[bits.TrailingZeros64(set)].mu.Lock()
	}
}

func (m *Memory) unlock(set uint64) {
	for ; set != 0; set &= set - 1 {
		m.shards[bits.TrailingZeros64(set)].mu.Unlock()
	}
}

func (m *Memory) put(i id, to mark, now int64) { m.shards[i.shard()].putLocked(i, to, now) }

// Len is how many buckets are kept.
func (m *Memory) Len() int {
	n := 0
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += len(s.marks)
		s.mu.Unlock()
	}
	return n
}
