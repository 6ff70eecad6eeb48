package dispatcher

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"fairlane/scheduler"
)

// Dispatcher campaigns for a pool's lease and leads while it holds it.
type Dispatcher struct {
	cfg    Config
	status atomic.Pointer[Status] // nil while another one leads

	mu     sync.Mutex
	policy Policy
	leader *leader // nil while another one leads
	cancel context.CancelFunc
	done   chan struct{}
}

// New makes a dispatcher; Start lets it campaign.
func New(cfg Config) *Dispatcher {
	cfg = cfg.withDefaults()
	return &Dispatcher{cfg: cfg, policy: cfg.Policy}
}

// Start begins to campaign. A second Start is nothing.
func (d *Dispatcher) Start(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel != nil {
		return
	}
	ctx, d.cancel = context.WithCancel(context.WithoutCancel(ctx))
	d.done = make(chan struct{})
	go func() {
		defer close(d.done)
		d.cfg.Lease.Run(ctx, d.lead)
	}()
}

// Stop gives the lease back, so that a standby takes over at once. A second
// Stop is nothing.
func (d *Dispatcher) Stop() {
	d.mu.Lock()
	cancel, done := d.cancel, d.done
	d.cancel = nil
	d.mu.Unlock()
	if cancel != nil {
		cancel()
		<-done
	}
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
		l.post(context.Background(), func() { l.apply(p) })
	}
}

// lead is one term.
func (d *Dispatcher) lead(ctx context.Context, epoch scheduler.Fence) {
	d.mu.Lock()
	l, err := newLeader(&d.cfg, d.policy, epoch)
	if err == nil {
		l.say = d.status.Store
	}
	if err == nil {
		d.leader = l
	}
	d.mu.Unlock()
	if err != nil {
		d.cfg.Logger.Error("the fair queue can't be made", slog.String("pool", d.cfg.Pool), slog.Any("error", err))
		<-ctx.Done()
		return
	}
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.leader = nil
		d.status.Store(nil)
	}()
	l.run(ctx)
}
