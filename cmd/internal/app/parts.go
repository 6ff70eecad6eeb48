package app

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"fairlane/cmd/internal/config"
	"fairlane/loadtest/vllmsim"
	"fairlane/proxy/policy"
	"fairlane/scheduler/broker"
	"fairlane/scheduler/dispatcher"
	"fairlane/scheduler/worker"
)

// takeover is how long a new leader waits for the workers' beats. Over an
// embedded NATS nothing can be running yet.
const takeover = 400 * time.Millisecond

// aloneTTL is the lease's where nobody else could want it: a machine that is so
// busy that it lets a process stand still for seconds is not to lose its leader.
const aloneTTL = time.Minute

const day = 24 * time.Hour

// startEmulator starts an emulated vLLM if no backend is named anywhere.
func (a *App) startEmulator(context.Context) error {
	if slices.ContainsFunc(a.cfg.Pools, func(p config.Pool) bool { return len(p.Backends) > 0 }) {
		return nil
	}
	sim, err := vllmsim.New(vllmsim.Config{
		PromptTokensDetails: true, Tools: true, Logger: a.log.With(slog.String("part", "emulator")),
	})
	if err != nil {
		return err
	}
	if err := sim.Start("127.0.0.1:0"); err != nil {
		return err
	}
	a.onStop(sim.Stop)
	a.sim = sim
	a.cfg.Pools[0].Backends = []config.Backend{{URL: "http://" + sim.Addr()}}
	return nil
}

func (a *App) startBroker(ctx context.Context) error {
	cfg := a.cfg
	b, err := broker.Open(ctx, broker.Config{
		URL: cfg.NATS.URL, CredsFile: cfg.NATS.CredsFile, Replicas: cfg.NATS.Replicas, Store: cfg.NATS.Store,
		Dir: filepath.Join(cfg.DataDir, "nats"), SyncAlways: cfg.NATS.SyncAlways, Changed: a.metrics.store, Logger: a.log,
	})
	if err != nil {
		return err
	}
	a.onStop(b.Close)
	a.broker = b
	for _, p := range cfg.Pools {
		s, err := b.Stream(ctx, broker.StreamConfig{Pool: p.Name, MaxAge: longest(cfg, p)})
		if err != nil {
			return err
		}
		if b.Embedded() {
			if err := s.DropSync(ctx); err != nil {
				return fmt.Errorf("what the last run left in the queue: %w", err)
			}
		}
		a.streams[p.Name] = s
	}
	return nil
}

// longest is how long an entry may be of use: it waits and it runs.
func longest(cfg *config.Config, p config.Pool) time.Duration {
	var wait time.Duration
	for _, c := range cfg.Policy.Classes {
		wait = max(wait, c.MaxWait)
	}
	for _, r := range cfg.Policy.Rules {
		if r.MaxWait != nil {
			wait = max(wait, *r.MaxWait)
		}
	}
	return max(wait+p.Timeouts.Total+time.Minute, day) // a reload may make the wait longer
}

// makeWorker comes before the fleet's start, for what the fleet sees is told to
// the worker.
func (a *App) makeWorker(context.Context) error {
	if !a.has(RoleWorker) {
		return nil
	}
	pools := map[string]worker.Pool{}
	for _, p := range a.cfg.Pools {
		pools[p.Name] = worker.Pool{FirstByte: p.Timeouts.FirstByte, Idle: p.Timeouts.Idle, Total: p.Timeouts.Total, Cost: p.Cost}
	}
	a.worker = worker.New(worker.Config{ID: broker.NewID(), Pools: pools, Fleet: a.fleet, Bus: a.broker.Bus(), Logger: a.log})
	return nil
}

func (a *App) startWorker(ctx context.Context) error {
	if a.worker == nil {
		return nil
	}
	pools := make([]string, len(a.cfg.Pools))
	for i, p := range a.cfg.Pools {
		pools[i] = p.Name
	}
	unserve, err := a.broker.Bus().ServeWorker(a.worker.ID(), pools, a.worker)
	if err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	a.worker.Start(ctx)
	a.onStop(func() { a.worker.Stop(); unserve() })
	return nil
}

func (a *App) startDispatchers(ctx context.Context) error {
	if !a.has(RoleDispatcher) {
		return nil
	}
	m, err := dispatcher.NewMetrics(a.reg)
	if err != nil {
		return fmt.Errorf("metrics of the dispatcher: %w", err)
	}
	wait, ttl := takeover, time.Duration(0)
	if a.broker.Embedded() {
		wait, ttl = 0, aloneTTL
	}
	for _, p := range a.cfg.Pools {
		lease, err := a.broker.Lease(ctx, broker.LeaseConfig{
			Pool: p.Name, TTL: ttl, OnChange: func(leading bool) {
				if leading {
					a.metrics.leases.WithLabelValues(p.Name).Inc()
				}
			},
		})
		if err != nil {
			return fmt.Errorf("lease of pool %s: %w", p.Name, err)
		}
		memory, err := a.broker.Memory(ctx, p.Name)
		if err != nil {
			return fmt.Errorf("memory of pool %s: %w", p.Name, err)
		}
		what, err := a.policyOf(a.cfg, p)
		if err != nil {
			return err
		}
		d := dispatcher.New(dispatcher.Config{
			Pool: p.Name, Share: a.cfg.Share, Cost: p.Cost, PassPriority: p.PassPriority, Policy: what,
			Stream: a.streams[p.Name], Lease: lease, Bus: a.broker.Bus(), Memory: memory, Takeover: wait, Up: a.broker.Up,
			Receipts: a.queueKeeper(), Metrics: m, Logger: a.log,
		})
		a.dispatchers[p.Name] = d
		d.Start(ctx)
		a.onStop(d.Stop)
	}
	return nil
}

// policyOf is what the dispatcher of a pool has to know of a configuration.
func (a *App) policyOf(cfg *config.Config, p config.Pool) (dispatcher.Policy, error) {
	rules, err := policy.New(cfg.Policy)
	if err != nil {
		return dispatcher.Policy{}, err
	}
	out := dispatcher.Policy{Share: cfg.Share, Load: cfg.Load, Classes: map[string]dispatcher.Class{}}
	for name, c := range cfg.Policy.Classes {
		out.Classes[name] = dispatcher.Class{Weight: c.Weight, MaxQueued: c.MaxQueued, Headroom: c.Headroom, Rank: rules.Rank(name), CoDel: c.CoDel}
	}
	for _, t := range cfg.Tiers {
		out.Tiers = append(out.Tiers, dispatcher.Tier{Classes: t.Classes, Floor: t.FloorBelow})
	}
	out.Backend = a.capacityOf(p)
	return out, nil
}
