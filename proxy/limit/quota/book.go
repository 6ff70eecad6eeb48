package quota

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fairlane/proxy/identity"
	"fairlane/proxy/limit"
)

// Value is an override as it is written.
type Value struct {
	Text  string
	Until time.Time // zero: until it is deleted
}

// Found is what lies under a name.
type Found struct {
	Text string
	Set  bool // false: nothing does
}

// Source is where overrides are kept.
type Source interface {
	// Read says what lies under names. With an error it says so of those names that it
	// could ask for.
	Read(ctx context.Context, names []string) (map[string]Found, error)
	// Ends says when those of the names end that do.
	Ends(ctx context.Context, names []string) (map[string]time.Time, error)
	// Names visits all names that begin with [Prefix], some at a time, and maybe one
	// more than once, until visit fails.
	Names(ctx context.Context, visit func(names []string) error) error
	// Write sets an override; one without a text is deleted.
	Write(ctx context.Context, name string, v Value) error
}

// Config is a book's.
type Config struct {
	Source Source
	Every  time.Duration // how often it reads what concerns those who came lately; 0: 500 ms
	All    time.Duration // between two walks through everything; 0: 30 s
	Wait   time.Duration // of somebody new for what is set for them; 0: 100 ms
	// Away says that the source does not answer, and that this is said elsewhere; nil: it
	// is not.
	Away    func() bool
	Metrics prometheus.Registerer // nil: none
	Logger  *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Every <= 0 {
		c.Every = 500 * time.Millisecond
	}
	if c.All <= 0 {
		c.All = 30 * time.Second
	}
	if c.Wait <= 0 {
		c.Wait = 100 * time.Millisecond
	}
	if c.Away == nil {
		c.Away = func() bool { return false }
	}
	return c
}

// override is one that is in force.
type override struct {
	name   Name
	text   string // as it was read last
	limits []limit.Limit
	said   string // the limits as they are told: the last good text
	bad    bool   // text can't be read, and limits are what was before
}

// Book knows the overrides of now.
type Book struct {
	cfg     Config
	invalid prometheus.Counter
	now     atomic.Pointer[map[Name]*override]
	asked   atomic.Pointer[map[Name]bool] // what the last tick has read
	away    atomic.Bool                   // the source does not answer, and nobody waits for it
	callers callers

	mu    sync.Mutex    // one change of now at a time
	newer map[Name]bool // what others have read since a tick began; nil: none is under way

	start, stop sync.Once
	stays       context.Context // ends with Stop
	cancel      context.CancelFunc
	running     sync.WaitGroup
}

// NewBook makes a book with nothing in it.
func NewBook(cfg Config) (*Book, error) {
	b := &Book{
		cfg: cfg.withDefaults(), callers: callers{most: mostCallers, now: map[string]*caller{}},
		invalid: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fairlane_quota_invalid_total", Help: "Overrides of limits that could not be read and were kept out.",
		}),
	}
	b.now.Store(&map[Name]*override{})
	b.asked.Store(&map[Name]bool{})
	b.stays, b.cancel = context.WithCancel(context.Background())
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(b.invalid); err != nil {
			return nil, fmt.Errorf("metrics of quotas: %w", err)
		}
	}
	return b, nil
}

// Start begins to read. Only the first call does.
func (b *Book) Start() {
	b.start.Do(func() {
		b.running.Go(func() {
			var of ticks
			b.each(b.cfg.Every, func() { b.tick(&of) })
		})
		b.running.Go(func() {
			var of walks
			b.each(b.cfg.All, func() { b.walk(&of) })
		})
	})
}

// each does something at once and then again and again, until Stop.
func (b *Book) each(d time.Duration, do func()) {
	every := time.NewTicker(d)
	defer every.Stop()
	for {
		do()
		select {
		case <-b.stays.Done():
			return
		case <-every.C:
		}
	}
}

// Stop ends the reading and waits for it. It may be called more than once, and
// without Start, which then does nothing any more. What is known stays.
func (b *Book) Stop() {
	b.start.Do(func() {})
	b.stop.Do(func() {
		b.cancel()
		b.callers.mu.Lock() // nobody begins to read for somebody new any more
		defer b.callers.mu.Unlock()
	})
	b.running.Wait()
}

// Meet says that somebody has come, as soon as it is known who: what is set for
// somebody new is read while their request is.
func (b *Book) Meet(id *identity.Identity) {
	if !id.Nobody {
		b.meet(id)
	}
}

// meet gives what is closed when it is known what is set for somebody; nil: it is.
func (b *Book) meet(id *identity.Identity) <-chan struct{} {
	name, now := id.UserKey, time.Now().Unix()
	if id.KeyID != "" {
		name += " " + id.KeyID
	}
	if known := b.callers.known(name, id, now); known != nil {
		return known.read
	}
	return b.callers.enter(name, id, now, func() <-chan struct{} { return b.begin(id) }).read
}

// begin reads what is set for somebody new.
func (b *Book) begin(id *identity.Identity) <-chan struct{} {
	names := b.unknown(id)
	if len(names) == 0 || b.away.Load() || b.stays.Err() != nil {
		return nil // if the source is away, the tick that finds it again reads for all
	}
	known := make(chan struct{})
	b.running.Go(func() {
		defer close(known)
		b.look(b.stays, names)
	})
	return known
}

// await waits for what meet gave, but not for long.
func (b *Book) await(known <-chan struct{}) {
	if known == nil {
		return
	}
	select {
	case <-known:
		return
	default:
	}
	enough := time.NewTimer(b.cfg.Wait)
	defer enough.Stop()
	select {
	case <-known:
	case <-enough.C:
		b.away.Store(true)
	}
}

// look reads names now.
func (b *Book) look(ctx context.Context, names []string) {
	soon, cancel := context.WithTimeout(ctx, b.cfg.Wait)
	defer cancel()
	found, err := b.cfg.Source.Read(soon, names)
	b.learn(soon, found)
	if err != nil && ctx.Err() == nil {
		b.away.Store(true)
	}
}
