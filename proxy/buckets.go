package proxy

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"fairlane/proxy/limit"
	"fairlane/proxy/policy"
	"fairlane/scheduler"
)

// Buckets is a [Limiter] that keeps levels in a store.
type Buckets struct {
	store    limit.Store
	fallback *fallback // decides while the store cannot be asked
	logger   *slog.Logger
	jitter   func() float64 // in [0, 1)
}

// NewLimiter makes a limiter of a store. While the store fails, memory decides.
// An error says that the metric could not be registered.
func NewLimiter(cfg LimiterConfig) (*Buckets, error) {
	f, err := newFallback(cfg)
	if err != nil {
		return nil, err
	}
	return &Buckets{store: cfg.Store, fallback: f, logger: cfg.Logger, jitter: rand.Float64}, nil
}

// Take draws from all buckets of the decision, or from none.
func (b *Buckets) Take(ctx context.Context, d *policy.Decision, need Need) (Allowance, *scheduler.Problem) {
	if len(d.Buckets) == 0 {
		return Allowance{}, nil
	}
	dr := policy.Draw(d.Buckets, need.drawn())
	store, result := b.acquire(ctx, dr.Charges)
	if store == b.fallback {
		b.fallback.used.Inc()
	}
	allow := allowance(dr, result.Levels)
	if !result.Granted {
		return allow, b.refusal(&refused{
			bucket: dr.From[result.Refused], charge: &dr.Charges[result.Refused], size: d.Size, chinese: need.Chinese, never: result.Never, wait: result.RetryAfter,
		})
	}
	if reserved := dr.Reserved(); len(reserved) > 0 {
		// The request's end may be that its client left; that is to be settled too.
		ctx = context.WithoutCancel(ctx)
		allow.Settle = func(u *scheduler.Usage) { b.settle(ctx, store, reserved, u) }
	}
	return allow, nil
}

// allowance tells of the tightest limits.
func allowance(dr policy.Drawing, levels []limit.Level) Allowance {
	var a Allowance
	for i, l := range levels {
		at := &a.Requests
		if dr.From[i].Kind == policy.Tokens {
			at = &a.Tokens
		}
		if *at == nil || l.Remaining < (*at).Remaining || l.Remaining == (*at).Remaining && l.Reset > (*at).Reset {
			*at = &Level{Limit: l.Limit, Remaining: l.Remaining, Reset: l.Reset}
		}
	}
	return a
}

// acquire asks the store, or memory. It says whom, as that one has to settle.
func (b *Buckets) acquire(ctx context.Context, charges []limit.Charge) (limit.Store, limit.Result) {
	r, err := b.store.Acquire(ctx, charges)
	b.heard(ctx, err)
	if err == nil {
		return b.store, r
	}
	return b.fallback, b.fallback.acquire(ctx, charges)
}

// Look says what is left of a decision's buckets and takes nothing: a level for
// each limit of each bucket.
func (b *Buckets) Look(ctx context.Context, d *policy.Decision) [][]limit.Level {
	dr := policy.Draw(d.Buckets, policy.Need{})
	for i := range dr.Charges {
		dr.Charges[i].Cost = 0
	}
	_, result := b.acquire(ctx, dr.Charges)
	out, rest := make([][]limit.Level, 0, len(d.Buckets)), result.Levels
	for _, bucket := range d.Buckets {
		out, rest = append(out, rest[:len(bucket.Limits)]), rest[len(bucket.Limits):]
	}
	return out
}

// settle corrects what was reserved by what was used. Without usage the reservation
// stays.
func (b *Buckets) settle(ctx context.Context, store limit.Store, reserved []limit.Charge, u *scheduler.Usage) {
	if u == nil {
		return
	}
	corrections := policy.Corrections(reserved, u)
	if len(corrections) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	if err := store.Settle(ctx, corrections); store == b.store {
		b.heard(ctx, err)
	}
}

// settleWait is how long the end of a request may wait for the store.
const settleWait = time.Second

// heard notes whether the store answers, and logs when that changes.
func (b *Buckets) heard(ctx context.Context, err error) {
	switch {
	case err == nil:
		if b.fallback.away.Load() && b.fallback.away.CompareAndSwap(true, false) {
			b.logger.InfoContext(ctx, "the store of limits answers again")
		}
	case ctx.Err() == nil && b.fallback.away.CompareAndSwap(false, true): // else it is the client who left
		b.logger.WarnContext(ctx, "the store of limits does not answer; each process keeps its own until it does", slog.Any("error", err))
	}
}
