package main

import (
	"fmt"
	"time"

	"fairlane/cmd/internal/cli"
	"fairlane/loadtest/play"
	"fairlane/loadtest/simulate"
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
//
// A CPU is faster or slower from one minute to the next, and slower beside its own
// clients; so before and after it plays what shows nothing but the pace of full slots,
// and lets the emulated one go at that. What remains to agree is what the profile says
// of prompts, contexts and places that become free, and what waits.
func (c *twinCmd) Run(w *cli.World) error {
	game := playCmd{Workload: c.Workload, Longest: longestTwin, Most: 2000}
	load, err := game.workload()
	if err != nil {
		return err
	}
	took := 2*(load.Warmup+load.Duration) + 3*(paceWarmup+paceDuration)
	fmt.Fprintf(w.Stdout, "%s is played through fairlane, with the real vLLM and with the emulated one, for %s in all …\n", c.Workload, took)
	pace := paceOf(load)
	var real []*simulate.Result
	for _, x := range []*simulate.Workload{pace, load, pace} {
		r, err := c.real(w, x)
		if err != nil {
			return err
		}
		real = append(real, r)
	}
	nominal, err := c.emulated(w, pace, 1)
	if err != nil {
		return err
	}
	speed := (real[0].OutputRate + real[2].OutputRate) / 2 / nominal.OutputRate
	fmt.Fprintf(w.Stdout, "With all slots in use the real one makes %.0f tokens a second before and %.0f after, the emulated one %.0f: it goes at %.2f times the profile's pace.\n",
		real[0].OutputRate, real[2].OutputRate, nominal.OutputRate, speed)
	emulated, err := c.emulated(w, load, speed)
	if err != nil {
		return err
	}
	apart, err := play.Agree(w.Stdout, emulated, real[1], play.Bounds{Share: 0.1, Wait: 0.2, Rate: 0.1})
	if err != nil {
		return err
	}
	if apart > 0 {
		return fmt.Errorf("the emulated vLLM does not agree with the real one: %d figures are further apart than a tenth (of a share or the throughput) or a fifth (of a median wait), or of too few requests. On a busy machine that says nothing: run it again on an idle one", apart)
	}
	fmt.Fprintln(w.Stdout, "\nVerdict: the emulated vLLM agrees with the real one, within 10 % on shares and throughput and within 20 % on median waits.")
	return nil
}

const (
	paceWarmup   = 3 * time.Second
	paceDuration = 12 * time.Second
)

// paceOf is a workload that shows the pace of a backend and of what stands around it:
// all slots in use, by prompts of a few tokens and answers as the workload's, so that
// as many requests a second begin and end.
func paceOf(load *simulate.Workload) *simulate.Workload {
	like := &load.Users[0]
	return &simulate.Workload{
		Name: "pace", Seed: load.Seed, Warmup: paceWarmup, Duration: paceDuration, Bounded: true, GPU: load.GPU, Classes: load.Classes,
		Users: []simulate.User{{
			Name: "pace", Class: like.Class, Weight: 1, Endpoint: "completions", Input: simulate.Lengths{Fixed: 20}, Output: like.Output,
			Load: simulate.Load{Outstanding: load.GPU.Slots},
		}},
	}
}

func (c *twinCmd) real(w *cli.World, load *simulate.Workload) (*simulate.Result, error) {
	s, err := front(w.Ctx, w, c.VLLM, func(dir, backend string) string { return installation(dir, backend, load) })
	if err != nil {
		return nil, err
	}
	return show(w, s, load, "real")
}

func (c *twinCmd) emulated(w *cli.World, load *simulate.Workload, speed float64) (*simulate.Result, error) {
	s, err := emulated(w.Ctx, w, load, speed)
	if err != nil {
		return nil, err
	}
	return show(w, s, load, "emulated")
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
