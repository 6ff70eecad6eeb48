package dispatcher

import (
	"context"
	"log/slog"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/turn"
)

// Policy is what may change while the dispatcher runs.
type Policy struct {
	Classes map[string]Class
	Backend capacity.Config
	Share   []string   // levels of the tree: class, group, user; empty: the Config's
	Tiers   []Tier     // sets of classes that go first, the first before all
	Load    turn.Marks // when the pool counts as loaded or idle; zero: the defaults
}

// Tier is a set of classes that go before all that no tier before it names.
type Tier struct {
	Classes []string
	Floor   float64 // part of what is served that those below are left, 0 to less than 1
}

// Class is what the dispatcher needs to know of one.
type Class struct {
	Weight    float64
	MaxQueued int // requests that may wait; 0: no bound
	Headroom  int // slots that others leave free for it
	Rank      int // by weight, the heaviest 0: what goes to vLLM as priority
	// CoDel lets the newest of a user go first, and refuses what has waited for half
	// of what it may while capacity is short.
	CoDel bool
}

// rank is the class's, the last for one that is not known.
func (p *Policy) rank(class string) int {
	if c, ok := p.Classes[class]; ok {
		return c.Rank
	}
	return len(p.Classes)
}

// Stream is a pool's stream of entries.
type Stream interface {
	Tail(ctx context.Context, from uint64, entry func(seq uint64, e *scheduler.Entry, err error), loaded func()) error
	Delete(seq uint64)
}

// Lease makes one of several dispatchers the leader.
type Lease interface {
	Run(ctx context.Context, lead func(ctx context.Context, epoch scheduler.Fence))
	Valid() bool
}

// Bus reaches the other roles, and lets them reach the leader.
type Bus interface {
	Worker(id string) scheduler.Worker
	Proxy(id string) scheduler.Proxy
	ServeDispatcher(pool string, d scheduler.Dispatcher) (stop func(), err error)
	MusterWorkers(ctx context.Context, pool string) error
}

// Memory keeps what a leader learned for its successor.
type Memory interface {
	Save(ctx context.Context, b []byte) error
	// Load is what was saved last; nothing, and no error, if that never happened.
	Load(ctx context.Context) ([]byte, error)
}

// Config is a dispatcher's.
type Config struct {
	Pool         string
	Share        []string // levels of the tree: class, group, user
	Cost         scheduler.CostWeights
	PassPriority bool
	Policy       Policy

	Stream Stream
	Lease  Lease
	Bus    Bus
	Memory Memory // nil: every leader begins anew

	// Takeover is how long a new leader waits for the workers' beats before it
	// grants. 0: not at all in the first term, in which there can be nothing to
	// adopt, and 400 ms in later ones.
	Takeover time.Duration
	Beat     time.Duration // of workers and proxies; 0: 500 ms
	Attempts int           // at most, before the client is told; 0: 3

	// Up says why nobody can be heard at the moment, nil if somebody can. nil: one can
	// always.
	Up func() error

	// Receipts gets the leader's half of every request that is over, and must not
	// block. nil: nobody keeps them.
	Receipts func(r *scheduler.Receipt)

	Metrics *Metrics // nil: nobody looks at them
	Logger  *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Beat <= 0 {
		c.Beat = 500 * time.Millisecond
	}
	if c.Attempts <= 0 {
		c.Attempts = 3
	}
	if len(c.Share) == 0 {
		c.Share = []string{"class", "user"}
	}
	if c.Cost == (scheduler.CostWeights{}) {
		c.Cost = scheduler.DefaultCost()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = newMetrics()
	}
	return c
}
