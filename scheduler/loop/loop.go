// Package loop holds the life of a goroutine that runs in the background for as long
// as its owner does: it is begun and ended with the owner, twice does no harm, and when
// the end was asked for it has come. It also holds how such a one rests.
package loop

import (
	"context"
	"sync"
	"time"
)

// Loop is one goroutine. The zero value waits for its Start.
type Loop struct {
	mu     sync.Mutex
	cancel context.CancelFunc // nil: it does not run
	done   sync.WaitGroup
}

// Start lets f run in the background until Stop, which ends its context; that of ctx
// does not, for whoever starts something may leave before it. A second Start is nothing;
// one after Stop begins anew.
func (l *Loop) Start(ctx context.Context, f func(ctx context.Context)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		return
	}
	ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	l.done.Go(func() { f(ctx) })
}

// Stop ends it and waits for it. A second Stop is nothing, but waits too.
func (l *Loop) Stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel == nil {
		return
	}
	l.cancel()
	l.done.Wait()
	l.cancel = nil
}

// Pause waits for d; false: ctx ended before.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
