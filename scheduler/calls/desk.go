package calls

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"fairlane/scheduler"
)

// Bus reaches the other roles.
type Bus interface {
	Worker(id string) scheduler.Worker
	Dispatcher(pool string) scheduler.Dispatcher
}

// Publisher puts entries into a pool's stream.
type Publisher interface {
	Publish(ctx context.Context, e *scheduler.Entry) (uint64, error)
}

// Config is a desk's.
type Config struct {
	ID        string               // of this proxy, in every entry
	NewID     func() string        // makes the id of a request
	Streams   map[string]Publisher // by pool
	Bus       Bus
	Beat      time.Duration // 0: 500 ms
	MaxBuffer int           // bytes of a stream that wait for one client; 0: 8 MB
	MaxTotal  int64         // bytes that wait for all of them; 0: 256 MB
	// Load hears every second how loaded a pool is, from -scheduler.MostLoad to
	// scheduler.MostLoad, and must not block. nil: nobody cares.
	Load   func(pool string, level int)
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Beat <= 0 {
		c.Beat = 500 * time.Millisecond
	}
	if c.MaxBuffer <= 0 {
		c.MaxBuffer = 8 << 20
	}
	if c.MaxTotal <= 0 {
		c.MaxTotal = 256 << 20
	}
	if c.Load == nil {
		c.Load = func(string, int) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Desk holds the open calls of one proxy. It is the proxy as the other roles
// see it.
type Desk struct {
	cfg      Config
	buffered atomic.Int64 // bytes that wait for clients, over all calls

	mu     sync.RWMutex
	calls  map[string]*call
	unread map[*call]bool  // of those that are over, whose bytes still wait
	led    map[string]bool // pools whose dispatcher has heard a beat

	relief sync.Mutex // one at a time sees to it that not too much waits

	background background

	life   sync.Mutex
	cancel context.CancelFunc
	loops  sync.WaitGroup
}

var _ scheduler.Proxy = (*Desk)(nil)

// New makes a desk.
func New(cfg Config) *Desk {
	cfg = cfg.withDefaults()
	return &Desk{cfg: cfg, calls: map[string]*call{}, unread: map[*call]bool{}, led: map[string]bool{}, background: background{log: cfg.Logger}}
}

// ID is the proxy's, as entries carry it.
func (d *Desk) ID() string { return d.cfg.ID }

// Open is the number of open calls.
func (d *Desk) Open() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.calls)
}

// Unled names a pool of which no dispatcher has heard this proxy yet; empty: there
// is none. A leader that goes away later is replaced, and calls wait for the next.
func (d *Desk) Unled() string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for pool := range d.cfg.Streams {
		if !d.led[pool] {
			return pool
		}
	}
	return ""
}

func (d *Desk) heard(pool string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.led[pool] = true
}

// Start begins to beat. A second Start is nothing.
func (d *Desk) Start(ctx context.Context) {
	d.life.Lock()
	defer d.life.Unlock()
	if d.cancel != nil {
		return
	}
	ctx, d.cancel = context.WithCancel(context.WithoutCancel(ctx))
	d.background.start(context.WithoutCancel(ctx)) // they outlive the loop
	for pool := range d.cfg.Streams {
		d.loops.Go(func() { d.beat(ctx, pool) })
	}
	d.loops.Go(func() { newWatch(d).loop(ctx) })
}

// Stop ends what is open, says goodbye to the dispatchers, lets cancels that are
// under way arrive, and ends. A second Stop is nothing.
func (d *Desk) Stop() {
	d.life.Lock()
	defer d.life.Unlock()
	if d.cancel == nil {
		return
	}
	for _, c := range d.all() { // a client that still waits would cancel too late
		c.fail(scheduler.Problemf(scheduler.CodeShuttingDown, "fairlane is shutting down; please try again"))
	}
	d.cancel()
	d.loops.Wait()
	d.goodbye()
	d.background.stop()
	d.cancel = nil
}

func (d *Desk) goodbye() {
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	var wg sync.WaitGroup
	for pool := range d.cfg.Streams {
		wg.Go(func() {
			if err := d.cfg.Bus.Dispatcher(pool).ProxyBeat(ctx, d.cfg.ID, true); err != nil {
				d.cfg.Logger.Debug("goodbye to the dispatcher failed", slog.String("pool", pool), slog.Any("error", err))
			}
		})
	}
	wg.Wait()
}

func (d *Desk) put(c *call) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls[c.id] = c
}

func (d *Desk) get(id string) *call {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.calls[id]
}

// remove takes a call that is over, whose lock is held.
func (d *Desk) remove(c *call) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.calls, c.id)
	if c.bytes > 0 {
		d.unread[c] = true
	}
}

// read forgets a call that was over, of which nothing waits any more.
func (d *Desk) read(c *call) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.unread, c)
}

// rename gives a call a new id: the old one is gone for whoever asks.
func (d *Desk) rename(c *call, old, id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.calls, old)
	d.calls[id] = c
}

func (d *Desk) all() []*call {
	d.mu.RLock()
	defer d.mu.RUnlock()
	out := make([]*call, 0, len(d.calls))
	for _, c := range d.calls {
		out = append(out, c)
	}
	return out
}
