package worker

import (
	"context"
	"errors"

	"fairlane/proxy/openai"
	"fairlane/scheduler"
	"fairlane/scheduler/vllm"
)

// fails is the end of an attempt that goes wrong, before or after its answer
// has begun.
func (a *attempt) fails(err error, u scheduler.Usage) scheduler.Event {
	if a.begun.Load() {
		return a.brokenOff(err, u)
	}
	return a.broken(err)
}

// broken is the end of an attempt of which nothing was handed on: another one
// may do better.
func (a *attempt) broken(err error) scheduler.Event {
	unreachable := errors.Is(err, vllm.ErrUnreachable)
	if unreachable {
		a.sent.Store(false)
	}
	switch cause := context.Cause(a.ctx); {
	case cause != nil:
		return a.cutOff(cause)
	case errors.Is(err, scheduler.ErrUnknownCall):
		return a.cancelled()
	case errors.Is(err, errFrameLost):
		return scheduler.Event{Kind: scheduler.EventNoProxy, Sent: true}
	case unreachable:
		return a.refused(a.failure("it is not reachable"))
	case errors.Is(err, vllm.ErrStale):
		a.look()
		return a.faulted(false, a.failure("it closes its connections"))
	default:
		return a.faulted(!a.look().Up, a.failure("the connection broke"))
	}
}

// cutOff is the end of an attempt that we ended ourselves before anything of it
// was handed on.
func (a *attempt) cutOff(cause error) scheduler.Event {
	switch {
	case errors.Is(cause, errClientGone):
		return a.cancelled()
	case errors.Is(cause, errFirstByte), errors.Is(cause, errIdle), errors.Is(cause, errTotal):
		p := scheduler.Problemf(scheduler.CodeBackendTimeout, "the model server did not begin to answer in time")
		return scheduler.Event{Kind: scheduler.EventFault, Sent: a.sent.Load(), Final: true, Problem: p}
	default: // the worker stops: somebody else may take it
		return scheduler.Event{Kind: scheduler.EventNoProxy, Sent: a.sent.Load()}
	}
}

func (a *attempt) cancelled() scheduler.Event {
	return scheduler.Event{Kind: scheduler.EventCancelled, Sent: a.sent.Load(), Generated: int(a.generated.Load()), Outcome: scheduler.Cancelled}
}

// refused is the end of an attempt that the backend did not take. It looks, so
// that the dispatcher hears at once that the backend is down.
func (a *attempt) refused(p *scheduler.Problem) scheduler.Event {
	a.look()
	return scheduler.Event{Kind: scheduler.EventFault, Refused: true, Problem: p}
}

func (a *attempt) faulted(died bool, p *scheduler.Problem) scheduler.Event {
	return scheduler.Event{Kind: scheduler.EventFault, Sent: true, Died: died, Problem: p}
}

// failure is the client's word for it. Where that was, is the operator's business.
func (a *attempt) failure(what string) *scheduler.Problem {
	return scheduler.Problemf(scheduler.CodeBackendFailed, "the model server failed: %s", what)
}

// look asks the backend how it is, now.
func (a *attempt) look() *scheduler.BackendStatus {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), lookPatience)
	defer cancel()
	return a.backend.Look(ctx)
}

// brokenOff is the end of an attempt that fails after its answer has begun. The
// client hears of it before the backend is asked how it is.
func (a *attempt) brokenOff(err error, u scheduler.Usage) scheduler.Event {
	cause := context.Cause(a.ctx)
	if errors.Is(cause, errClientGone) || errors.Is(err, scheduler.ErrUnknownCall) {
		return a.cancelled()
	}
	p, outcome := a.why(err, cause)
	a.out.last(&scheduler.Frame{Type: scheduler.FrameErr, Problem: p, End: a.ending(u, outcome)})
	died := outcome == scheduler.Failed && cause == nil && !a.look().Up
	long := errors.Is(cause, errTotal) // it answered to the last, but too much
	return scheduler.Event{Kind: scheduler.EventEnd, Sent: true, Usage: u, Generated: u.Output, Outcome: outcome, Died: died, Answered: long}
}

// why tells the client what broke an answer off. What is not the backend's
// fault is lost, not failed.
func (a *attempt) why(err, cause error) (*scheduler.Problem, scheduler.Outcome) {
	switch {
	case errors.Is(cause, errTotal):
		return scheduler.Problemf(scheduler.CodeBackendTimeout, "the answer took longer than the pool's total timeout"), scheduler.Failed
	case errors.Is(cause, errIdle), errors.Is(cause, errFirstByte):
		return scheduler.Problemf(scheduler.CodeBackendTimeout, "the model server sent nothing for too long"), scheduler.Failed
	case cause != nil: // the worker stops
		return scheduler.Problemf(scheduler.CodeShuttingDown, "fairlane is shutting down; please try again"), scheduler.Lost
	case errors.Is(err, errFrameLost):
		return scheduler.Problemf(scheduler.CodeAnswerLost, "a part of the answer was lost on the way; please try again"), scheduler.Lost
	default:
		return a.failure("the answer broke off"), scheduler.Failed
	}
}

// finish tells the proxy and, by what it returns, the dispatcher.
func (a *attempt) finish(u scheduler.Usage, outcome scheduler.Outcome) scheduler.Event {
	a.out.last(&scheduler.Frame{Type: scheduler.FrameEnd, End: a.ending(u, outcome)})
	return scheduler.Event{Kind: scheduler.EventEnd, Sent: true, Usage: u, Generated: u.Output, Outcome: outcome}
}

func (a *attempt) ending(u scheduler.Usage, outcome scheduler.Outcome) *scheduler.End {
	return &scheduler.End{Usage: u, Outcome: outcome, Cost: a.cost(u, outcome)}
}

// leastCost is what the fair queue charges at least.
const leastCost = 1

// cost is what the dispatcher will charge: for what the backend does not say,
// what the queue expected; nothing of note for what the backend refused.
func (a *attempt) cost(u scheduler.Usage, outcome scheduler.Outcome) float64 {
	if outcome == scheduler.Invalid {
		return leastCost
	}
	if !u.Known {
		u.Input, u.Cached = a.input(), a.grant.Cached
	}
	if !u.CachedKnown {
		u.Cached = min(a.grant.Cached, u.Input)
	}
	return max(leastCost, a.w.cfg.Pools[a.grant.Entry.Pool].Cost.Of(u))
}

// usage is what the backend reported, else what was expected and counted. No
// prompt is nothing, and what was seen was generated: a backend that says
// otherwise would make its answers free.
func (a *attempt) usage(u openai.Usage, known bool, generated int) scheduler.Usage {
	if !known || u.Input == 0 {
		u.Input = a.input()
	}
	return scheduler.Usage{
		Input: u.Input, Cached: u.Cached, Output: max(u.Output, generated), Known: known, CachedKnown: known && u.CachedKnown,
	}
}

// input is the prompt as the queue counted it, in tokens.
func (a *attempt) input() int {
	if a.grant.Input > 0 {
		return a.grant.Input
	}
	return a.grant.Entry.InputTokens
}
