package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"fairlane/cmd/internal/cli"
	"fairlane/cmd/internal/config"
	"fairlane/loadtest/simulate"
	"fairlane/proxy/policy"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/turn"
)

const (
	usualSeeds = 5 // where runs are compared
	mostSeeds  = 1000
)

type simulateCmd struct {
	Workload string        `required:"" help:"What is asked: a description (YAML), or a file of recorded arrivals (.jsonl)."`
	Config   []string      `help:"Configuration to play it against; several stand side by side. Without one, the workload says who has which class and weight."`
	Policy   []string      `default:"fair" help:"Who goes next; several stand side by side: fair, fcfs, strict, rr, wfq, vtc."`
	Seed     uint64        `help:"What is drawn; 0: the workload's."`
	Seeds    int           `help:"Play it with so many seeds, and tell medians and what is beyond chance; 0: 5 where runs stand side by side, else 1. Recorded arrivals are played once."`
	Duration time.Duration `help:"How long is measured, on virtual time; 0: as the workload says."`
	GPU      string        `name:"gpu" help:"Profile of the GPU: h100, a100, rtx3060-4bit, tiny-cpu; empty: the workload's."`
	Pool     string        `help:"Pool of the configuration; empty: the first."`
	HTML     string        `name:"html" help:"File to write a report with charts to."`
	JSON     bool          `name:"json" help:"Print JSON instead of a table."`
}

// Run plays the workload once for each configuration and policy.
func (c *simulateCmd) Run(w *cli.World) error {
	if c.Seeds < 0 || c.Seeds > mostSeeds {
		return fmt.Errorf("--seeds: %d does not do: a number from 0 to %d is needed", c.Seeds, mostSeeds)
	}
	load, err := c.load()
	if err != nil {
		return err
	}
	setups, err := c.setups(w, load)
	if err != nil {
		return err
	}
	seeds := c.Seeds
	if seeds == 0 && len(setups)*len(c.Policy) > 1 {
		seeds = usualSeeds
	}
	var runs []*simulate.Result
	for _, s := range setups {
		for _, name := range c.Policy {
			p, err := simulate.ParsePolicy(name)
			if err != nil {
				return err
			}
			r, err := simulate.Repeat(w.Ctx, load, s, p, seeds)
			if err != nil {
				return err
			}
			runs = append(runs, r)
		}
	}
	return c.write(w, simulate.NewReport(load, runs))
}

func (c *simulateCmd) load() (*simulate.Workload, error) {
	load, err := c.read()
	if err != nil {
		return nil, err
	}
	if c.Seed > 0 {
		load.Seed = c.Seed
	}
	if c.Duration != 0 {
		load.Duration = c.Duration
	}
	if c.GPU != "" {
		load.GPU.Profile = c.GPU
	}
	return load, load.Validate()
}

func (c *simulateCmd) read() (*simulate.Workload, error) {
	if !strings.HasSuffix(c.Workload, ".jsonl") {
		data, err := os.ReadFile(c.Workload)
		if err != nil {
			return nil, fmt.Errorf("the workload cannot be read: %w", err)
		}
		return simulate.ParseWorkload(data, c.Workload)
	}
	f, err := os.Open(c.Workload)
	if err != nil {
		return nil, fmt.Errorf("the workload cannot be read: %w", err)
	}
	defer f.Close()
	return simulate.ReadRecorded(f, c.Workload)
}

func (c *simulateCmd) setups(w *cli.World, load *simulate.Workload) ([]*simulate.Setup, error) {
	if len(c.Config) == 0 {
		return []*simulate.Setup{simulate.SetupOf(load)}, nil
	}
	var out []*simulate.Setup
	for _, path := range c.Config {
		cfg, err := config.Load(path, w.Getenv)
		if err != nil {
			fmt.Fprintln(w.Stderr, err)
			return nil, cli.ErrShown
		}
		s, err := c.setup(cfg, load)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		s.Name = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		out = append(out, s)
	}
	return out, nil
}

// setup is what the simulator has to know of a configuration.
func (c *simulateCmd) setup(cfg *config.Config, load *simulate.Workload) (*simulate.Setup, error) {
	rules, err := policy.New(cfg.Policy)
	if err != nil {
		return nil, err
	}
	pool, err := c.pool(cfg)
	if err != nil {
		return nil, err
	}
	s := &simulate.Setup{
		Pool: pool.Name, Rules: rules, Load: cfg.Load, MaxQueued: map[string]int{},
		Turn:     turn.Policy{Share: cfg.Share, Classes: map[string]turn.Class{}, Cost: pool.Cost},
		Backends: capacity.Config{Fixed: !pool.Adaptive, ITL: pool.TargetITL, Anywhere: !pool.PrefixAffinity},
	}
	for name, x := range cfg.Policy.Classes {
		s.Turn.Classes[name] = turn.Class{Weight: x.Weight, Headroom: x.Headroom, Newest: x.CoDel}
		s.MaxQueued[name] = x.MaxQueued
	}
	for _, t := range cfg.Tiers {
		s.Turn.Tiers = append(s.Turn.Tiers, turn.Tier{Classes: t.Classes, Floor: t.FloorBelow})
	}
	for _, b := range pool.Backends {
		slots := b.Slots
		if slots == 0 {
			slots = load.GPU.Slots
		}
		s.Backends.Backends = append(s.Backends.Backends, capacity.BackendConfig{URL: b.URL, Slots: slots, KVTokens: b.KVTokens})
	}
	return s, nil
}

func (c *simulateCmd) pool(cfg *config.Config) (*config.Pool, error) {
	for i := range cfg.Pools {
		if c.Pool == "" || cfg.Pools[i].Name == c.Pool {
			return &cfg.Pools[i], nil
		}
	}
	return nil, fmt.Errorf("there is no pool %q", c.Pool)
}

func (c *simulateCmd) write(w *cli.World, r *simulate.Report) error {
	if c.HTML != "" {
		f, err := os.Create(c.HTML)
		if err != nil {
			return fmt.Errorf("the report cannot be written: %w", err)
		}
		if err := r.HTML(f); err != nil {
			_ = f.Close()
			return err
		}
		if err := f.Close(); err != nil {
			return fmt.Errorf("the report cannot be written: %w", err)
		}
	}
	return c.print(w.Stdout, r)
}

func (c *simulateCmd) print(w io.Writer, r *simulate.Report) error {
	if !c.JSON {
		return r.Table(w)
	}
	return printJSON(w, r)
}
