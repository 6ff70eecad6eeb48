package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"fairlane/proxy/openai"
	"fairlane/scheduler"
	"fairlane/scheduler/vllm"
)

const (
	maxFrame  = 256 << 10 // bytes of one data frame
	readSize  = 4 << 10   // bytes of one read of a stream: as much as the transport buffers
	maxWhole  = 8 << 20   // bytes of an answer that is read whole before it is handed on
	maxErrors = 64 << 10  // bytes of an error of the backend that are looked at
)

// answer deals with whatever the backend said.
func (a *attempt) answer(resp *http.Response, h *scheduler.Handover, t Timeouts) scheduler.Event {
	switch {
	case resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented:
		return a.serverError(resp)
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		p := scheduler.Problemf(scheduler.CodeBackendFailed, "the backend %s refused fairlane's credential (%d); the administrator has to set pools[].backends[].api_key", a.backend.Host(), resp.StatusCode)
		return scheduler.Event{Kind: scheduler.EventFault, Problem: p}
	}
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err == nil && media == "text/event-stream" && resp.StatusCode == http.StatusOK {
		return a.stream(resp, h, t)
	}
	return a.whole(resp)
}

// serverError tells vLLM's "my own queue is full" from a failure, and a failed
// request from a dead engine.
func (a *attempt) serverError(resp *http.Response) scheduler.Event {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrors))
	if err != nil {
		return a.broken(err)
	}
	if dead := bytes.Contains(body, []byte("EngineCore")) || bytes.Contains(body, []byte("EngineDeadError")); dead {
		return a.faulted(true, a.failure("its engine died"))
	}
	if resp.StatusCode == http.StatusServiceUnavailable && a.look().Up {
		return scheduler.Event{Kind: scheduler.EventBusy}
	}
	return a.faulted(resp.StatusCode == http.StatusServiceUnavailable, a.failure(fmt.Sprintf("it answered %d", resp.StatusCode)))
}

func (a *attempt) failure(what string) *scheduler.Problem {
	return scheduler.Problemf(scheduler.CodeBackendFailed, "the model server %s failed: %s", a.backend.Host(), what)
}

func (a *attempt) faulted(died bool, p *scheduler.Problem) scheduler.Event {
	return scheduler.Event{Kind: scheduler.EventFault, Sent: true, Died: died, Problem: p}
}

// look asks the backend how it is, now.
func (a *attempt) look() *scheduler.BackendStatus {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), handshakePatience)
	defer cancel()
	return a.backend.Look(ctx)
}

// broken is the end of an attempt whose connection failed before any byte of
// the answer was handed on.
func (a *attempt) broken(err error) scheduler.Event {
	switch cause := context.Cause(a.ctx); {
	case errors.Is(cause, errFirstByte), errors.Is(cause, errTotal):
		p := scheduler.Problemf(scheduler.CodeBackendTimeout, "the model server %s did not begin to answer in time", a.backend.Host())
		return scheduler.Event{Kind: scheduler.EventFault, Sent: true, Final: true, Problem: p}
	case cause != nil:
		return a.cutOff()
	case errors.Is(err, vllm.ErrUnreachable):
		a.look()
		return scheduler.Event{Kind: scheduler.EventFault, Refused: true, Problem: a.failure("it is not reachable")}
	default:
		return a.faulted(!a.look().Up, a.failure("the connection broke"))
	}
}

// cutOff is the end of an attempt that we ended ourselves.
func (a *attempt) cutOff() scheduler.Event {
	if errors.Is(context.Cause(a.ctx), errStopping) && !a.firstByte.Load() {
		return scheduler.Event{Kind: scheduler.EventNoProxy, Sent: a.sent.Load()} // somebody else may take it
	}
	return scheduler.Event{Kind: scheduler.EventCancelled, Sent: a.sent.Load(), Generated: int(a.generated.Load()), Outcome: scheduler.Cancelled}
}

