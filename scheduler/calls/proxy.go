package calls

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"fairlane/scheduler"
)

// cancelPatience is how long a cancel is repeated until somebody acknowledges it.
const cancelPatience = 10 * time.Second

// Handshake implements scheduler.Proxy.
func (d *Desk) Handshake(_ context.Context, h scheduler.Handshake) (*scheduler.Handover, error) {
	c := d.get(h.ID)
	if c == nil {
		return &scheduler.Handover{Verdict: scheduler.Gone}, nil
	}
	return c.shake(h), nil
}

// Frame implements scheduler.Proxy. A frame that nobody waits for is answered
// with a cancel.
func (d *Desk) Frame(f *scheduler.Frame) error {
	c := d.get(f.ID)
	if c != nil && c.frame(f) {
		return nil
	}
	if f.Type != scheduler.FrameEnd && f.Type != scheduler.FrameErr {
		d.cancelAttempt(f.ID, f.Worker, f.Fence)
	}
	return scheduler.ErrUnknownCall
}

// Notify implements scheduler.Proxy.
func (d *Desk) Notify(ns []scheduler.Notice) error {
	for _, n := range ns {
		if c := d.get(n.ID); c != nil {
			c.notice(n)
		}
	}
	return nil
}

// Ping implements scheduler.Proxy.
func (d *Desk) Ping(context.Context) error { return nil }

// recall ends a call everywhere: at its worker, so that it works without a
// leader, and at the dispatcher.
func (d *Desk) recall(id, pool, worker string, f scheduler.Fence) {
	if worker != "" {
		d.cancelAttempt(id, worker, f)
	}
	d.errand(func(ctx context.Context) error { return d.cfg.Bus.Dispatcher(pool).Cancel(ctx, id) })
}

func (d *Desk) cancelAttempt(id, worker string, f scheduler.Fence) {
	d.errand(func(ctx context.Context) error {
		err := d.cfg.Bus.Worker(worker).Cancel(ctx, id, f)
		if errors.Is(err, scheduler.ErrNoResponder) {
			return nil // the worker is gone, and its connections with it
		}
		return err
	})
}

// errand repeats f until it succeeds, in the background.
func (d *Desk) errand(f func(context.Context) error) {
	d.errands.Go(func() {
		ctx, cancel := context.WithTimeout(d.errandsC, cancelPatience)
		defer cancel()
		for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
			err := f(ctx)
			if err == nil {
				return
			}
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				d.cfg.Logger.Debug("a cancel was not acknowledged", slog.Any("error", err))
				return
			}
		}
	})
}

func publishProblem(err error) *scheduler.Problem {
	if p, ok := errors.AsType[*scheduler.Problem](err); ok {
		return p
	}
	return scheduler.Refusal(scheduler.CodeOverloaded, scheduler.ReasonStore, 2*time.Second,
		"the queue's store does not answer; please try again in a few seconds")
}
