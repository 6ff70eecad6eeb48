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

// drawing is what a request draws from which buckets.
type drawing struct {
	charges []limit.Charge
	from    []*policy.Bucket // of each charge
}

// Take draws from all buckets of the decision, or from none.
func (b *Buckets) Take(ctx context.Context, d *policy.Decision, need Need) (Allowance, *scheduler.Problem) {
	if len(d.Buckets) == 0 {
		return Allowance{}, nil
	}
	dr := draw(d.Buckets, need)
	store, result := b.acquire(ctx, dr.charges)
	allow := dr.allowance(result.Levels)
	if !result.Granted {
		return allow, b.refusal(&refused{
			bucket: dr.from[result.Refused], charge: &dr.charges[result.Refused], size: d.Size, chinese: need.Chinese, never: result.Never, wait: result.RetryAfter,
		})
	}
	if reserved := dr.tokens(); len(reserved) > 0 {
		// The request's end may be that its client left; that is to be settled too.
		ctx = context.WithoutCancel(ctx)
		allow.Settle = func(u *scheduler.Usage) { b.settle(ctx, store, reserved, u) }
	}
	return allow, nil
}

// draw makes a charge of each limit.
func draw(buckets []policy.Bucket, need Need) drawing {
	n := 0
	for i := range buckets {
		n += len(buckets[i].Limits)
	}
	dr := drawing{charges: make([]limit.Charge, 0, n), from: make([]*policy.Bucket, 0, n)}
	for i := range buckets {
		bucket := &buckets[i]
		for j, l := range bucket.Limits {
			l = need.widened(bucket.Kind, l)
			key := limit.Key{Scope: bucket.Scope, Owner: bucket.Owner, Period: l.Period}
			for _, before := range bucket.Limits[:j] {
				if before.Period == l.Period {
					key.Nth++
				}
			}
			dr.charges = append(dr.charges, limit.Charge{Key: key, Limit: l, Cost: need.of(bucket.Kind, l)})
			dr.from = append(dr.from, bucket)
		}
	}
	return dr
}

// widened is a limit of tokens whose bucket holds the longest request of the model:
// else that request could only be made to fit by being counted for less.
func (n Need) widened(kind policy.BucketKind, l limit.Limit) limit.Limit {
	if kind != policy.Tokens || int64(n.Longest) <= l.Room() {
		return l
	}
	wide := l
	if wide.Burst = int64(n.Longest); wide.Validate() != nil {
		return l
	}
	return wide
}

// of is what a request takes from a bucket. Tokens are an estimate, which must
// not refuse for ever; what is missing is settled at the end.
func (n Need) of(kind policy.BucketKind, l limit.Limit) int64 {
	if kind == policy.Tokens {
		return min(max(1, int64(n.InputTokens)+int64(n.MaxTokens)), l.Room())
	}
	return int64(max(1, n.Sequences))
}

// allowance tells of the tightest limits.
func (dr drawing) allowance(levels []limit.Level) Allowance {
	var a Allowance
	for i, l := range levels {
		at := &a.Requests
		if dr.from[i].Kind == policy.Tokens {
			at = &a.Tokens
		}
		if *at == nil || l.Remaining < (*at).Remaining || l.Remaining == (*at).Remaining && l.Reset > (*at).Reset {
			*at = &Level{Limit: l.Limit, Remaining: l.Remaining, Reset: l.Reset}
		}
	}
	return a
}

// tokens are the charges of tokens.
func (dr drawing) tokens() []limit.Charge {
	var out []limit.Charge
	for i, c := range dr.charges {
		if dr.from[i].Kind == policy.Tokens {
			out = append(out, c)
		}
	}
	return out
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
	dr := draw(d.Buckets, Need{})
	for i := range dr.charges {
		dr.charges[i].Cost = 0
	}
	_, result := b.acquire(ctx, dr.charges)
	out, rest := make([][]limit.Level, 0, len(d.Buckets)), result.Levels
	for _, bucket := range d.Buckets {
		out, rest = append(out, rest[:len(bucket.Limits)]), rest[len(bucket.Limits):]
	}
	return out
}

// settle corrects what was reserved by what was used. Cached tokens are free.
// Without usage the reservation stays.
func (b *Buckets) settle(ctx context.Context, store limit.Store, reserved []limit.Charge, u *scheduler.Usage) {
	if u == nil {
		return
	}
	used := int64(max(0, u.Input-u.Cached)) + int64(max(0, u.Output))
	corrections := reserved[:0]
	for _, c := range reserved {
		if c.Cost = used - c.Cost; c.Cost != 0 {
			corrections = append(corrections, c)
		}
	}
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
