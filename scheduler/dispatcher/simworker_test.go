package dispatcher

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"fairlane/scheduler"
)

// simWorker runs attempts against gpus and reports as the real one does: events in
// order, again until they are heard, and a beat with what was not heard.
type simWorker struct {
	id   string
	bus  sight
	gpus map[string]*gpu
	beat time.Duration

	mu       sync.Mutex
	born     time.Time
	dead     bool
	refuses  bool
	last     uint64
	attempts map[attemptKey]*simAttempt
	events   []scheduler.Event
	beatDue  bool
	abort    context.CancelFunc
	wake     chan struct{}
	ctx      context.Context
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

type attemptKey struct {
	id string
	f  scheduler.Fence
}

type simAttempt struct {
	grant     scheduler.Grant
	ctx       context.Context
	cancel    context.CancelFunc
	sent      bool
	first     bool
	generated int
}

func newSimWorker(id string, bus sight, gpus map[string]*gpu) *simWorker {
	w := &simWorker{id: id, bus: bus, gpus: gpus, beat: 500 * time.Millisecond, wake: make(chan struct{}, 1)}
	w.start()
	return w
}

func (w *simWorker) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.born, w.dead, w.last, w.beatDue = time.Now(), false, 0, true
	w.attempts, w.events = map[attemptKey]*simAttempt{}, nil
	w.ctx, w.cancel = context.WithCancel(context.Background())
	ctx := w.ctx
	w.done.Go(func() { w.report(ctx) })
}

// kill ends it without a word.
func (w *simWorker) kill() {
	w.mu.Lock()
	w.dead = true
	w.mu.Unlock()
	w.cancel()
	w.done.Wait()
}

func (w *simWorker) Muster(context.Context, string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.beatDue = true
	if w.abort != nil { // it goes to a predecessor
		w.abort()
	}
	w.poke()
	return nil
}

func (w *simWorker) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *simWorker) Grant(g *scheduler.Grant, answer func(error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.dead:
		answer(scheduler.ErrNoResponder)
		return
	case w.refuses:
		answer(scheduler.ErrBusy)
		return
	}
	a := &simAttempt{grant: *g}
	a.ctx, a.cancel = context.WithCancel(w.ctx)
	w.attempts[attemptKey{g.Entry.ID, g.Fence}] = a
	w.last = max(w.last, g.Number)
	w.done.Go(func() { w.run(a) })
	answer(nil)
}

func (w *simWorker) Cancel(_ context.Context, id string, f scheduler.Fence) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return scheduler.ErrNoResponder
	}
	if a := w.attempts[attemptKey{id, f}]; a != nil {
		a.cancel()
	}
	return nil
}

func (w *simWorker) tell(a *simAttempt, ev scheduler.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return
	}
	ev.ID, ev.Fence, ev.Backend = a.grant.Entry.ID, a.grant.Fence, a.grant.Backend
	ev.Sent = ev.Sent || a.sent
	a.first = a.first || ev.Kind == scheduler.EventFirstByte
	a.generated = max(a.generated, ev.Generated)
	w.events = append(w.events, ev)
	w.poke()
}

func (w *simWorker) run(a *simAttempt) {
	defer a.cancel()
	ev := w.serve(a)
	if w.ctx.Err() == nil {
		w.tell(a, ev)
	}
}

func (w *simWorker) serve(a *simAttempt) scheduler.Event {
	e := &a.grant.Entry
	px := w.bus.Proxy(e.Proxy)
	over, err := px.Handshake(a.ctx, scheduler.Handshake{ID: e.ID, Fence: a.grant.Fence, Worker: w.id})
	switch {
	case a.ctx.Err() != nil:
		return scheduler.Event{Kind: scheduler.EventCancelled}
	case err != nil:
		return scheduler.Event{Kind: scheduler.EventNoProxy}
	case over.Verdict == scheduler.Gone:
		return scheduler.Event{Kind: scheduler.EventGone}
	case over.Verdict == scheduler.Stale:
		return scheduler.Event{Kind: scheduler.EventStale}
	}
	g := w.gpus[a.grant.Backend]
	died, err := g.start(e.ID, max(e.Sequences, 1))
	switch {
	case errors.Is(err, errRefused):
		w.Muster(a.ctx, pool)
		return scheduler.Event{Kind: scheduler.EventFault, Refused: true}
	case errors.Is(err, errFull):
		return scheduler.Event{Kind: scheduler.EventBusy}
	case err != nil:
		return scheduler.Event{Kind: scheduler.EventFault, Sent: true, Problem: scheduler.Problemf(scheduler.CodeBackendFailed, "500")}
	}
	defer g.stop(max(e.Sequences, 1))
	w.mu.Lock()
	a.sent = true
	w.mu.Unlock()
	return w.answer(a, g, died, string(over.Body))
}

