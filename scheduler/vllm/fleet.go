package vllm

import (
	"context"
	"maps"
	"slices"
	"sync"

	"fairlane/scheduler"
)

// Fleet is the backends of all pools that a process speaks to. It is shared by
// the worker, which calls them, and the edge, which asks them for models and
// passes on what needs no queue.
type Fleet struct {
	mu       sync.RWMutex
	ctx      context.Context
	onChange func()
	pools    map[string][]*Backend
	removed  sync.WaitGroup // those that are being stopped
}

// NewFleet makes an empty fleet; Apply fills it.
func NewFleet() *Fleet { return &Fleet{pools: map[string][]*Backend{}} }

// Start begins to watch all backends, those of later Applies too. onChange is
// called when a backend goes up or down or its models change. A second Start is
// nothing.
func (f *Fleet) Start(ctx context.Context, onChange func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx != nil {
		return
	}
	ctx = context.WithoutCancel(ctx)
	f.ctx, f.onChange = ctx, onChange
	for _, bs := range f.pools {
		for _, b := range bs {
			b.Start(ctx, onChange)
		}
	}
}

// Stop ends the watching. It must not hold the lock while it waits: onChange
// may ask for the backends.
func (f *Fleet) Stop() {
	f.mu.Lock()
	f.ctx = nil
	all := slices.Concat(slices.Collect(maps.Values(f.pools))...)
	f.mu.Unlock()
	for _, b := range all {
		b.Stop()
	}
	f.removed.Wait()
}

// Apply sets the backends of a pool. What is unchanged goes on as it is; what
// is removed finishes the calls it has.
func (f *Fleet) Apply(pool string, configs []Config) error {
	next := make([]*Backend, 0, len(configs))
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.pools[pool]
	for _, cfg := range configs {
		b, err := New(cfg)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(old, func(o *Backend) bool { return o.cfg.same(b.cfg) }); i >= 0 {
			b = old[i]
		}
		next = append(next, b)
	}
	for _, o := range old {
		if !slices.Contains(next, o) {
			f.removed.Go(o.Stop) // which waits for a probe that is under way
		}
	}
	f.pools[pool] = next
	if f.ctx != nil {
		for _, b := range next {
			b.Start(f.ctx, f.onChange)
		}
	}
	return nil
}

// Backends are those of a pool, in the order of the configuration.
func (f *Fleet) Backends(pool string) []*Backend {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.pools[pool]
}

// Backend finds one by its URL; nil: there is none.
func (f *Fleet) Backend(pool, url string) *Backend {
	for _, b := range f.Backends(pool) {
		if b.URL() == url {
			return b
		}
	}
	return nil
}

// Statuses are what was last seen of a pool's backends.
func (f *Fleet) Statuses(pool string) []scheduler.BackendStatus {
	bs := f.Backends(pool)
	out := make([]scheduler.BackendStatus, len(bs))
	for i, b := range bs {
		out[i] = *b.Status()
	}
	return out
}
