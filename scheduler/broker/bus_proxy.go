package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"fairlane/scheduler"
)

// noticesAtOnce is how many notices go into one message.
const noticesAtOnce = 512

// proxyAt is a proxy by its id.
type proxyAt struct {
	b  *Bus
	id string
	// route is of the last frame: who asks for a proxy sends many frames of one call.
	route atomic.Pointer[frameRoute]
}

// frameRoute is where frames of a call go, and cancels of it come from.
type frameRoute struct {
	call, worker   string
	subject, reply string
}

// Handshake implements scheduler.Proxy.
func (p *proxyAt) Handshake(ctx context.Context, h scheduler.Handshake) (*scheduler.Handover, error) {
	if local := p.b.localProxy(p.id); local != nil {
		return local.Handshake(ctx, h)
	}
	if !p.b.outside || !validID(p.id) || !validID(h.ID) {
		return nil, scheduler.ErrNoResponder
	}
	return p.b.shake(ctx, p.id, h)
}

// Frame implements scheduler.Proxy. Over NATS an error says only that the frame
// was not sent.
func (p *proxyAt) Frame(f *scheduler.Frame) error {
	if local := p.b.localProxy(p.id); local != nil {
		return local.Frame(f)
	}
	r := p.route.Load()
	if r == nil || r.call != f.ID || r.worker != f.Worker {
		if !p.b.outside || !validID(p.id) || !validID(f.ID) || !validID(f.Worker) {
			return scheduler.ErrNoResponder
		}
		r = &frameRoute{
			call: f.ID, worker: f.Worker,
			subject: roleProxy + p.id + "." + verbFrame + "." + f.ID, reply: roleWorker + f.Worker + "." + verbCancel,
		}
		p.route.Store(r)
	}
	return p.b.sendFrame(r, f)
}

// sendFrame does not flush: NATS' own writer sends what came together.
func (b *Bus) sendFrame(r *frameRoute, f *scheduler.Frame) error {
	buf, ok := b.buffers.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
	}
	defer b.buffers.Put(buf)
	data, err := appendFrame((*buf)[:0], f)
	if err != nil {
		return err
	}
	*buf = data
	if err := b.nc.PublishRequest(r.subject, r.reply, data); err != nil {
		return fmt.Errorf("send a frame: %w", err)
	}
	return nil
}

// Notify implements scheduler.Proxy.
func (p *proxyAt) Notify(ns []scheduler.Notice) error {
	if local := p.b.localProxy(p.id); local != nil {
		return local.Notify(ns)
	}
	if !p.b.outside || !validID(p.id) {
		return scheduler.ErrNoResponder
	}
	for len(ns) > 0 {
		n := min(len(ns), noticesAtOnce)
		data, err := pack(ns[:n])
		if err != nil {
			return err
		}
		if err := p.b.nc.Publish(roleProxy+p.id+"."+verbNotify, data); err != nil {
			return fmt.Errorf("send notices: %w", err)
		}
		ns = ns[n:]
	}
	return nil
}

// Ping implements scheduler.Proxy.
func (p *proxyAt) Ping(ctx context.Context) error {
	if local := p.b.localProxy(p.id); local != nil {
		return local.Ping(ctx)
	}
	if !p.b.outside || !validID(p.id) {
		return scheduler.ErrNoResponder
	}
	_, err := p.b.askMsg(ctx, roleProxy+p.id+"."+verbPing, nil, scheduler.ErrNoResponder)
	return err
}

// serveProxy takes all frames from one subscription: they keep their order, and
// what may wait is bounded in bytes, over all calls.
func serveProxy(s *service, id string, p scheduler.Proxy) error {
	at := roleProxy + id + "."
	bodies := newBodies()
	s.atEnd(bodies.close)
	return errors.Join(
		s.subscribe(at+verbFrame+".*", func(m *nats.Msg) { takeFrame(s, p, m) }),
		s.budget(s.b.budget),
		s.subscribe(at+verbShake+".*", read(s, func(m *nats.Msg, h scheduler.Handshake) {
			s.aside(func(ctx context.Context) {
				over, err := p.Handshake(ctx, h)
				answerShake(s, bodies, m, over, err)
			})
		})),
		s.subscribe(at+verbBody+".*", func(m *nats.Msg) {
			s.aside(func(context.Context) { bodies.answer(s, m) })
		}),
		s.subscribe(at+verbNotify, read(s, func(_ *nats.Msg, ns []scheduler.Notice) {
			if err := p.Notify(ns); err != nil {
				s.b.log.Debug("notices were not taken", slog.Any("error", err))
			}
		})),
		s.subscribe(at+verbPing, func(m *nats.Msg) {
			s.aside(func(ctx context.Context) { s.respond(m, nil, p.Ping(ctx)) })
		}),
	)
}

// takeFrame hands a frame on. One that nobody wants is the proxy's to answer: it
// knows the worker.
func takeFrame(s *service, p scheduler.Proxy, m *nats.Msg) {
	f, err := decodeFrame(m.Data)
	if err != nil {
		s.malformed(m, err)
		return
	}
	f.ID = lastToken(m.Subject)
	f.Worker = strings.TrimSuffix(strings.TrimPrefix(m.Reply, roleWorker), "."+verbCancel)
	if err := p.Frame(f); err != nil && !errors.Is(err, scheduler.ErrUnknownCall) {
		s.b.log.Debug("a frame was not taken", slog.String("id", f.ID), slog.Any("error", err))
	}
}

func lastToken(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }
