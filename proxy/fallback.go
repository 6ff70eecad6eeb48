package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"fairlane/proxy/limit"
)

// LimiterConfig is a limiter's.
type LimiterConfig struct {
	Store    limit.Store
	Replicas int                   // processes that share the store; while it is away each grants its part; 0: 1
	Metrics  prometheus.Registerer // nil: none
	Logger   *slog.Logger          // nil: none
}

// fallback is the memory that decides while the store can't be asked: nobody is
// refused for that, and nobody gets more than the limit, as far as Replicas is
// right.
type fallback struct {
	*limit.Memory
	replicas int
	away     atomic.Bool // it is in use
	used     prometheus.Counter
}

func newFallback(cfg LimiterConfig) (*fallback, error) {
	f := &fallback{
		Memory: limit.NewMemory(limit.MemoryConfig{}), replicas: max(1, cfg.Replicas),
		used: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fairlane_limit_store_fallback_total", Help: "Decisions of the local limiter because the store of limits did not answer.",
		}),
	}
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(f.used); err != nil {
			return nil, fmt.Errorf("metrics of the limiter: %w", err)
		}
	}
	return f, nil
}

// acquire decides by this process' part. What fits into a whole bucket is not
// refused for ever because the part is smaller: its cost becomes all of that. What
// is told of the limit is the whole one, as a refusal names it.
func (f *fallback) acquire(ctx context.Context, charges []limit.Charge) limit.Result {
	parts := f.parts(charges)
	for i := range charges {
		if c := &charges[i]; c.Cost <= c.Limit.Room() {
			c.Cost = min(c.Cost, parts[i].Limit.Room())
			parts[i].Cost = c.Cost
		}
	}
	r, err := f.Acquire(ctx, parts)
	if err != nil { // memory does not fail
		return limit.Result{Granted: true, Levels: make([]limit.Level, len(charges))}
	}
	for i := range r.Levels {
		r.Levels[i].Limit = charges[i].Limit.Room()
	}
	return r
}

// Settle corrects this process' part.
func (f *fallback) Settle(ctx context.Context, corrections []limit.Charge) error {
	return f.Memory.Settle(ctx, f.parts(corrections))
}

func (f *fallback) parts(charges []limit.Charge) []limit.Charge {
	out := make([]limit.Charge, len(charges))
	for i, c := range charges {
		c.Limit = c.Limit.Among(f.replicas)
		out[i] = c
	}
	return out
}
