package main

import (
	"fmt"
	"time"

	"fairlane/cmd/internal/cli"
	"fairlane/loadtest/play"
)

// longestAgreement bounds how long it takes, the simulation apart.
const longestAgreement = 3 * time.Minute

// agreeCmd is play, with a verdict.
type agreeCmd struct {
	Workload string `default:"loadtest/workloads/agreement.yaml" help:"What is asked: a description, as simulate takes it."`
}

// Run plays a workload through fairlane and an emulated vLLM, simulates it, and
// fails if a share, a median wait or the throughput is more than a tenth apart.
func (c *agreeCmd) Run(w *cli.World) error {
	game := playCmd{Workload: c.Workload, Longest: longestAgreement, Most: 2000}
	fmt.Fprintf(w.Stdout, "%s is played through fairlane and an emulated vLLM, which takes as long as it says …\n", c.Workload)
	both, err := game.play(w)
	if err != nil {
		return err
	}
	apart, err := play.Agree(w.Stdout, both.Runs[0], both.Runs[1], play.Tenth())
	if err != nil {
		return err
	}
	if apart > 0 {
		return fmt.Errorf("the simulator does not agree with the running system: %d figures are more than 10 %% apart, or of too few requests. On a busy machine that says nothing: run it again on an idle one", apart)
	}
	fmt.Fprintln(w.Stdout, "\nVerdict: the simulator agrees with the running system within 10 %.")
	return nil
}
