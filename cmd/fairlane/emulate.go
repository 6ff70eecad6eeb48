package main

import (
	"fmt"
	"log/slog"

	"fairlane/cmd/internal/cli"
	"fairlane/loadtest/vllmsim"
)

type emulateCmd struct {
	Listen      string  `default:"127.0.0.1:8000" help:"Where to listen."`
	Profile     string  `default:"h100" help:"Which GPU: h100, a100, rtx3060, tiny-cpu."`
	Model       string  `default:"emulated" help:"Name of the model it serves."`
	Seed        uint64  `default:"1" help:"What its words are made from."`
	Speed       float64 `default:"1" help:"How much faster than real time goes."`
	MaxNumSeqs  int     `help:"Sequences that run at once; 0: the profile's."`
	APIKey      string  `help:"Key that it asks for; empty: none."`
	CrashOnOOM  bool    `name:"crash-on-oom" help:"Die when the KV cache is too small, as small GPUs do."`
	NoDetails   bool    `help:"Leave prompt_tokens_details out of usage, as vLLM does without --enable-prompt-tokens-details."`
	MaxModelLen int     `help:"Longest context; 0: the profile's."`
	Scheduling  string  `default:"priority" enum:"fcfs,priority" help:"Order of its own queue: fcfs, priority."`
	MaxQueued   int     `name:"max-queued-reqs" help:"Requests that may wait in its own queue; 0: any number."`
	KVBlocks    int     `name:"kv-blocks" help:"Blocks of the KV cache; 0: the profile's."`
	Pooling     bool    `help:"Only embeddings, scores and the like, as with --runner pooling; without it, both they and generation."`
}

// Run serves until it is told to stop.
func (c *emulateCmd) Run(w *cli.World) error {
	sim, err := vllmsim.New(vllmsim.Config{
		Profile: c.Profile, Models: []string{c.Model}, Seed: c.Seed, Speed: c.Speed, MaxNumSeqs: c.MaxNumSeqs,
		MaxModelLen: c.MaxModelLen, APIKey: c.APIKey, CrashOnOOM: c.CrashOnOOM, PromptTokensDetails: !c.NoDetails,
		Scheduling: c.Scheduling, MaxQueuedReqs: c.MaxQueued, KVBlocks: c.KVBlocks,
		Tools: true, Pooling: c.Pooling, Everything: !c.Pooling, Logger: slog.New(slog.NewTextHandler(w.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	if err := sim.Start(c.Listen); err != nil {
		return err
	}
	defer sim.Stop()
	fmt.Fprintf(w.Stdout, "emulated vLLM (%s) serving %q at http://%s/v1\n", c.Profile, c.Model, c.Listen)
	<-w.Ctx.Done()
	return nil
}
