package history

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/loop"
)

const (
	flushEvery = time.Second
	openFor    = 2 * time.Second // after which what is open is kept, too
	batch      = 512             // halves in one piece
	mostHalves = 16 * batch      // that gather
	lastFlush  = 2 * time.Second // at Stop
)

// Log is where pieces are kept. All processes share it.
type Log interface {
	Append(ctx context.Context, data []byte) error
	// Scan reads what was appended since a time, in order, until fn is false.
	Scan(ctx context.Context, since time.Time, fn func(data []byte) bool) error
}

// Config is a book's.
type Config struct {
	Log     Log
	Leaders []scheduler.Explainer // of all pools
	// Dropped is called with the number of halves that were not kept; nil: nobody
	// counts.
	Dropped func(n int)
	Logger  *slog.Logger
}

// Book takes receipts and finds them again. None of Began, Ended and Queued blocks.
type Book struct {
	cfg  Config
	full chan struct{} // holds a token while a piece is full

	mu      sync.Mutex
	open    map[string]*scheduler.Receipt // of the edge, not kept yet
	halves  []*scheduler.Receipt          // that wait to be kept
	dropped int                           // since the last flush

	flushing sync.Mutex // one at a time writes
	pack     packer

	writer loop.Loop
}

// New makes a book.
func New(cfg Config) *Book {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Dropped == nil {
		cfg.Dropped = func(int) {}
	}
	return &Book{cfg: cfg, full: make(chan struct{}, 1), open: map[string]*scheduler.Receipt{}}
}

// Start begins to write. A second Start is nothing.
func (b *Book) Start(ctx context.Context) { b.writer.Start(ctx, b.write) }

// Stop writes what is left, within 2 s. A second Stop is nothing.
func (b *Book) Stop() { b.writer.Stop() }

func (b *Book) write(ctx context.Context) {
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
			defer cancel()
			b.flush(last)
			return
		case <-ticker.C:
			b.overdue(time.Now())
		case <-b.full:
		}
		b.flush(ctx)
	}
}

// Began takes the edge's half of a request that is in the queue. It is not changed
// any more.
func (b *Book) Began(r *scheduler.Receipt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open[r.CallID] = r
}

// Ended takes the edge's half of a request that is over. It is not changed any more.
func (b *Book) Ended(r *scheduler.Receipt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, r.CallID)
	b.keepLocked(r)
}

// Queued takes the leader's half of a request that is over. It is not changed any
// more.
func (b *Book) Queued(r *scheduler.Receipt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keepLocked(r)
}

func (b *Book) keepLocked(r *scheduler.Receipt) {
	if len(b.halves) >= mostHalves {
		b.halves = b.halves[batch:]
		b.dropped += batch
	}
	b.halves = append(b.halves, r)
	if len(b.halves)%batch == 0 {
		select {
		case b.full <- struct{}{}:
		default:
		}
	}
}

// overdue lets what is open for long be kept.
func (b *Book) overdue(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, r := range b.open {
		if now.Sub(r.At) >= openFor {
			delete(b.open, id)
			b.keepLocked(r)
		}
	}
}

// flush writes what has gathered. What the log does not take waits for the next
// time.
func (b *Book) flush(ctx context.Context) {
	b.flushing.Lock()
	defer b.flushing.Unlock()
	for {
		halves := b.take()
		if len(halves) == 0 {
			return
		}
		piece, err := b.pack.pack(halves)
		if err != nil { // no second try would fare better
			b.cfg.Logger.ErrorContext(ctx, "receipts can't be written and are dropped", slog.Int("receipts", len(halves)), slog.Any("error", err))
			b.cfg.Dropped(len(halves))
			continue
		}
		if err := b.cfg.Log.Append(ctx, piece); err != nil {
			b.cfg.Logger.DebugContext(ctx, "receipts were not kept and wait", slog.Int("receipts", len(halves)), slog.Any("error", err))
			b.putBack(halves)
			return
		}
	}
}

// take takes the oldest halves, as many as go into one piece.
func (b *Book) take() []*scheduler.Receipt {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dropped > 0 {
		b.cfg.Logger.Warn("receipts were dropped: the store does not take them", slog.Int("receipts", b.dropped))
		b.cfg.Dropped(b.dropped)
		b.dropped = 0
	}
	n := min(len(b.halves), batch)
	out := b.halves[:n:n]
	if b.halves = b.halves[n:]; len(b.halves) == 0 {
		b.halves = nil
	}
	return out
}

func (b *Book) putBack(halves []*scheduler.Receipt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.halves)+len(halves) > mostHalves {
		b.dropped += len(halves)
		return
	}
	b.halves = append(halves, b.halves...)
}
