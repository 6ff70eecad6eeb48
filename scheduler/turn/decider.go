package turn

import (
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/fairqueue"
)

// Owner keeps a request: the Value of what it pushes.
type Owner interface {
	Entry() *scheduler.Entry
}

// Past is what a request went through before.
type Past struct {
	Faulted bool   // an attempt at it failed
	Alone   bool   // it is suspected to take a backend down
	Avoid   string // URL of the backend that has just failed it
}

// Manner is another way to lay requests out and to charge them, for comparisons.
// What is nil is fairlane's own.
type Manner struct {
	// Place says where an entry waits: its path, whose it is, and its place among the
	// requests of one user, lower first.
	Place   func(e *scheduler.Entry) (path []fairqueue.Step, u fairqueue.User, priority int)
	Reserve func(w fairqueue.Weights, in fairqueue.Input) fairqueue.Cost // charged at dispatch
	Charge  func(actual fairqueue.Cost) fairqueue.Cost                   // of what was served
}

// Config is a Decider's.
type Config struct {
	Policy   Policy
	Backends capacity.Config
	// Reach reports whether somebody can call a backend now; who can't be reached
	// gets nothing for a moment. nil: everybody can.
	Reach func(b *capacity.Backend) bool
	// Past is what a request went through; nil: nothing.
	Past   func(e *scheduler.Entry) Past
	Manner Manner
}

// Decider says who is next. It is not safe for concurrent use: one goroutine owns
// it, and the queue and the pool in it, which it may look at and tell of what the
// backends show. What waits and runs changes by the methods of Decider only.
type Decider struct {
	Queue *fairqueue.Queue
	Pool  *capacity.Pool

	cfg       Config
	policy    Policy
	estimates estimates
	weights   fairqueue.Weights
	kept      []headroom
	running   map[string]int     // sequences by class
	overruns  map[string]overrun // by user, as Foresee saw them last

	ask    func(*fairqueue.Request, bool) fairqueue.Decision
	now    time.Time // of the question that is being answered
	turn   Turn      // its answer
	astray bool      // the head would start away from its home
}

// New makes one with nothing in it, or fails for a tree that can't be.
func New(cfg Config) (*Decider, error) {
	cfg.Policy = cfg.Policy.WithDefaults()
	if cfg.Reach == nil {
		cfg.Reach = func(*capacity.Backend) bool { return true }
	}
	if cfg.Past == nil {
		cfg.Past = func(*scheduler.Entry) Past { return Past{} }
	}
	if cfg.Manner.Reserve == nil {
		cfg.Manner.Reserve = fairqueue.Reserve
	}
	if cfg.Manner.Charge == nil {
		cfg.Manner.Charge = func(c fairqueue.Cost) fairqueue.Cost { return c }
	}
	q, err := cfg.Policy.queue()
	if err != nil {
		return nil, err
	}
	d := &Decider{Queue: q, Pool: capacity.NewPool(cfg.Backends), cfg: cfg, estimates: newEstimates(), running: map[string]int{}, overruns: map[string]overrun{}}
	d.ask = d.admit
	d.apply(cfg.Policy)
	return d, nil
}

func (d *Decider) apply(p Policy) {
	d.policy, d.weights, d.kept = p, p.weights(), headrooms(p.Classes)
}

// Policy is the one in force.
func (d *Decider) Policy() *Policy { return &d.policy }

// Running is how many sequences of a class are in flight.
func (d *Decider) Running(class string) int { return d.running[class] }

// Cost is that of what was served.
func (d *Decider) Cost(u scheduler.Usage) fairqueue.Cost {
	return fairqueue.Actual(d.weights, u.Input, u.Cached, u.Output)
}

// Push lets a request wait. r is its owner's, and the queue's until it ends.
func (d *Decider) Push(r *fairqueue.Request, o Owner) {
	*r = d.request(o, d.Input(o.Entry()))
	path, u := d.place(r, o.Entry())
	d.Queue.Push(r, path, u)
}

func (d *Decider) request(o Owner, in fairqueue.Input) fairqueue.Request {
	e := o.Entry()
	return fairqueue.Request{
		ID: e.ID, Priority: e.Priority, AcceptedAt: e.AcceptedAt, Newest: d.policy.Classes[e.Class].Newest, Sequences: max(e.Sequences, 1),
		Estimate: fairqueue.Actual(d.weights, in.Tokens, in.Cached, in.Sequences*in.Expected), Tier: d.policy.Tier(e.Class), Value: o,
	}
}

// place is where a request waits.
func (d *Decider) place(r *fairqueue.Request, e *scheduler.Entry) ([]fairqueue.Step, fairqueue.User) {
	if d.cfg.Manner.Place == nil {
		return d.policy.Path(e), fairqueue.User{Key: e.User, MaxRunning: e.MaxRunning}
	}
	path, u, priority := d.cfg.Manner.Place(e)
	r.Priority, r.Newest, r.Tier = priority, false, 0
	return path, u
}

// Adopt takes over a request that runs already: since before this Decider was, or
// on a worker that was thought to be dead. charged is what it was charged
// elsewhere, at those weights, and counts as delivered.
func (d *Decider) Adopt(r *fairqueue.Request, o Owner, run *Run, weights []float64, charged fairqueue.Cost) {
	e := o.Entry()
	run.Adopted, run.Delivered = true, charged
	run.Hold = run.Backend.Take(run.At, d.demand(e, run.Input))
	if run.First {
		run.Hold.FirstToken(run.At)
		run.Hold.Progress(run.At, run.Generated)
	}
	*r = d.request(o, run.Input)
	path, u := d.place(r, e)
	d.Queue.Adopt(r, path, u, weights, charged)
	d.running[e.Class] += max(e.Sequences, 1)
}
