package gpumodel

import (
	"errors"
	"fmt"
	"time"
)

// Profile is a GPU with a model on it: the figures of the step's formula and what
// fits.
type Profile struct {
	Name            string
	Base            time.Duration // β0: a step, whatever it holds
	PerPrefillToken time.Duration // β1: a prompt token that is not cached
	PerPrefillPair  time.Duration // δ: such a token with one of the tokens up to it
	PerSequence     time.Duration // β2: a decoding sequence
	PerContextToken time.Duration // γ: a token of a decoding sequence's context
	APIOverhead     time.Duration // of a request, before it reaches the engine

	KVTokens      int // size of the KV cache in tokens
	BlockSize     int // tokens of a KV block
	MaxNumSeqs    int // sequences that run at once
	PrefillBudget int // tokens of a step, decoding ones included
	MaxModelLen   int // longest context in tokens, prompt and answer
}

// ErrProfile is what a profile that makes no sense is refused with.
var ErrProfile = errors.New("gpumodel: invalid profile")

// Validate reports the first figure that makes no sense.
func (p Profile) Validate() error {
	switch {
	case p.Base <= 0 || p.PerPrefillToken < 0 || p.PerPrefillPair < 0 || p.PerSequence < 0 || p.PerContextToken < 0 || p.APIOverhead < 0:
		return fmt.Errorf("%w: a step must take time and no part of it may be negative", ErrProfile)
	case p.BlockSize < 1:
		return fmt.Errorf("%w: block size %d is below 1", ErrProfile, p.BlockSize)
	case p.KVTokens < p.BlockSize:
		return fmt.Errorf("%w: %d KV tokens are less than one block of %d", ErrProfile, p.KVTokens, p.BlockSize)
	case p.MaxNumSeqs < 1 || p.PrefillBudget < p.MaxNumSeqs:
		return fmt.Errorf("%w: %d sequences with a budget of %d tokens a step", ErrProfile, p.MaxNumSeqs, p.PrefillBudget)
	case p.MaxModelLen < 2:
		return fmt.Errorf("%w: a context of %d tokens holds no prompt and answer", ErrProfile, p.MaxModelLen)
	}
	return nil
}

// H100 is one H100-80 with Qwen2.5-7B in BF16. β and the API's overhead are
// measured. γ is the A100's 77 ns by the ratio of memory bandwidths (2.04 to
// 3.35 TB/s). KV as the A100-80's: the memory left is the same.
func H100() Profile {
	return Profile{
		Name: "h100", Base: 7050 * time.Microsecond, PerPrefillToken: 19500 * time.Nanosecond,
		PerSequence: 25400 * time.Nanosecond, PerContextToken: 47 * time.Nanosecond, APIOverhead: 4700 * time.Microsecond,
		KVTokens: 950_000, BlockSize: 16, MaxNumSeqs: 1024, PrefillBudget: 8192, MaxModelLen: 32768,
	}
}

// A100 is one A100-80 with Qwen2.5-7B in BF16: all figures measured.
func A100() Profile {
	return Profile{
		Name: "a100", Base: 10040 * time.Microsecond, PerPrefillToken: 81100 * time.Nanosecond,
		PerSequence: 60 * time.Microsecond, PerContextToken: 77 * time.Nanosecond, APIOverhead: 9 * time.Millisecond,
		KVTokens: 950_000, BlockSize: 16, MaxNumSeqs: 256, PrefillBudget: 2048, MaxModelLen: 32768,
	}
}

// RTX3060 is one RTX 3060 of 12 GB with a 7B model in 4 bits. Nothing of it is
// measured; it is derived so:
//
//   - β0: 5.6 GB of weights (4 bits and their scales) at 360 GB/s are 15.5 ms; a
//     measured β0 is 2.5 ms above what the weights take, on the A100 as on the H100.
//   - β1: 15.2 GFLOP a token at 51 TFLOPS (FP16 with FP32 accumulation) are 298 µs;
//     the A100 reaches 60 % of its peak: 500 µs, dequantization included.
//   - β2: the A100's 60 µs, in a host half as fast.
//   - γ: the A100's 77 ns by the ratio of bandwidths (2.04 TB/s to 360 GB/s).
//   - KV: 0.9 · 12 GB less the weights and 1.2 GB of activations leave 3.9 GB, at
//     57,344 bytes a token. A context of 128K overflows it even alone, as it
//     does in reality.
func RTX3060() Profile {
	return Profile{
		Name: "rtx3060-4bit", Base: 18 * time.Millisecond, PerPrefillToken: 500 * time.Microsecond,
		PerSequence: 120 * time.Microsecond, PerContextToken: 436 * time.Nanosecond, APIOverhead: 9 * time.Millisecond,
		KVTokens: 68_000, BlockSize: 16, MaxNumSeqs: 256, PrefillBudget: 2048, MaxModelLen: 131_072,
	}
}

// TinyCPU is vLLM 0.32 on one CPU core with two small layers of random weights. The
// figures are fitted to streams of prompts of 20 to 4,000 tokens, 1 to 8 at once, on a
// machine of two cores, which it shares with its API server and its client: 3,100
// tokens a second at 8 sequences. Such a machine is faster or slower by a third from
// hour to hour; what the figures tell is what costs how much beside what.
func TinyCPU() Profile {
	return Profile{
		Name: "tiny-cpu", Base: 1900 * time.Microsecond, PerPrefillToken: 8 * time.Microsecond, PerPrefillPair: 13 * time.Nanosecond,
		PerSequence: 65 * time.Microsecond, PerContextToken: 100 * time.Nanosecond, APIOverhead: 5000 * time.Microsecond,
		KVTokens: 2_097_152, BlockSize: 128, MaxNumSeqs: 8, PrefillBudget: 2048, MaxModelLen: 32768,
	}
}

// Profiles are all that have a name.
func Profiles() []Profile { return []Profile{H100(), A100(), RTX3060(), TinyCPU()} }

// ProfileByName finds one of Profiles.
func ProfileByName(name string) (Profile, error) {
	for _, p := range Profiles() {
		if p.Name == name {
			return p, nil
		}
	}
	return Profile{}, fmt.Errorf("%w: no profile is called %q", ErrProfile, name)
}
