package main

import (
	"context"
	"fmt"
	"time"

	"fairlane/cmd/internal/cli"
	"fairlane/loadtest/overtake"
	"fairlane/loadtest/vllmsim"
)

type overtakeCmd struct {
	Base     string        `placeholder:"URL" help:"The server, without /v1. Without one fairlane is started in front of an emulated vLLM of 8 slots."`
	Metrics  string        `placeholder:"URL" help:"Where fairlane's metrics are, to show the queue."`
	Model    string        `help:"The model; empty: the server's only one."`
	Flood    int           `default:"200" help:"Requests of the flood."`
	Tokens   int           `default:"150" help:"Output of each, in tokens."`
	Deadline time.Duration `default:"5m" help:"When to give up."`
}

// Run plays the scene and fails if the VIP did not overtake.
func (c *overtakeCmd) Run(w *cli.World) error {
	ctx, cancel := context.WithTimeout(w.Ctx, c.Deadline)
	defer cancel()
	if c.Base == "" {
		stop, err := c.stage(ctx, w)
		if err != nil {
			return err
		}
		defer stop()
	}
	cfg := overtake.Config{Base: c.Base, Model: c.Model, Flood: c.Flood, Tokens: c.Tokens}
	if c.Metrics != "" {
		cfg.Waiting = func(ctx context.Context) (int, error) {
			n, err := gauge(ctx, c.Metrics, "fairlane_queue_depth")
			return int(n), err
		}
	}
	r, err := overtake.Play(ctx, cfg, w.Stdout)
	if err != nil {
		return err
	}
	// Half of the flood is far more than a turnover of the slots, and far less
	// than all of it.
	if r.FloodDone > r.Flood/2 {
		return fmt.Errorf("the VIP did not overtake: %d of the flood's %d requests were answered first", r.FloodDone, r.Flood)
	}
	return nil
}

// scene is an installation with a flood's bounds raised, so that it waits in the
// queue and is not refused before.
const scene = `
listen: "127.0.0.1:0"
admin: {listen: "127.0.0.1:0"}
data_dir: %q
pools:
  - name: main
    backends: [{url: %q, slots: 8}]
classes:
  vip:      {weight: 8}
  standard: {weight: 3, max_wait: 10m}
policy:
  - {when: {group: vip}, class: vip}
  - {limits: "100000/minute", max_running: 0, max_queued: 100000}
log: {level: error}
`

// stage starts an emulated vLLM and fairlane in front of it.
func (c *overtakeCmd) stage(ctx context.Context, w *cli.World) (stop func(), err error) {
	s, err := raise(ctx, w, vllmsim.Config{Profile: "a100", MaxNumSeqs: 8}, func(dir, backend string) string {
		return fmt.Sprintf(scene, dir, backend)
	})
	if err != nil {
		return nil, err
	}
	c.Base, c.Metrics = s.app.EdgeURL(), s.app.MetricsURL()
	fmt.Fprintf(w.Stdout, "fairlane at %s in front of an emulated A100 with 8 slots; class vip has weight 8, standard 3.\n", c.Base)
	return s.stop, nil
}
