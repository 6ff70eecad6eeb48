package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"fairlane/scheduler"
)

// proxyBeat is a proxy's heartbeat on its way.
type proxyBeat struct {
	Proxy   string `json:"proxy"`
	Leaving bool   `json:"leaving,omitempty"`
}

// dispatcherAt is the leader of a pool, whoever it is.
type dispatcherAt struct {
	b    *Bus
	pool string
}

// Report implements scheduler.Dispatcher.
func (d *dispatcherAt) Report(ctx context.Context, r *scheduler.Report) error {
	if local := d.b.localDispatcher(d.pool); local != nil {
		return local.Report(ctx, r)
	}
	return d.ask(ctx, verbReport, r, nil)
}

// Cancel implements scheduler.Dispatcher.
func (d *dispatcherAt) Cancel(ctx context.Context, id string) error {
	if local := d.b.localDispatcher(d.pool); local != nil {
		return local.Cancel(ctx, id)
	}
	return d.ask(ctx, verbRecall, id, nil)
}

// ProxyBeat implements scheduler.Dispatcher.
func (d *dispatcherAt) ProxyBeat(ctx context.Context, proxy string, leaving bool) error {
	if local := d.b.localDispatcher(d.pool); local != nil {
		return local.ProxyBeat(ctx, proxy, leaving)
	}
	return d.ask(ctx, verbBeat, proxyBeat{proxy, leaving}, nil)
}

// Where implements scheduler.Dispatcher.
func (d *dispatcherAt) Where(ctx context.Context, ids []string) ([]scheduler.Notice, error) {
	if local := d.b.localDispatcher(d.pool); local != nil {
		return local.Where(ctx, ids)
	}
	var out []scheduler.Notice
	err := d.ask(ctx, verbWhere, ids, &out)
	return out, err
}

// Explain implements scheduler.Explainer.
func (d *dispatcherAt) Explain(ctx context.Context, q scheduler.ReceiptQuery) ([]scheduler.Receipt, error) {
	if local, ok := d.b.localDispatcher(d.pool).(scheduler.Explainer); ok {
		return local.Explain(ctx, q)
	}
	var out []scheduler.Receipt
	err := d.ask(ctx, verbExplain, q, &out)
	return out, err
}

// List implements scheduler.Lister.
func (d *dispatcherAt) List(ctx context.Context, user string) ([]scheduler.Listed, error) {
	if local, ok := d.b.localDispatcher(d.pool).(scheduler.Lister); ok {
		return local.List(ctx, user)
	}
	var out []scheduler.Listed
	err := d.ask(ctx, verbList, user, &out)
	return out, err
}

func (d *dispatcherAt) ask(ctx context.Context, verb string, in, out any) error {
	if !validName(d.pool) {
		return scheduler.ErrNotLeader
	}
	return d.b.ask(ctx, roleDispatcher+d.pool+"."+verb, in, out, scheduler.ErrNotLeader)
}

// serveDispatcher gives every verb its own goroutine to read, and answers beside
// it, because the leader answers when it has time. Reports stay in order for
// each worker.
func serveDispatcher(s *service, pool string, d scheduler.Dispatcher) error {
	at := roleDispatcher + pool + "."
	return errors.Join(
		s.subscribe(at+verbReport, read(s, func(m *nats.Msg, r scheduler.Report) {
			if r.Pool != pool || !validID(r.Worker) {
				s.malformed(m, fmt.Errorf("%w: worker %.40q, pool %.40q", ErrMalformed, r.Worker, r.Pool))
				return
			}
			s.inLane(r.Worker, func(ctx context.Context) { s.respond(m, nil, d.Report(ctx, &r)) })
		})),
		s.subscribe(at+verbRecall, reply(s, d.Cancel)),
		s.subscribe(at+verbBeat, reply(s, func(ctx context.Context, beat proxyBeat) error {
			return d.ProxyBeat(ctx, beat.Proxy, beat.Leaving)
		})),
		s.subscribe(at+verbWhere, read(s, func(m *nats.Msg, ids []string) {
			s.aside(func(ctx context.Context) {
				notices, err := d.Where(ctx, ids)
				s.respond(m, notices, err)
			})
		})),
		s.subscribe(at+verbExplain, read(s, func(m *nats.Msg, q scheduler.ReceiptQuery) {
			s.aside(func(ctx context.Context) { explain(ctx, s, m, d, q) })
		})),
		s.subscribe(at+verbList, read(s, func(m *nats.Msg, user string) {
			s.aside(func(ctx context.Context) { list(ctx, s, m, d, user) })
		})),
	)
}

// explain answers for a leader that can; of one that can't nothing is known.
func explain(ctx context.Context, s *service, m *nats.Msg, d scheduler.Dispatcher, q scheduler.ReceiptQuery) {
	e, ok := d.(scheduler.Explainer)
	if !ok {
		s.respond(m, []scheduler.Receipt{}, nil)
		return
	}
	found, err := e.Explain(ctx, q)
	s.respond(m, found, err)
}

// list answers for a leader that can; of one that can't nothing is known.
func list(ctx context.Context, s *service, m *nats.Msg, d scheduler.Dispatcher, user string) {
	l, ok := d.(scheduler.Lister)
	if !ok {
		s.respond(m, []scheduler.Listed{}, nil)
		return
	}
	found, err := l.List(ctx, user)
	s.respond(m, found, err)
}
