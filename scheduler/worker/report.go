package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/loop"
)

// goodbyePatience bounds the last report.
const goodbyePatience = 2 * time.Second

// reporter tells one pool's dispatcher what happens. Events wait in order until
// a leader acknowledged them; a progress that is overtaken by another is dropped.
type reporter struct {
	w    *Worker
	pool string
	wake chan struct{}

	mu      sync.Mutex
	events  []scheduler.Event
	beatDue bool
	abort   context.CancelFunc // gives up the report that is under way; nil: none is
	leaving bool
	left    chan struct{}
}

func newReporter(w *Worker, pool string) *reporter {
	r := &reporter{w: w, pool: pool, wake: make(chan struct{}, 1), left: make(chan struct{})}
	r.beatNow() // a worker is of use as soon as it is known
	return r
}

func (r *reporter) add(ev scheduler.Event) {
	r.mu.Lock()
	r.events = append(r.events, ev)
	r.mu.Unlock()
	r.poke()
}

func (r *reporter) beatNow() {
	r.mu.Lock()
	r.beatDue = true
	r.mu.Unlock()
	r.poke()
}

// muster beats for a new leader. A report that is under way goes to its predecessor,
// who may have been stopped and not answer for long.
func (r *reporter) muster() {
	r.mu.Lock()
	if r.abort != nil {
		r.abort()
	}
	r.mu.Unlock()
	r.beatNow()
}

// leave sends what is left and a last beat, and waits for it, within reason.
func (r *reporter) leave() {
	r.mu.Lock()
	r.leaving = true
	r.mu.Unlock()
	r.poke()
	timer := time.NewTimer(goodbyePatience)
	defer timer.Stop()
	select {
	case <-r.left:
	case <-timer.C:
	}
}

func (r *reporter) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reporter) loop(ctx context.Context) {
	beat := time.NewTicker(r.w.cfg.Beat)
	defer beat.Stop()
	progress := time.NewTicker(r.w.cfg.Progress)
	defer progress.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			r.beatNow()
		case <-progress.C:
			r.progress()
		case <-r.wake:
		}
		if r.send(ctx) {
			close(r.left)
			return
		}
	}
}

// progress adds what every attempt generated since the last time.
func (r *reporter) progress() {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.w.attempts {
		if a.grant.Entry.Pool != r.pool {
			continue
		}
		if ev, ok := a.progress(); ok {
			r.events = append(r.events, ev)
		}
	}
}

// send tells what there is to tell; true: that was the last report.
func (r *reporter) send(ctx context.Context) (last bool) {
	for {
		report, leaving := r.next()
		if report == nil {
			return false
		}
		if err := r.tell(ctx, report); err != nil {
			return r.unsent(ctx, report, err) && leaving
		}
		for _, ev := range report.Events {
			if ev.Kind.Ends() {
				r.w.forget(key{ev.ID, ev.Fence})
			}
		}
		if leaving {
			return true
		}
	}
}

// tell is one try to reach a leader. There is no beat while it waits, so it waits
// for one beat at most: who loses an answer must not seem dead.
func (r *reporter) tell(ctx context.Context, report *scheduler.Report) error {
	ctx, cancel := context.WithTimeout(ctx, r.w.cfg.Beat)
	defer cancel()
	r.mayAbort(cancel)
	defer r.mayAbort(nil)
	return r.w.cfg.Bus.Dispatcher(r.pool).Report(ctx, report)
}

func (r *reporter) mayAbort(abort context.CancelFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.abort = abort
}

func (r *reporter) next() (*scheduler.Report, bool) {
	r.mu.Lock()
	events, beatDue, leaving := r.events, r.beatDue, r.leaving
	r.events, r.beatDue = nil, false
	r.mu.Unlock()
	if len(events) == 0 && !beatDue && !leaving {
		return nil, false
	}
	report := &scheduler.Report{Worker: r.w.cfg.ID, Pool: r.pool, Events: events}
	if beatDue || leaving {
		report.Beat = r.w.beat(r.pool)
		report.Beat.Leaving = leaving
	}
	return report, leaving
}

// unsent keeps what has to be told again and waits a little. A beat goes with
// it: the leader that hears it may be a new one, which knows nothing of the
// attempts that the events are about.
func (r *reporter) unsent(ctx context.Context, report *scheduler.Report, err error) bool {
	r.w.cfg.Logger.DebugContext(ctx, "no dispatcher heard the report", slog.String("pool", r.pool), slog.Any("error", err))
	keep := make([]scheduler.Event, 0, len(report.Events)) // who was told may be reading still
	for _, ev := range report.Events {
		if ev.Kind != scheduler.EventProgress {
			keep = append(keep, ev)
		}
	}
	r.mu.Lock()
	r.events = append(keep, r.events...)
	r.beatDue = true
	r.mu.Unlock()
	if !loop.Pause(ctx, r.w.cfg.Beat/5) {
		return true
	}
	r.poke()
	return false
}
