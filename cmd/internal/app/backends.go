package app

import (
	"context"
	"fmt"
	"log/slog"

	"fairlane/cmd/internal/config"
	"fairlane/cmd/internal/roster"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/vllm"
)

// makeRoster finds out which backends there are; nothing watches them yet.
func (a *App) makeRoster(ctx context.Context) error {
	memory := map[string]roster.Memory{}
	for _, p := range a.cfg.Pools {
		m, err := a.broker.Roster(ctx, p.Name)
		if err != nil {
			return fmt.Errorf("roster of pool %s: %w", p.Name, err)
		}
		memory[p.Name] = m
	}
	a.roster = roster.New(roster.Config{Memory: memory, Lookup: a.opts.Lookup, OnChange: a.rosterChanged, Logger: a.log})
	a.roster.Configure(ctx, a.cfg.Pools)
	return nil
}

// startRoster comes when everybody is there whom it tells of changes.
func (a *App) startRoster(ctx context.Context) error {
	a.roster.Start(ctx)
	a.onStop(a.roster.Stop)
	return nil
}

func (a *App) startFleet(ctx context.Context) error {
	if err := a.applyBackends(a.cfg); err != nil {
		return err
	}
	a.catalog = newCatalog(a.fleet, a.cfg.Pools)
	a.fleet.Start(ctx, a.backendsChanged)
	a.onStop(a.fleet.Stop)
	return nil
}

// applyBackends lets the fleet have what the roster says.
func (a *App) applyBackends(cfg *config.Config) error {
	for _, p := range cfg.Pools {
		var configs []vllm.Config
		for _, b := range a.roster.Backends(p.Name) {
			configs = append(configs, vllm.Config{URL: b.URL, APIKey: b.APIKey, Name: b.Name, Connect: p.Timeouts.Connect, Logger: a.log})
		}
		if err := a.fleet.Apply(p.Name, configs); err != nil {
			return fmt.Errorf("pool %s: %w", p.Name, err)
		}
	}
	return nil
}

// capacityOf is what the dispatcher of a pool has to know of its backends.
func (a *App) capacityOf(p config.Pool) capacity.Config {
	out := capacity.Config{Fixed: !p.Adaptive, ITL: p.TargetITL, Anywhere: !p.PrefixAffinity}
	for _, b := range a.roster.Backends(p.Name) {
		out.Backends = append(out.Backends, capacity.BackendConfig{URL: b.URL, Slots: b.Slots, KVTokens: b.KVTokens, Draining: b.Draining})
	}
	return out
}

// rosterChanged takes other backends than there were: a name has other addresses,
// or an operator said so.
func (a *App) rosterChanged() {
	a.applying.Lock()
	defer a.applying.Unlock()
	cfg := a.current()
	policies, err := a.policies(cfg)
	if err == nil {
		err = a.applyBackends(cfg)
	}
	if err != nil {
		a.log.Error("the backends stay as they were", slog.Any("error", err))
		return
	}
	for pool, p := range policies {
		a.dispatchers[pool].Apply(p)
	}
	a.backendsChanged()
	for _, p := range cfg.Pools {
		a.log.Info("the backends of a pool", slog.String("pool", p.Name), slog.Int("backends", len(a.roster.Backends(p.Name))))
	}
}

// backendsChanged is called when a backend goes up or down.
func (a *App) backendsChanged() {
	a.catalog.refresh()
	if a.worker != nil {
		a.worker.Changed()
	}
}
