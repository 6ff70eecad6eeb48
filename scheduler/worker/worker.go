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

// Pool is what a worker needs to know of one. A timeout of 0 is none.
type Pool struct {
	FirstByte time.Duration // streams only: vLLM sends nothing of another answer until its end
	Idle      time.Duration // between two pieces of a stream
	Total     time.Duration // of the whole attempt

	Cost scheduler.CostWeights // zero: the default
}

// Config is a worker's.
type Config struct {
	ID       string
	Pools    map[string]Pool // those it serves
	Fleet    *vllm.Fleet
	Bus      Bus
	Beat     time.Duration // 0: 500 ms
	Progress time.Duration // between two reports of what streams generate; 0: 250 ms
	Logger   *slog.Logger
}

// Worker runs attempts. It is the worker as the other roles see it.
type Worker struct {
	cfg     Config
	buffers *buffers

	mu        sync.Mutex
	started   time.Time
	reporters map[string]*reporter // by pool
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
	pools := make(map[string]Pool, len(cfg.Pools))
	for name, p := range cfg.Pools {
		if p.Cost == (scheduler.CostWeights{}) {
			p.Cost = scheduler.DefaultCost()
		}
		pools[name] = p
	}
	cfg.Pools = pools
	return &Worker{cfg: cfg, buffers: newBuffers(), attempts: map[key]*attempt{}, lastGrant: map[string]uint64{}, reporters: map[string]*reporter{}}
}

// ID is the worker's, under which it is served on the bus.
func (w *Worker) ID() string { return w.cfg.ID }

// Start begins to beat and to take grants. A second Start is nothing.
func (w *Worker) Start(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil {
		return
	}
	w.started = time.Now()
	w.draining = false
	ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	w.ctx = ctx
	for pool := range w.cfg.Pools {
		r := newReporter(w, pool)
		w.reporters[pool] = r
		w.loops.Go(func() { r.loop(ctx) })
	}
	w.loops.Go(func() { w.pingProxies(ctx) })
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
	var goodbyes sync.WaitGroup
	for _, r := range w.all() {
		goodbyes.Go(r.leave)
	}
	goodbyes.Wait()
	cancel()
	w.loops.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.attempts) // of what was not heard: who starts again is a new worker
}

// all are the reporters.
func (w *Worker) all() []*reporter {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Values(w.reporters))
}

// Grant implements scheduler.Worker. A grant that is refused does not count as
// the last one taken: a beat would say of it that it is over.
func (w *Worker) Grant(g *scheduler.Grant, answer func(error)) {
	if a := w.take(g); a == nil {
		answer(scheduler.ErrBusy)
	} else {
		answer(nil)
		go a.run()
	}
}

func (w *Worker) take(g *scheduler.Grant) *attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	pool := g.Entry.Pool
	r := w.reporters[pool]
	backend := w.cfg.Fleet.Backend(pool, g.Backend)
	if w.draining || w.cancel == nil || r == nil || backend == nil {
		return nil
	}
	a := w.newAttempt(g, backend, r)
	if w.attempts[a.key()] != nil {
		return nil
	}
	w.lastGrant[pool] = max(w.lastGrant[pool], g.Number)
	w.attempts[a.key()] = a
	w.running.Add(1)
	return a
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
	w.mu.Lock()
	r := w.reporters[pool]
	w.mu.Unlock()
	if r != nil {
		r.muster()
	}
	return nil
}

// Changed tells the dispatchers at once what would wait for the next beat: a
// backend went up or down.
func (w *Worker) Changed() {
	for _, r := range w.all() {
		r.beatNow()
	}
}

// Running is the number of attempts that are not over, or whose end no leader
// has heard yet.
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
