package worker

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/vllm"
)

const (
	// handshakePatience is for the answer and a large body, over a slow network too.
	// The bus has a patience of its own with each answer and each part of a body.
	handshakePatience = time.Minute
	lookPatience      = 2 * time.Second // as long as the backend's own look takes
	beatAfter         = pingEvery / 2   // of silence towards the proxy; its beats come with the pings
)

// Why an attempt was cut off.
var (
	errClientGone = errors.New("the client is gone")
	errStopping   = errors.New("the worker stops")
	errFirstByte  = errors.New("no first byte in time")
	errIdle       = errors.New("the stream went silent")
	errTotal      = errors.New("the request took too long")
)

// attempt is one try at one request. Everything but the atomics and the frame
// sequence belongs to its goroutine.
type attempt struct {
	w       *Worker
	grant   *scheduler.Grant
	backend *vllm.Backend
	report  *reporter
	proxy   scheduler.Proxy

	ctx    context.Context
	cancel context.CancelCauseFunc

	over      atomic.Bool
	sent      atomic.Bool
	begun     atomic.Bool // the answer's head is with the proxy
	firstByte atomic.Bool // of content came
	generated atomic.Int64
	told      int64 // what the last progress said; the reporter's
	lastFrame atomic.Int64

	out    frames
	sentAt time.Time
	first  *time.Timer // until the first byte of a stream; nil: no bound
}

func (w *Worker) newAttempt(g *scheduler.Grant, b *vllm.Backend, r *reporter) *attempt {
	ctx, cancel := context.WithCancelCause(w.ctx)
	a := &attempt{w: w, grant: g, backend: b, report: r, proxy: w.cfg.Bus.Proxy(g.Entry.Proxy), ctx: ctx, cancel: cancel}
	a.out = frames{a: a}
	return a
}

func (a *attempt) key() key { return key{a.grant.Entry.ID, a.grant.Fence} }

func (a *attempt) run() {
	defer a.w.running.Done()
	defer a.cancel(nil)
	ev := a.serve()
	ev.ID, ev.Fence, ev.Backend = a.grant.Entry.ID, a.grant.Fence, a.grant.Backend
	a.note(&ev)
	a.over.Store(true)
	a.report.add(ev)
}

// serve goes from the handshake to the end and returns the event that ends the
// attempt.
func (a *attempt) serve() scheduler.Event {
	h, ev := a.shake()
	if h == nil {
		return ev
	}
	pool := a.w.cfg.Pools[a.grant.Entry.Pool]
	if pool.Total > 0 {
		timer := time.AfterFunc(pool.Total, func() { a.cancel(errTotal) })
		defer timer.Stop()
	}
	if a.grant.Entry.Stream && pool.FirstByte > 0 {
		a.first = time.AfterFunc(pool.FirstByte, func() { a.cancel(errFirstByte) })
		defer a.first.Stop()
	}
	a.sentAt = time.Now()
	a.sent.Store(true)
	resp, err := a.call(h)
	if err != nil {
		return a.broken(err)
	}
	defer resp.Body.Close()
	return a.answer(resp, h, pool.Idle)
}

func (a *attempt) shake() (*scheduler.Handover, scheduler.Event) {
	ctx, cancel := context.WithTimeout(a.ctx, handshakePatience)
	defer cancel()
	h, err := a.proxy.Handshake(ctx, scheduler.Handshake{ID: a.grant.Entry.ID, Fence: a.grant.Fence, Worker: a.w.cfg.ID})
	switch {
	case a.ctx.Err() != nil:
		return nil, a.cutOff(context.Cause(a.ctx))
	case err != nil:
		return nil, scheduler.Event{Kind: scheduler.EventNoProxy}
	case h.Verdict == scheduler.Gone:
		return nil, scheduler.Event{Kind: scheduler.EventGone}
	case h.Verdict == scheduler.Stale:
		return nil, scheduler.Event{Kind: scheduler.EventStale}
	default:
		return h, scheduler.Event{}
	}
}

func (a *attempt) call(h *scheduler.Handover) (*http.Response, error) {
	return a.backend.Do(a.ctx, vllm.Request{
		Path:     a.grant.Entry.Path,
		Header:   h.Header,
		Body:     h.Body,
		ID:       a.grant.Entry.ID + "-" + a.grant.Fence.String(),
		Priority: a.grant.EnginePriority,
	})
}

// running is the attempt in a heartbeat.
func (a *attempt) running() scheduler.Running {
	return scheduler.Running{Grant: *a.grant, Sent: a.sent.Load(), Generated: int(a.generated.Load()), FirstByte: a.firstByte.Load()}
}

// progress is called by the reporter alone.
func (a *attempt) progress() (scheduler.Event, bool) {
	n := a.generated.Load()
	if n == a.told || a.over.Load() {
		return scheduler.Event{}, false
	}
	a.told = n
	return scheduler.Event{ID: a.grant.Entry.ID, Fence: a.grant.Fence, Kind: scheduler.EventProgress, Backend: a.grant.Backend, Sent: true, Generated: int(n)}, true
}

// keepAlive tells the proxy that a silent attempt is not dead.
func (a *attempt) keepAlive() {
	if !a.sent.Load() || time.Since(time.Unix(0, a.lastFrame.Load())) < beatAfter {
		return
	}
	a.out.beat()
}
