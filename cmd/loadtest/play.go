package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"fairlane/cmd/internal/cli"
	"fairlane/loadtest/play"
	"fairlane/loadtest/simulate"
	"fairlane/loadtest/vllmsim"
	"fairlane/scheduler/gpumodel"
)

type playCmd struct {
	Workload string        `required:"" help:"What is asked: a description, as simulate takes it."`
	Base     string        `placeholder:"URL" help:"The server, without /v1. Without one fairlane is started, with the workload's classes, in front of an emulated vLLM."`
	VLLM     string        `name:"vllm" placeholder:"URL" help:"With --base: the vLLM behind it, whose metrics say how much KV is in use."`
	Duration time.Duration `help:"How long is measured; 0: as the workload says."`
	Longest  time.Duration `default:"10m" help:"What is not played, because it takes longer."`
	Most     int           `default:"2000" help:"Requests in flight, at most."`
}

// Run plays a workload in real time and shows the simulator's answer beside it.
func (c *playCmd) Run(w *cli.World) error {
	both, err := c.play(w)
	if err != nil {
		return err
	}
	return both.Table(w.Stdout)
}

// workload is what is played.
func (c *playCmd) workload() (*simulate.Workload, error) {
	data, err := os.ReadFile(c.Workload)
	if err != nil {
		return nil, fmt.Errorf("the workload cannot be read: %w", err)
	}
	load, err := simulate.ParseWorkload(data, c.Workload)
	if err != nil {
		return nil, err
	}
	if c.Duration != 0 {
		load.Duration = c.Duration
	}
	if took := load.Warmup + load.Duration; took > c.Longest {
		return nil, fmt.Errorf("the workload takes %s, longer than %s; give it a --duration", took, c.Longest)
	}
	load.Bounded = true
	return load, load.Validate()
}

// play plays the workload, and simulates it.
func (c *playCmd) play(w *cli.World) (*simulate.Report, error) {
	load, err := c.workload()
	if err != nil {
		return nil, err
	}
	if c.Base == "" {
		stop, err := c.stage(w.Ctx, w, load)
		if err != nil {
			return nil, err
		}
		defer stop()
	}
	seen, err := play.Run(w.Ctx, c.game(), load)
	if err != nil {
		return nil, err
	}
	said, err := simulate.Run(w.Ctx, load, simulate.SetupOf(load), simulate.Fair)
	if err != nil {
		return nil, err
	}
	said.Setup = "simulated"
	return simulate.NewReport(load, []*simulate.Result{seen, said}), nil
}

func (c *playCmd) game() play.Config {
	cfg := play.Config{Base: c.Base, Most: c.Most}
	if c.VLLM != "" {
		cfg.KV = func(ctx context.Context) (float64, error) {
			return gauge(ctx, c.VLLM+"/metrics", "vllm:kv_cache_usage_perc")
		}
	}
	return cfg
}

// stage starts an emulated vLLM and fairlane in front of it, with what the
// workload says of its users as the policy.
func (c *playCmd) stage(ctx context.Context, w *cli.World, load *simulate.Workload) (stop func(), err error) {
	s, err := emulated(ctx, w, load, 1)
	if err != nil {
		return nil, err
	}
	c.Base, c.VLLM = s.app.EdgeURL(), s.gpu
	return s.stop, nil
}

// emulated is an emulated vLLM as the workload has it, at so many times its pace, and
// fairlane in front of it.
func emulated(ctx context.Context, w *cli.World, load *simulate.Workload, speed float64) (*stage, error) {
	gpu := vllmsim.Config{Profile: load.GPU.Profile, Speed: speed}
	if load.GPU.KVTokens > 0 {
		profile, err := gpumodel.ProfileByName(load.GPU.Profile)
		if err != nil {
			return nil, err
		}
		gpu.KVBlocks = load.GPU.KVTokens / profile.BlockSize
	}
	return raise(ctx, w, gpu, func(dir, backend string) string { return installation(dir, backend, load) })
}

// installation is a configuration that says of the users what the workload says.
func installation(dir, backend string, load *simulate.Workload) string {
	var b strings.Builder
	fmt.Fprintf(&b, "listen: \"127.0.0.1:0\"\nadmin: {listen: \"127.0.0.1:0\"}\ndata_dir: %q\nlog: {level: error}\nqueue_status: {heartbeat: 0s, openwebui: false}\n", dir) // a status sent early has no header with the wait
	fmt.Fprintf(&b, "pools:\n  - {name: main, backends: [{url: %q, slots: %d}]}\nclasses:\n", backend, load.GPU.Slots)
	first := ""
	for name, x := range load.Classes {
		fmt.Fprintf(&b, "  %s: {weight: %g, headroom: %d, max_wait: 1h, max_queued: 100000}\n", name, x.Weight, x.Headroom)
		first = min(max(first, name), name)
	}
	if len(load.Share) > 0 {
		fmt.Fprintf(&b, "share: [%s]\n", strings.Join(load.Share, ", "))
	}
	fmt.Fprintf(&b, "default_class: %s\npolicy:\n", first)
	for _, a := range load.Askers() {
		u := a.User()
		weight := u.Weight
		if weight == 0 {
			weight = 1
		}
		fmt.Fprintf(&b, "  - {when: {user: %q}, class: %s, weight: %g, max_running: %d, max_queued: 100000, limits: \"1000000/minute\"}\n",
			a.Name(), u.Class, weight, u.MaxRunning)
	}
	return b.String()
}
