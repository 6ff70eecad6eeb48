package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fairlane/scheduler"
	"fairlane/scheduler/loop"
)

const (
	leaseBucket  = "FL_LEASE"
	leaseBytes   = 1 << 20
	defaultTTL   = 3 * time.Second
	minTTL       = time.Second // NATS looks for old keys a few times a second
	renewEvery   = 500 * time.Millisecond
	leasePause   = 100 * time.Millisecond // before what failed is tried again
	releaseGrace = time.Second            // for the release on the way out
)

// errLost says that somebody else may lead.
var errLost = errors.New("the lease is lost")

// LeaseConfig is a lease's.
type LeaseConfig struct {
	Pool   string
	Holder string        // who wants it, for people who look at the key; empty: fairlane
	TTL    time.Duration // 0: 3 s
	// OnChange is called with true when the lease was taken and with false when
	// it was given up, from the goroutine of Run. It must not block.
	OnChange func(leading bool)
}

// Lease makes one of several dispatchers of a pool the leader. See the package's
// comment for what is safe about it.
type Lease struct {
	b      *Broker
	cfg    LeaseConfig
	clock  func() time.Time // time.Now, but in tests
	origin time.Time
	mark   []byte // what the key holds while it is ours, and nobody else's

	// Both in nanoseconds since origin; until is 0 while somebody else leads.
	until atomic.Int64 // the end of what a renewal bought
	seen  atomic.Int64 // when the goroutine that renews last ran
}

// Lease prepares a lease; Run competes for it.
func (b *Broker) Lease(ctx context.Context, cfg LeaseConfig) (*Lease, error) {
	cfg.TTL = cmp.Or(cfg.TTL, defaultTTL)
	cfg.Holder = cmp.Or(cfg.Holder, "fairlane")
	if cfg.OnChange == nil {
		cfg.OnChange = func(bool) {}
	}
	switch {
	case !validName(cfg.Pool):
		return nil, fmt.Errorf("lease: pool %q: a name is 1 to 32 of a-z, 0-9, - and _, and begins with a letter or digit", cfg.Pool)
	case cfg.TTL < minTTL:
		return nil, fmt.Errorf("lease: ttl %v: at least %v is needed", cfg.TTL, minTTL)
	}
	l := &Lease{b: b, cfg: cfg, clock: time.Now, origin: time.Now().Add(-time.Second), mark: []byte(cfg.Holder + " " + NewID())}
	if _, err := l.bucket(ctx); err != nil {
		return nil, err
	}
	return l, nil
}

// bucket makes the bucket if it is not there. The embedded server holds it in memory,
// because there nobody can outlive it.
func (l *Lease) bucket(ctx context.Context) (jetstream.KeyValue, error) {
	ctx, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	cfg := jetstream.KeyValueConfig{
		Bucket: leaseBucket, Description: "who dispatches a pool", TTL: l.cfg.TTL, MaxBytes: leaseBytes,
	}
	if l.b.server != nil {
		cfg.Storage = jetstream.MemoryStorage
	}
	return l.b.keys(ctx, cfg)
}

// Valid reports whether the lease is held. It is cheap, and to be asked before
// everything that only a leader may do.
func (l *Lease) Valid() bool {
	now := l.now()
	return now < l.until.Load() && now-l.seen.Load() <= int64(l.cfg.TTL/2)
}

func (l *Lease) now() int64 { return int64(l.clock().Sub(l.origin)) }

// Run competes for the lease until ctx ends. Whenever it is held, lead is called
// with a context that ends when it is lost or ctx ends, and the epoch; Run waits
// for lead to return, and gives the lease back.
func (l *Lease) Run(ctx context.Context, lead func(ctx context.Context, epoch scheduler.Fence)) {
	for ctx.Err() == nil {
		t, err := l.campaign(ctx)
		switch {
		case err == nil:
			l.serve(ctx, t, lead)
		case ctx.Err() == nil:
			l.b.cfg.Logger.DebugContext(ctx, "the lease can't be asked for", slog.String("pool", l.cfg.Pool), slog.Any("error", err))
		}
		if err != nil || !t.orderly {
			loop.Pause(ctx, leasePause)
		}
	}
}

// term is one time of holding the lease.
type term struct {
	kv       jetstream.KeyValue
	created  time.Time // of the bucket
	revision uint64    // of the key now
	epoch    scheduler.Fence
	orderly  bool // it was given back, not lost
}

