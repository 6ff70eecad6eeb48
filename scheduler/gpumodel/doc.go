// Package gpumodel says how long a step of an LLM engine takes and what its KV
// cache holds: vLLM's continuous batching, on virtual time. It has no clock, no
// goroutine and no randomness: the same calls give the same answers.
//
// # A step
//
// An engine works in steps. In each, every decoding sequence makes one token and
// what is left of the token budget goes to prompts, the sequences that run first,
// then new ones, in chunks (chunked prefill, Agrawal et al., "Taming
// Throughput-Latency Tradeoff in LLM Inference with Sarathi-Serve", OSDI'24):
//
//	step = β0 + β1·P + δ·A + β2·D + γ·C
//
// P is the number of prompt tokens computed in the step (cached ones cost
// nothing), A the pairs of such a token with itself or one before it, which is what
// attention computes: a prompt of n tokens has n·(n+1)/2 of them, in whatever
// chunks. D is the number of decoding sequences, C the sum of their contexts in
// tokens. β0 is the time to read the weights once, β1 the arithmetic of a token,
// δ that of a pair, β2 the work of a sequence beside that, γ the time to read a
// token of KV. So with D sequences of n tokens each, and nothing else, the engine
// makes D/(β0 + β2·D + γ·D·n) tokens a second. See [Profile] for the figures; δ is
// 0 where nobody measured it, which is too cheap for prompts of 10,000 tokens and
// more.
//
// # KV
//
// The cache is blocks of b tokens (Kwon et al., "Efficient Memory Management for
// Large Language Model Serving with PagedAttention", SOSP'23). A sequence takes
// its blocks as it grows. When there are none, the sequence that is last in order
// loses all of its own and goes back to the queue; it is computed again later, its
// prompt and what it had generated (preemption by recompute).
//
// Prompts share blocks. A prompt's head is described by marks, points (length,
// hash of everything up to there); between two marks lies a segment. A segment
// stays in the cache when nobody uses it, until its blocks are needed, the least
// recently used first. With a mark at each block this is vLLM's own prefix cache;
// with one mark, it is a shared system prompt, at almost no cost for a simulator.
// Generated tokens are not put into the cache.
//
// # What is left out
//
// Speculative decoding, LoRA, several engines behind one server, KV transfer, the
// duplicate blocks of two equal prompts that are prefilled at the same time.
package gpumodel
