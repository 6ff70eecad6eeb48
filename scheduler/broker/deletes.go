package broker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"fairlane/scheduler/loop"
)

const (
	deleters      = 8 // deletes of one stream under way at once
	deleteTry     = 2 * time.Second
	closePatience = 2 * time.Second
	// gather is how long deletes wait for others. A file store makes a new file
	// whenever its last one has become empty, which on a quiet queue would be after
	// each request.
	gather = 50 * time.Millisecond
)

// deletes gathers what is done, and takes it out of the stream in the background:
// all that lies before the first entry that is still there at once, the rest one
// by one. Its goroutine lives only while there is work.
type deletes struct {
	erase  func(ctx context.Context, seq uint64) error
	purge  func(ctx context.Context, before uint64) error
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc
	hurry  chan struct{} // closed when nothing more comes
	group  sync.WaitGroup

	mu      sync.Mutex
	reading *reading // the last that began; nil: none has
	waiting []uint64
	active  bool
	closed  bool
}

func newDeletes(erase, purge func(context.Context, uint64) error, log *slog.Logger) *deletes {
	ctx, cancel := context.WithCancel(context.Background())
	return &deletes{erase: erase, purge: purge, log: log, ctx: ctx, cancel: cancel, hurry: make(chan struct{})}
}

// follow says who reads the stream from now on.
func (d *deletes) follow(r *reading) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reading = r
}

func (d *deletes) add(seq uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	if d.reading != nil {
		d.reading.drop(seq)
	}
	d.waiting = append(d.waiting, seq)
	if !d.active {
		d.active = true
		d.group.Go(d.work)
	}
}

// round is what is deleted at once.
type round struct {
	before  uint64   // all entries before this one; 0: none
	covered []uint64 // those that were asked for
	single  []uint64 // one by one
}

func (d *deletes) work() {
	for wait := gather; ; {
		d.pause(wait)
		r, ok := d.next()
		if !ok {
			return
		}
		failed, err := d.try(r)
		if len(failed) == 0 {
			wait = gather
			continue
		}
		wait = min(2*wait, deleteTry)
		d.mu.Lock()
		d.waiting = append(failed, d.waiting...)
		d.mu.Unlock()
		if d.ctx.Err() != nil {
			d.log.Warn("entries could not be deleted before the end", slog.Int("entries", len(failed)), slog.Any("error", err))
			return
		}
	}
}

// pause gathers for a moment, or gives what failed its time. At the end there is
// little: what gathers is not waited for, what failed for a moment only.
func (d *deletes) pause(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.ctx.Done():
	case <-d.hurry:
		if wait > gather {
			loop.Pause(d.ctx, gather)
		}
	}
}

func (d *deletes) next() (round, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waiting) == 0 {
		d.active = false
		return round{}, false
	}
	var r round
	first := uint64(0)
	if d.reading != nil {
		first = d.reading.first()
	}
	for _, seq := range d.waiting {
		if seq < first {
			r.covered = append(r.covered, seq)
		} else {
			r.single = append(r.single, seq)
		}
	}
	d.waiting = nil
	if len(r.covered) > 1 {
		r.before = first
	} else {
		r.single, r.covered = append(r.single, r.covered...), nil
	}
	return r, true
}

// try returns what has to be tried again, and why.
func (d *deletes) try(r round) (failed []uint64, why error) {
	if r.before > 0 {
		if err := d.purge(d.ctx, r.before); err != nil {
			failed, why = r.covered, err
		}
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	slots := make(chan struct{}, deleters)
	for _, seq := range r.single {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if err := d.erase(d.ctx, seq); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed, why = append(failed, seq), err
			}
		})
	}
	group.Wait()
	return failed, why
}

// close takes no more, and waits for what is left until the deadline.
func (d *deletes) close(deadline time.Time) {
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		close(d.hurry)
	}
	d.mu.Unlock()
	timer := time.AfterFunc(time.Until(deadline), d.cancel)
	d.group.Wait()
	timer.Stop()
	d.cancel()
}
