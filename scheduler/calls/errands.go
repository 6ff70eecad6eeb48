package calls

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/loop"
)

const (
	// errandPatience is how long an errand is repeated until somebody acknowledges it.
	errandPatience = 10 * time.Second
	// stopPatience is how much longer those under way have when the desk stops.
	stopPatience = time.Second
)

// attempt is one as its worker knows it.
type attempt struct {
	id, worker string
	fence      scheduler.Fence
}

// background is where a desk runs its errands.
type background struct {
	log *slog.Logger

	ctx      context.Context // of all of them; does not change while one is under way
	mu       sync.Mutex
	cancel   context.CancelFunc // ends them; nil: none is begun
	by       map[attempt]bool
	underWay sync.WaitGroup // grows only while cancel is set
}

func (b *background) start(ctx context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ctx, b.cancel = context.WithCancel(ctx)
	b.by = map[attempt]bool{}
}

// stop takes no more errands, gives those under way a little time, and ends them.
func (b *background) stop() {
	b.mu.Lock()
	cancel := b.cancel
	b.cancel = nil
	b.mu.Unlock()
	if cancel == nil {
		return
	}
	defer cancel()
	timer := time.AfterFunc(stopPatience, cancel)
	defer timer.Stop()
	b.underWay.Wait()
}

// errand repeats do until it succeeds or is given up, and then calls done, if there
// is one. Of an attempt there is one errand at a time; the zero one stands for none.
func (b *background) errand(of attempt, do func(context.Context) error, done func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cancel == nil || b.by[of] {
		return
	}
	if of != (attempt{}) {
		b.by[of] = true
	}
	b.underWay.Go(func() {
		ctx, cancel := context.WithTimeout(b.ctx, errandPatience)
		defer cancel()
		b.repeat(ctx, do)
		b.ended(of, done)
	})
}

func (b *background) repeat(ctx context.Context, do func(context.Context) error) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := do(ctx)
		if err == nil {
			return
		}
		if !loop.Pause(ctx, wait) {
			b.log.DebugContext(ctx, "an errand was given up", slog.Any("error", err))
			return
		}
	}
}

func (b *background) ended(of attempt, done func()) {
	b.mu.Lock()
	delete(b.by, of)
	b.mu.Unlock()
	if done != nil {
		done()
	}
}
