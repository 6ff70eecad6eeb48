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

// Value is an override as it lies in a source.
type Value struct {
	Text  string
	Until time.Time // zero: until it is deleted
}

// Source is where overrides are kept.
type Source interface {
	// Read gives the texts of those names that are set. It may give others, too.
	Read(ctx context.Context, names []string) (map[string]string, error)
	// List gives all whose name begins with [Prefix].
	List(ctx context.Context) (map[string]Value, error)
	// Write sets an override; one without a text is deleted.
	Write(ctx context.Context, name string, v Value) error
}

// Config is a book's.
type Config struct {
	Source  Source
	Every   time.Duration         // how often it reads what it knows; 0: 500 ms
	All     time.Duration         // how often it reads everything; 0: 30 s
	Metrics prometheus.Registerer // nil: none
	Logger  *slog.Logger
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
	callers callers

	mu      sync.Mutex // one change of now at a time
	unread  bool       // the source does not answer, and that is said
	listed  time.Time
	start   sync.Once
	stop    sync.Once
	cancel  context.CancelFunc
	stopped chan struct{}
}

// NewBook makes a book with nothing in it.
func NewBook(cfg Config) (*Book, error) {
	if cfg.Every <= 0 {
		cfg.Every = 500 * time.Millisecond
	}
	if cfg.All <= 0 {
		cfg.All = 30 * time.Second
	}
	b := &Book{cfg: cfg, callers: callers{most: mostCallers, all: map[string]*caller{}}, stopped: make(chan struct{}), invalid: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "fairlane_quota_invalid_total", Help: "Overrides of limits that could not be read and were kept out.",
	})}
	b.now.Store(&map[Name]*override{})
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(b.invalid); err != nil {
			return nil, fmt.Errorf("metrics of quotas: %w", err)
		}
	}
	return b, nil
}

// Start reads all, and goes on reading. Only the first call does.
func (b *Book) Start(ctx context.Context) {
	b.start.Do(func() {
		stays, cancel := context.WithCancel(context.WithoutCancel(ctx))
		b.cancel = cancel
		b.refresh(stays)
		go func() {
			defer close(b.stopped)
			every := time.NewTicker(b.cfg.Every)
			defer every.Stop()
			for {
				select {
				case <-stays.Done():
					return
				case <-every.C:
					b.refresh(stays)
				}
			}
		}()
	})
}

// Stop ends the reading and waits for it. It may be called more than once, and
// without Start, which then does nothing any more. What is known stays.
func (b *Book) Stop() {
	b.start.Do(func() { b.cancel = func() {}; close(b.stopped) })
	b.stop.Do(func() { b.cancel() })
	<-b.stopped
}

// caller is somebody who came lately.
type caller struct {
	id   atomic.Pointer[identity.Identity]
	seen atomic.Int64 // unix seconds
}

const (
	mostCallers = 1 << 16
	lately      = 60 // seconds
)

// callers are those who came lately, bounded.
type callers struct {
	most int // that are remembered

	mu  sync.RWMutex
	all map[string]*caller // by user key and key
}

// note remembers that somebody came, with who they are now.
func (c *callers) note(id *identity.Identity) {
	now := time.Now().Unix()
	name := id.UserKey
	if id.KeyID != "" {
		name += " " + id.KeyID
	}
	c.mu.RLock()
	known := c.all[name]
	c.mu.RUnlock()
	if known == nil {
		if known = c.add(name, now); known == nil {
			return
		}
	}
	known.id.Store(id)
	known.seen.Store(now)
}

// add makes room if it has to; nil: there is none.
func (c *callers) add(name string, now int64) *caller {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) >= c.most {
		for name, old := range c.all {
			if old.seen.Load() < now-lately {
				delete(c.all, name)
			}
		}
	}
	if len(c.all) >= c.most {
		return nil
	}
	if c.all[name] == nil {
		c.all[name] = &caller{}
		c.all[name].seen.Store(now)
	}
	return c.all[name]
}

// each visits who came since a time in unix seconds.
func (c *callers) each(since int64, visit func(*identity.Identity)) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, one := range c.all {
		if id := one.id.Load(); id != nil && one.seen.Load() >= since {
			visit(id)
		}
	}
}
