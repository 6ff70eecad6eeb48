package dispatcher

import (
	"context"
	"log/slog"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/fairqueue"
)

const (
	tick      = 250 * time.Millisecond
	inboxSize = 4096
	// remembered is how long the id of a request that is over is kept: a cancel
	// may overtake its entry, a report may come twice.
	remembered = time.Minute
)

// leader is one term. All fields belong to the goroutine in run, but for inbox
// and done.
type leader struct {
	cfg    *Config
	policy Policy
	epoch  scheduler.Fence
	inbox  chan func()
	done   chan struct{}

	queue    *fairqueue.Queue
	capacity *capacity.Pool
	items    map[string]*item
	over     tombstones
	expiries expiries
	users    map[string]int // waiting requests by user
	classes  map[string]*classState
	workers  map[string]*workerState
	proxies  map[string]time.Time // last beat
	notices  map[string][]scheduler.Notice
	// elsewhere are requests whose answer runs on an attempt that is not known yet.
	elsewhere map[string]elsewhere
	waiters   []*item // that came in this pass
	estimate  *estimates
	rate      drainRate
	sharesAt  time.Time
	slice     int

	open     bool // entries are loaded and what runs is adopted: granting may begin
	attempts uint32
	suspects []Suspect
	say      func(*Status)     // tells how the pool stands
	choice   *capacity.Backend // of the admit that took last
	never    *item             // of the admit that found it can never fit
	noneUp   time.Time         // since when no backend is up; zero: one is
	started  time.Time
	wake     *time.Timer
}

func newLeader(cfg *Config, p Policy, epoch scheduler.Fence) (*leader, error) {
	q, err := fairqueue.New(fairqueue.Config{Depth: len(cfg.Share)})
	if err != nil {
		return nil, err
	}
	now := time.Now()
	l := &leader{
		cfg: cfg, policy: p, epoch: epoch,
		inbox: make(chan func(), inboxSize), done: make(chan struct{}),
		queue: q, capacity: capacity.NewPool(p.Backend),
		items: map[string]*item{}, over: newTombstones(remembered),
		users: map[string]int{}, classes: map[string]*classState{},
		workers: map[string]*workerState{}, proxies: map[string]time.Time{},
		notices: map[string][]scheduler.Notice{}, elsewhere: map[string]elsewhere{}, estimate: newEstimates(),
		noneUp: now, started: now,
	}
	return l, nil
}

// post hands f to the leader's goroutine; false: the term is over.
func (l *leader) post(ctx context.Context, f func()) bool {
	select {
	case l.inbox <- f:
		return true
	case <-l.done:
		return false
	case <-ctx.Done():
		return false
	}
}

// ask posts f and waits until it ran.
func (l *leader) ask(ctx context.Context, f func()) bool {
	ran := make(chan struct{})
	if !l.post(ctx, func() { f(); close(ran) }) {
		return false
	}
	select {
	case <-ran:
		return true
	case <-l.done:
		return false
	case <-ctx.Done():
		return false
	}
}

// run leads until ctx ends.
func (l *leader) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	tailed := make(chan struct{})
	defer func() {
		cancel()
		close(l.done)
		<-tailed
		l.cfg.Metrics.drop(l.cfg.Pool)
	}()
	stop, err := l.cfg.Bus.ServeDispatcher(l.cfg.Pool, role{l})
	if err != nil {
		close(tailed)
		l.cfg.Logger.Error("the pool can't be led", slog.String("pool", l.cfg.Pool), slog.Any("error", err))
		return
	}
	defer stop()
	l.cfg.Logger.Debug("leading", slog.String("pool", l.cfg.Pool), slog.String("epoch", l.epoch.String()))
	go func() { defer close(tailed); l.tail(ctx) }()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	l.wake = time.NewTimer(time.Hour)
	defer l.wake.Stop()
	l.tick(time.Now())
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-l.inbox:
			f()
			l.drainInbox()
		case now := <-ticker.C:
			l.tick(now)
		case <-l.wake.C:
		}
		l.grantAll()
		l.flushNotices()
	}
}

// drainInbox takes what is there already, so that one pass over the queue
// serves all of it.
func (l *leader) drainInbox() {
	for range inboxSize {
		select {
		case f := <-l.inbox:
			f()
		default:
			return
		}
	}
}

// tail reads the stream, opens the queue when it is loaded and what runs was
// told, and goes on reading.
func (l *leader) tail(ctx context.Context) {
	fn := func(seq uint64, e *scheduler.Entry, err error) {
		l.post(ctx, func() { l.arrive(seq, e, err) })
	}
	loaded := func() { l.muster(ctx) }
	if err := l.cfg.Stream.Tail(ctx, 1, fn, loaded); err != nil && ctx.Err() == nil {
		l.cfg.Logger.Error("the stream can't be read", slog.String("pool", l.cfg.Pool), slog.Any("error", err))
	}
}

func (l *leader) muster(ctx context.Context) {
	if err := l.cfg.Bus.MusterWorkers(ctx, l.cfg.Pool); err != nil {
		l.cfg.Logger.Debug("muster failed", slog.String("pool", l.cfg.Pool), slog.Any("error", err))
	}
	open := func() { l.post(ctx, func() { l.open = true }) }
	if l.cfg.Takeover <= 0 {
		open()
		return
	}
	time.AfterFunc(l.cfg.Takeover, open)
}

func (l *leader) apply(p Policy) {
	l.policy = p
	l.capacity.Configure(p.Backend)
	if len(l.cfg.Share) > 1 {
		for name, c := range p.Classes {
			l.queue.SetWeight([]string{name}, c.Weight)
		}
	}
	l.cfg.Logger.Info("policy applied", slog.String("pool", l.cfg.Pool))
}

// tick does what time asks for.
func (l *leader) tick(now time.Time) {
	l.over.sweep(now)
	l.sweepElsewhere(now)
	l.expire(now)
	l.missWorkers(now)
	l.missProxies(now)
	l.progressWhole(now)
	l.rate.tick(now, l.queue.Len() > 0)
	l.publish(now)
}
