package dispatcher

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/loop"
	"fairlane/scheduler/turn"
)

const (
	tick = 250 * time.Millisecond
	// sleepy is a gap between two ticks after which nobody is taken for dead
	// because of a silence that was ours.
	sleepy = 4 * tick
	// doubt is how often the lease is looked at while it is not valid.
	doubt = 20 * time.Millisecond
	// remembered is how long the id of a request that is over is kept: a cancel
	// may overtake its entry, a report may come twice.
	remembered = time.Minute
)

// leader is one term. All fields belong to the goroutine in run, but for inbox
// and done.
type leader struct {
	cfg      *Config
	ctx      context.Context // of the term
	policy   Policy
	epoch    scheduler.Fence
	takeover time.Duration
	inbox    chan func()
	done     chan struct{}
	say      func(*Status) // tells how the pool stands

	turn  *turn.Decider
	items map[string]*item
	// elsewhere are requests whose answer runs on an attempt that is not ours.
	elsewhere map[string]elsewhere
	over      tombstones
	troubles  map[string]*trouble // of requests that are not over
	suspects  []Suspect
	expiries  expiries
	users     map[string]userState // those of whom requests wait
	classes   map[string]*classState
	workers   map[string]*workerState
	proxies   map[string]time.Time // last beat
	notices   map[string][]scheduler.Notice
	waiters   []waiter // that came, or came back, in this pass
	undeleted []uint64
	names     names

	drain      turn.Drain
	load       turn.Load
	loadAt     time.Time // when it was last looked at, and told
	service    serviceTimes
	inversions map[[2]string]*inversion   // by the names of the classes, the heavier first
	preempted  map[string]capacity.Sample // the last one counted, by backend
	rand       *rand.Rand
	sharesAt   time.Time
	invertAt   time.Time
	slice      int

	loaded   bool // all entries that were there are read
	open     bool // and what runs is adopted: granting may begin
	attempts uint32
	by       *workerState // that is to run who is taken next
	short    bool         // a head waits for capacity
	blocked  blocked      // what the last dispatch was held by
	obstacle obstacle     // the same, in one word
	held     held
	receipts receipts
	noneUp   time.Time // since when no backend is up; zero: one is
	upAgain  time.Time // when that was over last
	started  time.Time
	ticked   time.Time
	savedAt  time.Time
	saving   atomic.Bool
	wake     *time.Timer
}

func newLeader(ctx context.Context, cfg *Config, p Policy, epoch scheduler.Fence) (*leader, error) {
	if len(p.Share) == 0 {
		p.Share = cfg.Share
	}
	now := time.Now()
	l := &leader{
		cfg: cfg, ctx: ctx, policy: p, epoch: epoch, say: func(*Status) {},
		inbox: make(chan func(), inboxSize), done: make(chan struct{}),
		items: map[string]*item{}, elsewhere: map[string]elsewhere{}, over: newTombstones(remembered), troubles: map[string]*trouble{},
		users: map[string]userState{}, classes: map[string]*classState{},
		workers: map[string]*workerState{}, proxies: map[string]time.Time{}, notices: map[string][]scheduler.Notice{},
		names: names{}, inversions: map[[2]string]*inversion{}, preempted: map[string]capacity.Sample{},
		rand:   rand.New(rand.NewPCG(uint64(epoch.Bucket), uint64(epoch.Revision))),
		noneUp: now, started: now, ticked: now, savedAt: now, wake: time.NewTimer(time.Hour),
	}
	l.receipts = newReceipts(l, cfg.Receipts, now)
	var err error
	l.turn, err = turn.New(turn.Config{Policy: p.turn(cfg.Cost), Backends: p.Backend, Reach: l.reaches, Past: l.went})
	return l, err
}

// run leads until ctx ends.
func (l *leader) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	l.ctx = ctx
	tailed := make(chan struct{})
	stop := l.serve(ctx)
	defer func() {
		cancel()
		close(l.done) // nobody waits for us any more, and so nobody keeps stop
		stop()
		<-tailed
		l.cfg.Metrics.drop(l.cfg.Pool)
	}()
	l.cfg.Logger.DebugContext(ctx, "leading", slog.String("pool", l.cfg.Pool), slog.String("epoch", l.epoch.String()))
	go func() { defer close(tailed); l.tail(ctx) }()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	defer l.wake.Stop()
	l.tick(time.Now())
	for l.pass(ctx, ticker) {
	}
}

// serve lets the others reach us. A predecessor in this process may need a moment
// to leave.
func (l *leader) serve(ctx context.Context) (stop func()) {
	for {
		stop, err := l.cfg.Bus.ServeDispatcher(l.cfg.Pool, role{l})
		if err == nil {
			return stop
		}
		l.cfg.Logger.ErrorContext(ctx, "the pool can't be led", slog.String("pool", l.cfg.Pool), slog.Any("error", err))
		if !loop.Pause(ctx, tick) {
			return func() {}
		}
	}
}

