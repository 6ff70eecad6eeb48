package dispatcher

import (
	"context"
	"time"

	"fairlane/scheduler"
)

// role is the leader as the other roles see it.
type role struct{ l *leader }

var (
	_ scheduler.Dispatcher = role{}
	_ scheduler.Explainer  = role{}
	_ scheduler.Lister     = role{}
)

// Report implements scheduler.Dispatcher. It is acknowledged when it was taken
// into account, not before.
func (r role) Report(ctx context.Context, rep *scheduler.Report) error {
	return r.ask(ctx, func() { r.l.report(rep) }) //nolint:contextcheck // a cancel that follows from it is the term's errand
}

// Cancel implements scheduler.Dispatcher.
func (r role) Cancel(ctx context.Context, id string) error {
	return r.ask(ctx, func() { r.l.cancelled(id) })
}

// ProxyBeat implements scheduler.Dispatcher.
func (r role) ProxyBeat(ctx context.Context, proxy string, leaving bool) error {
	return r.ask(ctx, func() {
		if leaving {
			r.l.dropProxy(proxy)
			return
		}
		r.l.proxies[proxy] = time.Now()
	})
}

// Where implements scheduler.Dispatcher. Before the stream was read nothing can be
// said: a proxy that heard twice that its call is unknown publishes it again.
func (r role) Where(ctx context.Context, ids []string) ([]scheduler.Notice, error) {
	var out []scheduler.Notice
	loaded := false
	err := r.ask(ctx, func() {
		if loaded = r.l.loaded; loaded {
			out = r.l.where(ids)
		}
	})
	if err == nil && !loaded {
		err = scheduler.ErrNotLeader
	}
	return out, err
}

// Explain implements scheduler.Explainer.
func (r role) Explain(ctx context.Context, q scheduler.ReceiptQuery) ([]scheduler.Receipt, error) {
	var out []scheduler.Receipt
	err := r.ask(ctx, func() { out = r.l.receipts.explain(q) })
	return out, err
}

// List implements scheduler.Lister.
func (r role) List(ctx context.Context, user string) ([]scheduler.Listed, error) {
	var out []scheduler.Listed
	err := r.ask(ctx, func() { out = r.l.mine(user) })
	return out, err
}

func (r role) ask(ctx context.Context, f func()) error {
	if !r.l.ask(ctx, f) {
		return scheduler.ErrNotLeader
	}
	return nil
}
