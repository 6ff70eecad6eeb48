package proxy

import (
	"context"
	"sync"
	"time"
)

// flight is what is being served. Once it drains nothing enters it any more.
type flight struct {
	mu   sync.Mutex
	n    int
	over bool          // it drains
	none chan struct{} // closed when it drains and is empty
}

func newFlight() flight { return flight{none: make(chan struct{})} }

// enter is false while draining; otherwise leave is owed.
func (f *flight) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return false
	}
	f.n++
	return true
}

func (f *flight) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n--; f.over && f.n == 0 {
		close(f.none)
	}
}

func (f *flight) drain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.over && f.n == 0 {
		close(f.none)
	}
	f.over = true
}

func (f *flight) draining() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.over
}

// landed waits until nothing is being served; false: not for so long.
func (f *flight) landed(ctx context.Context, patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-f.none:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}