// serve leads until the lease is lost, ctx ends or lead gives up.
func (l *Lease) serve(ctx context.Context, t *term, lead func(context.Context, scheduler.Fence)) {
	log := l.b.cfg.Logger.With(slog.String("pool", l.cfg.Pool), slog.String("epoch", t.epoch.String()))
	log.InfoContext(ctx, "took the lease")
	l.cfg.OnChange(true)
	leading, cancel := context.WithCancel(ctx)
	defer cancel()
	returned := make(chan struct{})
	go func() { defer close(returned); lead(leading, t.epoch) }()
	err := l.keep(ctx, t, returned)
	l.until.Store(0)
	cancel()
	<-returned
	l.cfg.OnChange(false) // before anybody else may say that it leads
	if err != nil {
		log.WarnContext(ctx, "lost the lease", slog.Any("error", err))
	} else {
		t.orderly = ctx.Err() != nil
		l.release(ctx, t, log)
	}
}

// keep renews until the lease is lost; nil: it is still ours, and not needed any
// more.
func (l *Lease) keep(ctx context.Context, t *term, returned <-chan struct{}) error {
	every := min(renewEvery, l.cfg.TTL/6)
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-returned:
			return nil
		case <-timer.C:
		}
		if err := l.awake(); err != nil {
			return err
		}
		sent := l.now()
		err := l.renew(ctx, t)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errLost):
			return err
		case err != nil && l.now() >= l.until.Load():
			return fmt.Errorf("%w: it could not be renewed in time: %w", errLost, err)
		case err != nil:
			timer.Reset(leasePause)
		default:
			l.until.Store(sent + l.worth())
			timer.Reset(every - min(every, time.Duration(l.now()-sent)))
		}
		if err := l.awake(); err != nil {
			return err
		}
	}
}

// worth is how long a renewal is trusted, from when it was sent.
func (l *Lease) worth() int64 { return int64(l.cfg.TTL / 4 * 3) }

// awake notes that we run, and finds out if we were stopped for so long that
// nothing is sure.
func (l *Lease) awake() error {
	now := l.now()
	if gap := time.Duration(now - l.seen.Swap(now)); gap > l.cfg.TTL/2 {
		return fmt.Errorf("%w: this process stood still for %v", errLost, gap)
	}
	return nil
}

// renew replaces the key. A compare-and-set alone would take the key of a bucket
// that was wiped and made anew for ours, if the revisions happen to meet.
func (l *Lease) renew(ctx context.Context, t *term) error {
	patience := min(l.cfg.TTL/4, max(time.Duration(l.until.Load()-l.now()), 0))
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	created, err := bucketCreated(ctx, t.kv)
	if err != nil {
		return err
	}
	if !created.Equal(t.created) {
		return fmt.Errorf("%w: its bucket was made anew", errLost)
	}
	revision, err := t.kv.Update(ctx, l.cfg.Pool, l.mark, t.revision)
	if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		revision, err = l.reclaim(ctx, t.kv, err)
	}
	if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return fmt.Errorf("%w: somebody else changed it: %w", errLost, err)
	}
	if err == nil {
		t.revision = revision
	}
	return err
}

// release deletes the key, so that nobody need wait for its end.
func (l *Lease) release(ctx context.Context, t *term, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseGrace)
	defer cancel()
	err := t.kv.Delete(ctx, l.cfg.Pool, jetstream.LastRevision(t.revision))
	if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		if t.revision, err = l.reclaim(ctx, t.kv, err); err == nil {
			err = t.kv.Delete(ctx, l.cfg.Pool, jetstream.LastRevision(t.revision))
		}
	}
	if err != nil {
		log.DebugContext(ctx, "the lease was not given back, it ends by itself", slog.Any("error", err))
		return
	}
	log.InfoContext(ctx, "gave the lease back")
}

func bucketCreated(ctx context.Context, kv jetstream.KeyValue) (time.Time, error) {
	status, err := kv.Status(ctx)
	if err != nil {
		return time.Time{}, err
	}
	s, ok := status.(*jetstream.KeyValueBucketStatus)
	if !ok {
		return time.Time{}, errors.New("the bucket does not say when it was made")
	}
	return s.StreamInfo().Created, nil
}

func epochOf(created time.Time, revision uint64) (scheduler.Fence, error) {
	if s := created.Unix(); s < 0 || s > math.MaxUint32 || revision > math.MaxUint32 {
		return scheduler.Fence{}, fmt.Errorf("the bucket %s is too old (made %v, revision %d); delete it while nothing runs", leaseBucket, created, revision)
	}
	return scheduler.Fence{Bucket: uint32(created.Unix()), Revision: uint32(revision)}, nil //nolint:gosec // both were looked at
}
