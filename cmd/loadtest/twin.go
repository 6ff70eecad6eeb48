package main

import (
	"fmt"
	"time"

	"fairlane/cmd/internal/cli"
	"fairlane/loadtest/play"
	"fairlane/loadtest/simulate"
	"fairlane/loadtest/vllmsim"
)

// longestTwin bounds how long one of the two is played to.
const longestTwin = 3 * time.Minute

// twinCmd holds the emulated vLLM against a real one.
type twinCmd struct {
	VLLM     string `name:"vllm" required:"" placeholder:"URL" help:"The real one, without /v1, with nothing else to do."`
	Workload string `default:"loadtest/workloads/tiny-cpu.yaml" help:"What is asked of both: a description, as simulate takes it, with the profile of the real one."`
}

// Run plays a workload through fairlane and the real vLLM, and through fairlane and
// the emulated one with the workload's profile. It fails if a share or the throughput
// is more than a tenth apart, or a median wait more than a fifth.
func (c *twinCmd) Run(w *cli.World) error {
	game := playCmd{Workload: c.Workload, Longest: longestTwin, Most: 2000}
	load, err := game.workload()
	if err != nil {
		return err
	}
	text := func(dir, backend string) string { return installation(dir, backend, load) }
	fmt.Fprintf(w.Stdout, "%s is played through fairlane, for %s with the real vLLM and as long with the emulated one …\n", c.Workload, load.Warmup+load.Duration)
	real, err := front(w.Ctx, w, c.VLLM, text)
	if err != nil {
		return err
	}
	one, err := show(w, real, load, "real")
	if err != nil {
		return err
	}
	emulated, err := raise(w.Ctx, w, vllmsim.Config{Profile: load.GPU.Profile}, text)
	if err != nil {
		return err
	}
	other, err := show(w, emulated, load, "emulated")
	if err != nil {
		return err
	}
	apart, err := play.Agree(w.Stdout, other, one, play.Bounds{Share: 0.1, Wait: 0.2, Rate: 0.1})
	if err != nil {
		return err
	}
	if apart > 0 {
		return fmt.Errorf("the emulated vLLM does not agree with the real one: %d figures are further apart than a tenth (of a share or the throughput) or a fifth (of a median wait), or of too few requests. On a busy machine that says nothing: run it again on an idle one", apart)
	}
	fmt.Fprintln(w.Stdout, "\nVerdict: the emulated vLLM agrees with the real one, within 10 % on shares and throughput and within 20 % on median waits.")
	return nil
}

// show plays a workload on a stage, and ends it.
func show(w *cli.World, s *stage, load *simulate.Workload, name string) (*simulate.Result, error) {
	defer s.stop()
	r, err := play.Run(w.Ctx, play.Config{Base: s.app.EdgeURL(), Most: 2000}, load)
	if err != nil {
		return nil, err
	}
	r.Setup = name
	return r, nil
}
