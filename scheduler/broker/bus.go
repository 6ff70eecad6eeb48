package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"fairlane/scheduler"
)

const (
	askPatience   = 2 * time.Second // for one answer, if the asker's context is more patient
	flushPatience = time.Second     // for new subscriptions to reach the server
)

// Bus is where the roles find each other. All its methods may be called
// concurrently.
type Bus struct {
	nc      *nats.Conn
	outside bool // others may be on the bus: the NATS is not our own
	budget  int
	log     *slog.Logger
	id      string // ours, to know our own calls to everybody
	asks    *asks
	buffers sync.Pool // of *[]byte, in which frames are written

	mu          sync.RWMutex
	workers     map[string]localWorker
	proxies     map[string]scheduler.Proxy
	dispatchers map[string]scheduler.Dispatcher
}

// localWorker is one that is served in this process.
type localWorker struct {
	scheduler.Worker
	pools []string
}

func newBus(nc *nats.Conn, cfg Config) (*Bus, error) {
	b := &Bus{
		nc: nc, outside: cfg.URL != "", budget: cfg.FrameBudget, log: cfg.Logger, id: nuid.Next(),
		buffers: sync.Pool{New: func() any { return new([]byte) }},
		workers: map[string]localWorker{}, proxies: map[string]scheduler.Proxy{}, dispatchers: map[string]scheduler.Dispatcher{},
	}
	var err error
	if b.outside {
		b.asks, err = newAsks(nc)
	}
	return b, err
}

func (b *Bus) close() {
	if b.asks != nil {
		b.asks.close()
	}
}

// Worker is the worker with that id, wherever it is.
func (b *Bus) Worker(id string) scheduler.Worker { return &workerAt{b: b, id: id} }

// Proxy is the proxy with that id, wherever it is.
func (b *Bus) Proxy(id string) scheduler.Proxy { return &proxyAt{b: b, id: id} }

// Explainer is whoever leads the pool, to be asked why things wait.
func (b *Bus) Explainer(pool string) scheduler.Explainer { return &dispatcherAt{b: b, pool: pool} }

// Lister is whoever leads the pool, to be asked what it has of somebody.
func (b *Bus) Lister(pool string) scheduler.Lister { return &dispatcherAt{b: b, pool: pool} }

// Dispatcher is whoever leads the pool.
func (b *Bus) Dispatcher(pool string) scheduler.Dispatcher { return &dispatcherAt{b: b, pool: pool} }

func (b *Bus) localWorker(id string) scheduler.Worker {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.workers[id].Worker
}

func (b *Bus) localProxy(id string) scheduler.Proxy {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.proxies[id]
}

func (b *Bus) localDispatcher(pool string) scheduler.Dispatcher {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.dispatchers[pool]
}

// MusterWorkers asks all workers of a pool for a beat at once.
func (b *Bus) MusterWorkers(ctx context.Context, pool string) error {
	var errs []error
	for _, w := range b.localWorkers(pool) {
		errs = append(errs, w.Muster(ctx, pool))
	}
	if b.outside {
		data, err := pack(b.id)
		errs = append(errs, err, b.nc.Publish(roleWorker+everyWorker+"."+pool+"."+verbMuster, data))
	}
	return errors.Join(errs...)
}

func (b *Bus) localWorkers(pool string) []scheduler.Worker {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var out []scheduler.Worker
	for _, w := range b.workers {
		if slices.Contains(w.pools, pool) {
			out = append(out, w.Worker)
		}
	}
	return out
}

// ServeWorker makes w the worker with that id, until stop. It is called from
// several goroutines.
func (b *Bus) ServeWorker(id string, pools []string, w scheduler.Worker) (stop func(), err error) {
	if !validID(id) {
		return nil, fmt.Errorf("worker id %.40q: an id is 1 to 128 of a-z, A-Z, 0-9, - and _, and not %q", id, everyWorker)
	}
	return serve(b, b.workers, id, localWorker{w, slices.Clone(pools)}, func(s *service) error {
		return serveWorker(s, id, pools, w)
	})
}

// ServeProxy makes p the proxy with that id, until stop. Its frames come from
// one goroutine for each way they may take, all else from several.
func (b *Bus) ServeProxy(id string, p scheduler.Proxy) (stop func(), err error) {
	if !validID(id) {
		return nil, fmt.Errorf("proxy id %.40q: an id is 1 to 128 of a-z, A-Z, 0-9, - and _, and not %q", id, everyWorker)
	}
	return serve(b, b.proxies, id, p, func(s *service) error { return serveProxy(s, id, p) })
}

// ServeDispatcher makes d the leader of a pool in the eyes of the others, until
// stop. Who calls it holds the lease.
func (b *Bus) ServeDispatcher(pool string, d scheduler.Dispatcher) (stop func(), err error) {
	if !validName(pool) {
		return nil, fmt.Errorf("pool %.40q: a name is 1 to 32 of a-z, 0-9, - and _, and begins with a letter or digit", pool)
	}
	return serve(b, b.dispatchers, pool, d, func(s *service) error { return serveDispatcher(s, pool, d) })
}

// serve enters a role into the local directory, and subscribes for it where
// others may ask.
func serve[T any](b *Bus, directory map[string]T, name string, role T, subscribe func(*service) error) (stop func(), err error) {
	b.mu.Lock()
	_, taken := directory[name]
	if !taken {
		directory[name] = role
	}
	b.mu.Unlock()
	if taken {
		return nil, fmt.Errorf("%q is served in this process already", name)
	}
	s := newService(b)
	stop = sync.OnceFunc(func() {
		b.mu.Lock()
		delete(directory, name)
		b.mu.Unlock()
		s.stop()
	})
	if !b.outside {
		return stop, nil
	}
	if err := subscribe(s); err != nil {
		stop()
		return nil, fmt.Errorf("subscribe for %q: %w", name, err)
	}
	b.settle()
	return stop, nil
}

// settle waits until the server knows what is subscribed and what is not any
// more. Without a connection it will know with the next one.
func (b *Bus) settle() {
	if !b.nc.IsConnected() {
		return
	}
	if err := b.nc.FlushTimeout(flushPatience); err != nil {
		b.log.Debug("nats learns later what is served here", slog.Any("error", err))
	}
}
