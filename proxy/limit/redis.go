package limit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisConfig is how a [Redis] behaves towards its server.
type RedisConfig struct {
	Wait  time.Duration // for one answer; 0: 100 ms
	Probe time.Duration // how often the server is tried; 0: 500 ms
	// Changed is called when the server goes (an error) or comes back (nil), and
	// at first. It must not block.
	Changed func(err error)

	source string // of the script; empty: source
}

func (c RedisConfig) withDefaults() RedisConfig {
	if c.Wait <= 0 {
		c.Wait = 100 * time.Millisecond
	}
	if c.Probe <= 0 {
		c.Probe = 500 * time.Millisecond
	}
	if c.Changed == nil {
		c.Changed = func(error) {}
	}
	if c.source == "" {
		c.source = source
	}
	return c
}

// Redis is a [Store] that processes share. While its server does not answer, it
// says so at once: only probes wait for it. Without Start there are none.
type Redis struct {
	cfg     RedisConfig
	db      redis.UniversalClient
	script  *redis.Script
	cluster bool
	denied  *denials

	away        atomic.Pointer[error] // why the server is left alone until a probe finds it well; nil: it is not
	start, stop sync.Once
	quit, done  chan struct{}
}

// NewRedis makes a store of a connection, which stays its owner's.
func NewRedis(cfg RedisConfig, db redis.UniversalClient) *Redis {
	cfg = cfg.withDefaults()
	_, cluster := db.(*redis.ClusterClient)
	return &Redis{
		cfg: cfg, db: db, script: newScript(cfg.source), cluster: cluster, denied: newDenials(time.Now),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
}

// Acquire takes all or nothing, in one round trip: in a cluster in one for each
// slot, which is one unless a limit is shared by several callers.
func (r *Redis) Acquire(ctx context.Context, charges []Charge) (Result, error) {
	if away := r.away.Load(); away != nil {
		return Result{}, *away
	}
	if res, ok := r.denied.look(charges); ok {
		return res, nil
	}
	res, used := Result{Granted: true}, make([]span, len(charges))
	for i := range charges {
		if c := &charges[i]; c.Cost > c.Limit.Room() {
			res.Granted, res.Never, res.Refused = false, true, i
			break
		}
	}
	groups := r.groups(charges, func(c *Charge) int64 {
		if res.Never {
			return 0
		}
		return max(c.Cost, 0)
	})
	for g := range groups {
		answer, err := r.run(ctx, take, &groups[g])
		if err != nil {
			r.undo(ctx, charges, groups[:g])
			return Result{}, err
		}
		groups[g].used(used, answer)
		if by := answer[0]; by > 0 {
			r.undo(ctx, charges, groups[:g])
			res.Granted, res.Refused = false, groups[g].of[by-1]
			res.RetryAfter = time.Duration(answer[1]) * time.Microsecond
			res.Levels = levels(charges, used)
			r.denied.remember(charges, &res, used)
			return res, nil
		}
	}
	res.Levels = levels(charges, used)
	if res.Granted {
		r.denied.forget(charges)
	}
	return res, nil
}

// Settle corrects levels.
func (r *Redis) Settle(ctx context.Context, corrections []Charge) error {
	r.denied.forget(corrections)
	groups := r.groups(corrections, func(c *Charge) int64 { return c.Cost })
	var errs []error
	for g := range groups {
		_, err := r.run(ctx, settle, &groups[g])
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// groups are the calls that charges need.
func (r *Redis) groups(charges []Charge, cost func(*Charge) int64) []call {
	if len(charges) == 0 {
		return nil
	}
	var groups []call
	at := map[string]int{}
	for i := range charges {
		tag := ""
		if r.cluster {
			tag = charges[i].Key.tag()
		}
		g, known := at[tag]
		if !known {
			g = len(groups)
			at[tag], groups = g, append(groups, call{})
		}
		groups[g].add(i, &charges[i], cost(&charges[i]))
	}
	return groups
}

// undo gives back what one slot granted before another one refused.
func (r *Redis) undo(ctx context.Context, charges []Charge, granted []call) {
	for _, g := range granted {
		var back call
		for _, i := range g.of {
			back.add(i, &charges[i], -max(charges[i].Cost, 0))
		}
		_, _ = r.run(context.WithoutCancel(ctx), settle, &back) // an error is noted, and costs the caller one request
	}
}

// keep is how long a full bucket is kept, in milliseconds: a server that takes
// over may have a clock that is a little behind.
const keep = 1000

// run asks the server, and notes whether it answers.
func (r *Redis) run(ctx context.Context, way string, c *call) ([]int64, error) {
	if away := r.away.Load(); away != nil {
		return nil, *away
	}
	answer, err := r.ask(ctx, way, c)
	if err == nil || ctx.Err() != nil { // the client left: that says nothing of the server
		return answer, err
	}
	if r.away.CompareAndSwap(nil, &err) {
		r.cfg.Changed(err)
	}
	return nil, err
}

func (r *Redis) ask(ctx context.Context, way string, c *call) ([]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Wait)
	defer cancel()
	args := append([]any{way, keep}, c.args...)
	answer, err := r.script.Run(ctx, r.db, c.keys, args...).Int64Slice()
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	if len(answer) != 2+2*len(c.keys) || answer[0] > int64(len(c.keys)) {
		return nil, fmt.Errorf("redis: %d numbers for %d levels", len(answer), len(c.keys))
	}
	return answer, nil
}

// Start begins to watch whether the server answers. Only the first call does.
func (r *Redis) Start() {
	r.start.Do(func() {
		r.probe()
		go r.watch()
	})
}

func (r *Redis) watch() {
	defer close(r.done)
	every := time.NewTicker(r.cfg.Probe)
	defer every.Stop()
	for {
		select {
		case <-r.quit:
			return
		case <-every.C:
			r.probe()
		}
	}
}

// probe does what a request does, so that a server that can't write counts as
// away, too.
func (r *Redis) probe() {
	var c call
	one := Limit{N: 1_000_000, Period: time.Second}
	c.add(0, &Charge{Key: Key{Scope: "probe", Period: time.Second}, Limit: one}, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 10*r.cfg.Wait)
	defer cancel()
	_, err := r.ask(ctx, settle, &c)
	var away *error
	if err != nil {
		away = &err
	}
	if was := r.away.Swap(away); (was != nil) != (err != nil) {
		r.cfg.Changed(err)
	}
}

// Away reports whether the server does not answer, and is left alone.
func (r *Redis) Away() bool { return r.away.Load() != nil }

// Stop ends the probes and waits for them. It may be called more than once, and
// without Start, which then does nothing any more.
func (r *Redis) Stop() {
	r.stop.Do(func() { close(r.quit) })
	r.start.Do(func() { close(r.done) })
	<-r.done
}
