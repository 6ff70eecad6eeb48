package app

import (
	"context"

	"fairlane/proxy/admin"
	"fairlane/proxy/identity"
	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/dispatcher"
)

func (a *App) startAdmin(ctx context.Context) error {
	cfg := admin.Config{
		Listen: a.cfg.Admin.Listen, MetricsListen: a.cfg.Admin.MetricsListen, Tokens: a.cfg.Admin.Tokens,
		Gatherer: a.reg, Status: a.status, Backends: a.roster, Receipts: a.finder(), Logger: a.log,
	}
	if a.edge != nil {
		cfg.Quotas, cfg.Refusals = &a.edge.limits.quotas, a.edge.refusals
	}
	s, err := admin.New(cfg)
	if err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	a.admin = s
	a.onStop(func() { s.Stop(context.WithoutCancel(ctx)) })
	return nil
}

// status is what the admin port tells of this process.
func (a *App) status() admin.Status {
	b := ReadBuild()
	s := admin.Status{Version: b.Version, Revision: b.Revision, StartedAt: a.started, NATS: admin.NATS{Embedded: a.broker.Embedded(), Up: true}}
	for _, r := range a.opts.Roles {
		s.Roles = append(s.Roles, string(r))
	}
	if err := a.broker.Up(); err != nil {
		s.NATS.Up, s.NATS.Detail = false, err.Error()
	}
	a.mu.Lock()
	cfg := a.cfg
	s.Draining = a.draining
	s.Config = admin.ConfigFile{Path: a.opts.ConfigPath, LoadedAt: a.loadedAt, Warnings: cfg.Warnings}
	if a.loadError != nil {
		s.Config.Error = a.loadError.Error()
	}
	a.mu.Unlock()
	for _, p := range cfg.Pools {
		s.Pools = append(s.Pools, a.poolStatus(p.Name))
	}
	if a.edge != nil {
		s.OpenCalls = a.edge.desk.Open()
		s.Identity = identityStatus(a.edge.identifier)
	}
	return s
}

// identityStatus is what arrives of who is calling.
func identityStatus(i *identity.Identifier) admin.Identity {
	out := admin.Identity{OpenMode: i.OpenMode()}
	for _, t := range i.Traffic() {
		out.Traffic = append(out.Traffic, admin.Traffic(t))
	}
	for _, f := range i.Findings() {
		out.Findings = append(out.Findings, admin.Finding(f))
	}
	return out
}

func (a *App) poolStatus(pool string) admin.Pool {
	p := admin.Pool{Name: pool, Backends: []admin.Backend{}}
	var led dispatcher.Status
	if d := a.dispatchers[pool]; d != nil {
		led, p.Leading = d.Status()
		p.Load = led.Load
	}
	if a.edge != nil && !p.Leading {
		p.Load = float64(a.edge.decider.loads.Level(pool)) / scheduler.MostLoad
	}
	for _, c := range led.Classes {
		p.Classes = append(p.Classes, admin.Class{
			Name: c.Name, Weight: c.Weight, Waiting: c.Waiting, Running: c.Running, OldestSeconds: c.Oldest.Seconds(), Share: c.Share, Entitled: c.Entitled,
		})
	}
	for _, s := range led.Suspects {
		p.Suspects = append(p.Suspects, admin.Suspect{RequestID: s.ID, UserKey: s.User, Model: s.Model, InputTokens: s.InputTokens, At: s.At})
	}
	for _, i := range led.Inverted {
		p.Inversions = append(p.Inversions, admin.Inversion(i))
	}
	for _, s := range a.fleet.Statuses(pool) {
		p.Backends = append(p.Backends, backendStatus(s, led.Backends))
	}
	return p
}

// backendStatus joins what this process sees of a backend with what its leader
// thinks of it.
func backendStatus(s scheduler.BackendStatus, led []capacity.State) admin.Backend {
	b := admin.Backend{URL: s.URL, Up: s.Up, Detail: s.Detail, Scraped: s.Scrape != nil}
	for _, m := range s.Models {
		b.Models = append(b.Models, m.ID)
	}
	if s.Scrape != nil {
		b.KVTokens, b.PrefixCache = s.Scrape.KVTokens, s.Scrape.PrefixCache
	}
	for _, l := range led {
		if l.URL != s.URL {
			continue
		}
		b.Slots, b.Running, b.KVHeld = l.Slots, l.Running, int(l.KVHeld)
		b.KVBudget, b.Beta, b.Rho = int(l.KVBudget), l.Beta, l.Rho
		if b.Up && !l.Up {
			b.Up, b.Detail = false, l.Why+", although it answers"
		}
	}
	return b
}