// whole reads the answer to its end before it hands it on. What is larger than
// fits is handed on as it comes.
func (a *attempt) whole(resp *http.Response) scheduler.Event {
	var buf bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= maxWhole {
		buf.Grow(int(n) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(io.LimitReader(resp.Body, maxWhole))
	if err != nil {
		return a.broken(err)
	}
	body := buf.Bytes()
	usage, known := openai.UsageOf(openai.Endpoint(a.grant.Entry.Endpoint), body)
	if p := a.garbage(resp, body); p != nil {
		return a.faulted(false, p)
	}
	a.firstByte.Store(true)
	if err := a.out.head(a.head(resp)); err != nil {
		return a.cutOff()
	}
	if err := a.out.data(body); err != nil {
		return a.cutOff()
	}
	if len(body) == maxWhole {
		if err := a.rest(resp.Body); err != nil {
			return a.brokenOff(err, scheduler.Usage{})
		}
	}
	outcome := scheduler.Completed
	if resp.StatusCode >= http.StatusBadRequest {
		outcome = scheduler.Invalid
	}
	return a.finish(fromOpenAI(usage, known), outcome)
}

// garbage is a 200 of a JSON endpoint that is not JSON.
func (a *attempt) garbage(resp *http.Response, body []byte) *scheduler.Problem {
	if resp.StatusCode != http.StatusOK || strings.HasPrefix(a.grant.Entry.Path, "/v1/audio/") || len(body) == maxWhole {
		return nil
	}
	if trimmed := bytes.TrimSpace(body); len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') {
		return nil
	}
	return a.failure("its answer is no JSON")
}

func (a *attempt) rest(body io.Reader) error {
	for {
		chunk := make([]byte, maxFrame)
		n, err := io.ReadFull(body, chunk)
		if sendErr := a.out.data(chunk[:n]); sendErr != nil {
			return sendErr
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (a *attempt) head(resp *http.Response) *scheduler.Head {
	return &scheduler.Head{Status: resp.StatusCode, Header: resp.Header, Backend: a.backend.Host(), Attempt: int(a.grant.Fence.Attempt)}
}

// finish tells the proxy and, by what it returns, the dispatcher.
func (a *attempt) finish(u scheduler.Usage, outcome scheduler.Outcome) scheduler.Event {
	if err := a.out.end(&scheduler.End{Usage: u, Outcome: outcome}); err != nil {
		a.w.cfg.Logger.Debug("nobody waited for the end of an answer")
	}
	return scheduler.Event{Kind: scheduler.EventEnd, Sent: true, Usage: u, Generated: u.Output, Outcome: outcome}
}

// brokenOff is the end of an attempt that fails after its first byte.
func (a *attempt) brokenOff(err error, u scheduler.Usage) scheduler.Event {
	cause := context.Cause(a.ctx)
	p := a.failure("the answer broke off")
	switch {
	case errors.Is(cause, errTotal):
		p = scheduler.Problemf(scheduler.CodeBackendTimeout, "the answer took longer than the pool's total timeout")
	case errors.Is(cause, errIdle):
		p = scheduler.Problemf(scheduler.CodeBackendTimeout, "the model server %s sent nothing for too long", a.backend.Host())
	case errors.Is(cause, errStopping):
		p = scheduler.Problemf(scheduler.CodeShuttingDown, "fairlane is shutting down; please try again")
	case cause != nil, errors.Is(err, scheduler.ErrUnknownCall):
		return a.cutOff()
	}
	a.look() // so that the dispatcher hears at once if the backend is down
	if err := a.out.err(p, &scheduler.End{Usage: u, Outcome: scheduler.Failed}); err != nil {
		a.w.cfg.Logger.Debug("nobody waited for the end of an answer")
	}
	return scheduler.Event{Kind: scheduler.EventEnd, Sent: true, Usage: u, Generated: u.Output, Outcome: scheduler.Failed, Died: !a.backend.Status().Up}
}

func fromOpenAI(u openai.Usage, known bool) scheduler.Usage {
	return scheduler.Usage{Input: u.Input, Cached: u.Cached, Output: u.Output, Known: known, CachedKnown: u.CachedKnown}
}

// firstContent notes when the answer's first content came and tells it.
func (a *attempt) firstContent() {
	a.firstByte.Store(true)
	a.report.add(scheduler.Event{ID: a.grant.Entry.ID, Fence: a.grant.Fence, Kind: scheduler.EventFirstByte, Backend: a.grant.Backend, Sent: true, TTFT: time.Since(a.sentAt)})
}
