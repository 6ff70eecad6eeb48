package vllmsim

import (
	"errors"
	"fmt"
	"log/slog"

	"fairlane/scheduler/gpumodel"
)

// Config is an emulated vLLM. The zero value is one H100 that serves "emulated".
type Config struct {
	Profile string   // name of a gpumodel profile; default "h100"
	Models  []string // names it serves, the first is the one it has; default "emulated"
	Seed    uint64   // of everything that is drawn
	Speed   float64  // how much faster than the real GPU; default 1

	MaxNumSeqs  int // sequences that run at once; default the profile's
	MaxModelLen int // tokens of a context; default the profile's, at most what KV holds
	KVBlocks    int // blocks of the KV cache; default the profile's

	Scheduling      string // "fcfs" (default) or "priority"
	MaxQueuedReqs   int    // --max-num-queued-reqs, which counts those that run, too; 0: no bound
	MaxQueuedTokens int    // --max-num-queued-tokens; 0: no bound

	APIKey              string // --api-key; "": none
	PromptTokensDetails bool   // --enable-prompt-tokens-details
	CrashOnOOM          bool   // a context that KV cannot hold even alone kills the engine
	Tools               bool   // --enable-auto-tool-choice
	StoreResponses      bool   // VLLM_ENABLE_RESPONSES_API_STORE
	Pooling             bool   // --runner pooling --convert embed: embeddings and the like, and no generation
	Everything          bool   // pooling and audio beside generation, which no vLLM does: for a look around

	Logger *slog.Logger // default: none
}

// ErrConfig is what a configuration that makes no sense is refused with.
var ErrConfig = errors.New("vllmsim: invalid configuration")

func (c Config) withDefaults() Config {
	if c.Profile == "" {
		c.Profile = "h100"
	}
	if len(c.Models) == 0 {
		c.Models = []string{"emulated"}
	}
	if c.Speed == 0 {
		c.Speed = 1
	}
	if c.Scheduling == "" {
		c.Scheduling = "fcfs"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Speed < 0:
		return fmt.Errorf("%w: speed %g is negative", ErrConfig, c.Speed)
	case c.Scheduling != "fcfs" && c.Scheduling != "priority":
		return fmt.Errorf("%w: scheduling %q is neither fcfs nor priority", ErrConfig, c.Scheduling)
	case c.MaxNumSeqs < 0 || c.MaxModelLen < 0 || c.KVBlocks < 0 || c.MaxQueuedReqs < 0 || c.MaxQueuedTokens < 0:
		return fmt.Errorf("%w: a bound is negative", ErrConfig)
	}
	return nil
}

// engine is the configuration of the model below the API.
func (c Config) engine() (gpumodel.Config, error) {
	p, err := gpumodel.ProfileByName(c.Profile)
	if err != nil {
		return gpumodel.Config{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if c.KVBlocks > 0 {
		p.KVTokens = c.KVBlocks * p.BlockSize
	}
	if c.MaxNumSeqs > 0 {
		p.MaxNumSeqs = c.MaxNumSeqs
		p.PrefillBudget = max(p.PrefillBudget, c.MaxNumSeqs)
	}
	if c.MaxModelLen > 0 {
		p.MaxModelLen = c.MaxModelLen
	}
	out := gpumodel.Config{Profile: p, MaxQueuedReqs: c.MaxQueuedReqs, MaxQueuedTokens: c.MaxQueuedTokens}
	if c.Scheduling == "priority" {
		out.Scheduling = gpumodel.Priority
	}
	whole := p.KVTokens / p.BlockSize * p.BlockSize
	if c.CrashOnOOM {
		out.OOMTokens = whole
	} else {
		out.Profile.MaxModelLen = min(p.MaxModelLen, whole)
	}
	return out, nil
}