// answer generates the tokens that the body asks for.
func (w *simWorker) answer(a *simAttempt, g *gpu, died <-chan struct{}, body string) scheduler.Event {
	e, px := &a.grant.Entry, w.bus.Proxy(a.grant.Entry.Proxy)
	out, _ := strconv.Atoi(body)
	frame := scheduler.Frame{ID: e.ID, Fence: a.grant.Fence, Worker: w.id}
	send := func(f scheduler.Frame) {
		f.ID, f.Fence, f.Worker, f.Seq = frame.ID, frame.Fence, frame.Worker, frame.Seq
		frame.Seq++
		_ = px.Frame(&f)
	}
	next := g.prefill(e.InputTokens)
	begun := time.Now()
	for done, first := 0, true; ; first = false {
		select {
		case <-time.After(next):
		case <-died:
			w.Muster(a.ctx, pool)
			if done > 0 {
				send(scheduler.Frame{Type: scheduler.FrameErr, Problem: scheduler.Problemf(scheduler.CodeBackendFailed, "it died"), End: &scheduler.End{Outcome: scheduler.Failed}})
				return scheduler.Event{Kind: scheduler.EventEnd, Outcome: scheduler.Failed, Died: true, Generated: done, Usage: scheduler.Usage{Input: e.InputTokens, Output: done}}
			}
			return scheduler.Event{Kind: scheduler.EventFault, Died: true}
		case <-a.ctx.Done():
			return scheduler.Event{Kind: scheduler.EventCancelled, Generated: done, Outcome: scheduler.Cancelled}
		}
		if first {
			send(scheduler.Frame{Type: scheduler.FrameHead, Head: &scheduler.Head{Status: 200, Backend: g.url, Attempt: a.grant.Try}})
			if e.Stream {
				w.tell(a, scheduler.Event{Kind: scheduler.EventFirstByte, TTFT: time.Since(begun), Generated: 1})
			}
		} else {
			send(scheduler.Frame{Type: scheduler.FrameData, Data: []byte("x")})
			if e.Stream {
				w.tell(a, scheduler.Event{Kind: scheduler.EventProgress, Generated: done * max(e.Sequences, 1)})
			}
		}
		if done >= out {
			u := scheduler.Usage{Input: e.InputTokens, Output: out * max(e.Sequences, 1), Known: true}
			send(scheduler.Frame{Type: scheduler.FrameEnd, End: &scheduler.End{Usage: u, Outcome: scheduler.Completed}})
			if g.usage != nil {
				u = g.usage(u)
			}
			return scheduler.Event{Kind: scheduler.EventEnd, Outcome: scheduler.Completed, Usage: u, Generated: u.Output}
		}
		step := min(25, out-done) // a quarter of a second, at the usual pace
		done += step
		next = time.Duration(step) * g.pace
	}
}

// report is the loop that tells the dispatcher.
func (w *simWorker) report(ctx context.Context) {
	ticker := time.NewTicker(w.beat)
	defer ticker.Stop()
	for {
		for w.say(ctx) {
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.mu.Lock()
			w.beatDue = true
			w.mu.Unlock()
		case <-w.wake:
		}
	}
}

func (w *simWorker) say(ctx context.Context) (again bool) {
	w.mu.Lock()
	r := &scheduler.Report{Worker: w.id, Pool: pool, Events: w.events}
	if w.beatDue {
		r.Beat = w.beatNow()
	}
	w.events, w.beatDue = nil, false
	w.mu.Unlock()
	if r.Beat == nil && len(r.Events) == 0 {
		return false
	}
	call, cancel := context.WithTimeout(ctx, 2*time.Second)
	w.mu.Lock()
	w.abort = cancel
	w.mu.Unlock()
	err := w.bus.Dispatcher(pool).Report(call, r)
	cancel()
	if w.told(r, err) {
		return true
	}
	select {
	case <-ctx.Done():
	case <-time.After(100 * time.Millisecond):
		w.poke()
	}
	return false
}

// told forgets what was heard, and keeps what was not.
func (w *simWorker) told(r *scheduler.Report, err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.events, w.beatDue = append(r.Events, w.events...), true
		return false
	}
	for _, ev := range r.Events {
		if ev.Kind.Ends() {
			delete(w.attempts, attemptKey{ev.ID, ev.Fence})
		}
	}
	return true
}

func (w *simWorker) beatNow() *scheduler.Beat {
	b := &scheduler.Beat{Started: w.born, LastGrant: w.last}
	for _, url := range slices.Sorted(maps.Keys(w.gpus)) {
		b.Backends = append(b.Backends, w.gpus[url].status())
	}
	for _, a := range w.attempts {
		b.Running = append(b.Running, scheduler.Running{Grant: a.grant, Sent: a.sent, FirstByte: a.first, Generated: a.generated})
	}
	return b
}