// pass waits for something to do, and does it; false: the term is over. What was
// said to us comes before what time asks for: a beat that lies in the inbox is one.
func (l *leader) pass(ctx context.Context, ticker *time.Ticker) bool {
	var f func()
	due := false
	select {
	case <-ctx.Done():
		return false
	case f = <-l.inbox:
	case <-ticker.C:
		due = true
	case <-l.wake.C:
	}
	if !l.leads(ctx) {
		return false
	}
	if f != nil {
		f()
	}
	l.drainInbox()
	if due {
		l.tick(time.Now())
	}
	l.grantAll()
	l.flushNotices()
	return true
}

// leads waits while the lease is in doubt; false: the term is over. Whoever is
// stopped in the middle of its work and goes on after another one took over does
// nothing more.
func (l *leader) leads(ctx context.Context) bool {
	for !l.cfg.Lease.Valid() {
		if !loop.Pause(ctx, doubt) {
			return false
		}
	}
	return ctx.Err() == nil
}

// tail reads the stream, opens the queue when it is loaded and what runs was
// told, and goes on reading.
func (l *leader) tail(ctx context.Context) {
	l.recall(ctx)
	fn := func(seq uint64, e *scheduler.Entry, err error) {
		l.post(func() { l.arrive(seq, e, err) })
	}
	loaded := func() { l.muster(ctx) }
	if err := l.cfg.Stream.Tail(ctx, 1, fn, loaded); err != nil && ctx.Err() == nil {
		l.cfg.Logger.ErrorContext(ctx, "the stream can't be read", slog.String("pool", l.cfg.Pool), slog.Any("error", err))
	}
}

func (l *leader) muster(ctx context.Context) {
	l.post(func() { l.loaded = true })
	if err := l.cfg.Bus.MusterWorkers(ctx, l.cfg.Pool); err != nil {
		l.cfg.Logger.DebugContext(ctx, "muster failed", slog.String("pool", l.cfg.Pool), slog.Any("error", err))
	}
	open := func() { l.post(l.begin) }
	if l.takeover <= 0 {
		open()
		return
	}
	time.AfterFunc(l.takeover, open)
}

// begin lets granting begin. What runs is known now, so what is past its deadline
// did wait.
func (l *leader) begin() {
	l.open = true
	l.dropTroubles()
	l.expire(time.Now())
}

func (l *leader) apply(p Policy) {
	if len(p.Share) == 0 {
		p.Share = l.cfg.Share
	}
	l.policy = p
	l.turn.Pool.Configure(p.Backend)
	if err := l.turn.Apply(p.turn(l.cfg.Cost), l.arrived(), l.flying()); err != nil { // refused where the policy was read
		l.cfg.Logger.Error("the queue keeps its tree", slog.String("pool", l.cfg.Pool), slog.Any("error", err))
	}
	clear(l.inversions)
	l.backends(time.Now())
	l.cfg.Metrics.begin(l.cfg.Pool, l.turn.Pool.Backends())
	l.cfg.Logger.Info("policy applied", slog.String("pool", l.cfg.Pool))
}

// tick does what time asks for.
func (l *leader) tick(now time.Time) {
	l.awake(now)
	l.deleteRest()
	l.over.sweep(now)
	l.sweepElsewhere(now)
	l.expire(now)
	l.shed(now)
	l.endHold(now)
	l.missWorkers(now)
	l.missProxies(now)
	l.progressWhole(now)
	l.drain.Expect(l.turn.Foresee(l.running))
	l.drain.Tick(now, l.short)
	l.weigh(now)
	l.invert(now)
	l.publish(now)
	l.remember(now)
}

// awake finds out whether we stood still or were cut off, and then takes nobody's
// silence in that time for death.
func (l *leader) awake(now time.Time) {
	gap := now.Sub(l.ticked)
	l.ticked = now
	deaf := l.cfg.Up != nil && l.cfg.Up() != nil
	if gap < sleepy && !deaf {
		return
	}
	if gap >= sleepy {
		l.cfg.Logger.Warn("the leader stood still", slog.String("pool", l.cfg.Pool), slog.Duration("gap", gap))
	}
	for _, w := range l.workers {
		w.lastBeat = now
	}
	for id := range l.proxies {
		l.proxies[id] = now
	}
}

// delete takes an entry out of the stream. While the lease is in doubt that waits.
func (l *leader) delete(seq uint64) {
	switch {
	case seq == 0: // adopted, and its entry was not read yet
	case l.cfg.Lease.Valid():
		l.cfg.Stream.Delete(seq)
	default:
		l.undeleted = append(l.undeleted, seq)
	}
}

func (l *leader) deleteRest() {
	rest := l.undeleted
	l.undeleted = nil
	for _, seq := range rest {
		l.delete(seq)
	}
}
