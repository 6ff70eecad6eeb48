package dispatcher

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/loop"
)

// laterTakeover is how long a leader waits for beats if it has led before in this
// process: what it granted then may still run.
const laterTakeover = 400 * time.Millisecond

// Dispatcher campaigns for a pool's lease and leads while it holds it.
type Dispatcher struct {
	cfg    Config
	status atomic.Pointer[Status] // nil while another one leads

	mu     sync.Mutex
	policy Policy
	leader *leader // nil while another one leads
	terms  int     // so far

	campaign loop.Loop
}

// New makes a dispatcher; Start lets it campaign.
func New(cfg Config) *Dispatcher {
	cfg = cfg.withDefaults()
	return &Dispatcher{cfg: cfg, policy: cfg.Policy}
}

// Start begins to campaign. A second Start is nothing.
func (d *Dispatcher) Start(ctx context.Context) {
	d.campaign.Start(ctx, func(ctx context.Context) { d.cfg.Lease.Run(ctx, d.lead) })
}

// Stop hands over what was learned and gives the lease back, so that a standby
// takes over at once. A second Stop is nothing.
func (d *Dispatcher) Stop() {
	d.mu.Lock()
	l := d.leader
	d.mu.Unlock()
	if l != nil {
		l.farewell()
	}
	d.campaign.Stop()
}

// Leading reports whether this process leads the pool.
func (d *Dispatcher) Leading() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.leader != nil
}

// Apply changes the policy while it runs.
func (d *Dispatcher) Apply(p Policy) {
	d.mu.Lock()
	d.policy = p
	l := d.leader
	d.mu.Unlock()
	if l != nil {
		l.post(func() { l.apply(p) })
	}
}

// lead is one term.
func (d *Dispatcher) lead(ctx context.Context, epoch scheduler.Fence) {
	l, err := d.begin(ctx, epoch)
	if err != nil {
		d.cfg.Logger.ErrorContext(ctx, "the fair queue can't be made", slog.String("pool", d.cfg.Pool), slog.Any("error", err))
		<-ctx.Done()
		return
	}
	defer d.end()
	l.run(ctx)
}

func (d *Dispatcher) begin(ctx context.Context, epoch scheduler.Fence) (*leader, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l, err := newLeader(ctx, &d.cfg, d.policy, epoch)
	if err != nil {
		return nil, err
	}
	l.say = d.status.Store
	l.takeover = d.cfg.Takeover
	if d.terms++; d.terms > 1 && l.takeover <= 0 {
		l.takeover = laterTakeover
	}
	d.leader = l
	d.cfg.Metrics.begin(d.cfg.Pool, l.turn.Pool.Backends())
	return l, nil
}

func (d *Dispatcher) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leader = nil
	d.status.Store(nil)
}
