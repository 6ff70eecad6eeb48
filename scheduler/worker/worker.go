package worker

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/vllm"
)

// Bus reaches the other roles.
type Bus interface {
	Proxy(id string) scheduler.Proxy
	Dispatcher(pool string) scheduler.Dispatcher
}

// Timeouts bound an attempt.
type Timeouts struct {
	FirstByte time.Duration // streams only: vLLM sends nothing of another answer until its end
	Idle      time.Duration // between two pieces of a stream
	Total     time.Duration // of the whole attempt
}

// Config is a worker's.
type Config struct {
	ID       string
	Pools    map[string]Timeouts // the pools it serves
	Fleet    *vllm.Fleet
	Bus      Bus
	Beat     time.Duration // 0: 500 ms
	Progress time.Duration // between two reports of what streams generate; 0: 250 ms
	Logger   *slog.Logger
}

// Worker runs attempts. It is the worker as the other roles see it.
type Worker struct {
	cfg       Config
	buffers   *buffers
	started   time.Time
	reporters map[string]*reporter

	mu        sync.Mutex
	attempts  map[key]*attempt
	lastGrant map[string]uint64 // by pool
	draining  bool
	running   sync.WaitGroup
	ctx       context.Context
	cancel    context.CancelFunc
	loops     sync.WaitGroup
}

// key tells attempts apart: one request may have an old and a new one here.
type key struct {
	id    string
	fence scheduler.Fence
}

var _ scheduler.Worker = (*Worker)(nil)

// New makes a worker; Start lets it work.
func New(cfg Config) *Worker {
	if cfg.Beat <= 0 {
		cfg.Beat = 500 * time.Millisecond
	}
	if cfg.Progress <= 0 {
		cfg.Progress = 250 * time.Millisecond
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Worker{cfg: cfg, buffers: newBuffers(), attempts: map[key]*attempt{}, lastGrant: map[string]uint64{}, reporters: map[string]*reporter{}}
}

// Start begins to beat and to take grants. A second Start is nothing.
func (w *Worker) Start(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil {
		return
	}
	w.started = time.Now()
	w.draining = false
	w.ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for pool := range w.cfg.Pools {
		r := newReporter(w, pool)
		w.reporters[pool] = r
		w.loops.Go(func() { r.loop(w.ctx) })
	}
	w.loops.Go(func() { w.pingProxies(w.ctx) })
}

// Drain takes no more grants and waits until what runs is over, or ctx ends.
func (w *Worker) Drain(ctx context.Context) {
	w.mu.Lock()
	w.draining = true
	w.mu.Unlock()
	w.Changed()
	idle := make(chan struct{})
	go func() { w.running.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// Stop ends at once: what runs is cut off, and its end still told. A second
// Stop is nothing.
func (w *Worker) Stop() {
	w.mu.Lock()
	cancel := w.cancel
	w.cancel, w.draining = nil, true
	attempts := slices.Collect(maps.Values(w.attempts))
	w.mu.Unlock()
	if cancel == nil {
		return
	}
	for _, a := range attempts {
		a.cancel(errStopping)
	}
	w.running.Wait()
	for _, r := range w.reporters {
		r.leave()
	}
	cancel()
	w.loops.Wait()
}

// Grant implements scheduler.Worker.
func (w *Worker) Grant(g *scheduler.Grant, answer func(error)) {
	w.mu.Lock()
	r := w.reporters[g.Entry.Pool]
	backend := w.cfg.Fleet.Backend(g.Entry.Pool, g.Backend)
	w.lastGrant[g.Entry.Pool] = max(w.lastGrant[g.Entry.Pool], g.Number)
	if w.draining || w.cancel == nil || r == nil || backend == nil {
		w.mu.Unlock()
		answer(scheduler.ErrBusy)
		return
	}
	a := w.newAttempt(g, backend, r)
	w.attempts[a.key()] = a
	w.running.Add(1)
	w.mu.Unlock()
	answer(nil)
	go a.run()
}

// Cancel implements scheduler.Worker.
func (w *Worker) Cancel(_ context.Context, id string, f scheduler.Fence) error {
	w.mu.Lock()
	a := w.attempts[key{id, f}]
	w.mu.Unlock()
	if a != nil {
		a.cancel(errClientGone)
	}
	return nil
}

// Muster implements scheduler.Worker.
func (w *Worker) Muster(_ context.Context, pool string) error {
	if r := w.reporters[pool]; r != nil {
		r.beatNow()
	}
	return nil
}

// Changed tells the dispatchers at once what would wait for the next beat: a
// backend went up or down.
func (w *Worker) Changed() {
	for _, r := range w.reporters {
		r.beatNow()
	}
}

// Running is the number of attempts that are not over.
func (w *Worker) Running() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.attempts)
}

// forget drops an attempt whose end was acknowledged.
func (w *Worker) forget(k key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.attempts, k)
}

// beat is all that a dispatcher needs to know of this worker.
func (w *Worker) beat(pool string) *scheduler.Beat {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := &scheduler.Beat{Started: w.started, LastGrant: w.lastGrant[pool], Draining: w.draining, Backends: w.cfg.Fleet.Statuses(pool)}
	for _, a := range w.attempts {
		if a.grant.Entry.Pool == pool {
			b.Running = append(b.Running, a.running())
		}
	}
	return b
}
