package calls

import (
	"context"
	"errors"

	"fairlane/scheduler"
)

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
		if d.buffered.Load() > d.cfg.MaxTotal {
			d.relieve()
		}
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
		if n.Kind == scheduler.NoticeLoad {
			d.cfg.Load(n.Pool, n.Load)
			continue
		}
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
	d.background.errand(attempt{}, func(ctx context.Context) error { return d.cfg.Bus.Dispatcher(pool).Cancel(ctx, id) }, nil)
}

// cancelAttempt ends an attempt at its worker. One that sends on meanwhile is not
// cancelled a second time.
func (d *Desk) cancelAttempt(id, worker string, f scheduler.Fence) {
	d.background.errand(attempt{id, worker, f}, func(ctx context.Context) error {
		err := d.cfg.Bus.Worker(worker).Cancel(ctx, id, f)
		if errors.Is(err, scheduler.ErrNoResponder) {
			return nil // the worker is gone, and its connections with it
		}
		return err
	}, nil)
}
