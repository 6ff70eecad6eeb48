package simulate

import (
	"context"
	"time"

	"fairlane/proxy/limit"
	"fairlane/proxy/openai"
	"fairlane/proxy/policy"
	"fairlane/scheduler"
)

// edge is what the proxy knows: the levels of the buckets, on virtual time, and how
// long the answers of each are.
type edge struct {
	store   *limit.Memory
	outputs *policy.Outputs
	longest int // tokens of a request
}

func newEdge(now func() time.Time, longest int) edge {
	return edge{store: limit.NewMemory(limit.MemoryConfig{Now: now}), outputs: policy.NewOutputs(), longest: longest}
}

// admit takes what a request needs from its caller's buckets. A reason: it is refused,
// and may come back after a time.
func (e *edge) admit(s *Setup, who *person, w *want, load int) (taken []limit.Charge, why scheduler.Reason, after time.Duration) {
	if s.Rules == nil {
		return nil, "", 0
	}
	expect, endpoint := e.outputs.Of(who.id.UserKey), openai.Endpoint(w.endpoint)
	d, problem := s.Rules.Decide(who.id, &policy.Query{
		Endpoint: endpoint, Pool: s.Pool, Model: who.model, InputChars: w.chars, MaxTokens: w.maxTokens, ExpectedTokens: int(expect.Mean), Sequences: w.sequences,
		Load: load,
	})
	switch {
	case problem != nil:
		return nil, tooLarge, 0
	case len(d.Buckets) == 0:
		return nil, "", 0
	}
	dr := policy.Draw(d.Buckets, policy.Need{
		InputTokens: w.estimate, OutputTokens: expect.Reserve(endpoint, w.maxTokens, w.sequences), Longest: e.longest, Sequences: w.sequences,
	})
	r, err := e.store.Acquire(context.Background(), dr.Charges)
	switch {
	case err != nil: // memory never fails
		return nil, scheduler.ReasonStore, 0
	case r.Never:
		return nil, tooLarge, 0
	case !r.Granted:
		return nil, dr.From[r.Refused].Kind.Reason(), r.RetryAfter
	}
	return dr.Reserved(), "", 0
}

// settle corrects what was taken by what was used.
func (e *edge) settle(taken []limit.Charge, u *scheduler.Usage) {
	if len(taken) > 0 {
		_ = e.store.Settle(context.Background(), policy.Corrections(taken, u)) // memory never fails
	}
}
