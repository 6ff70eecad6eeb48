package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"fairlane/scheduler"
)

// grantPatience is how long a worker may take to answer; it only looks whether
// it has room.
const grantPatience = time.Second

// recall is a cancel on its way to a worker.
type recall struct {
	ID    string          `json:"id"`
	Fence scheduler.Fence `json:"fence"`
}

// workerAt is a worker by its id.
type workerAt struct {
	b  *Bus
	id string
}

// Grant implements scheduler.Worker.
func (w *workerAt) Grant(g *scheduler.Grant, answer func(error)) {
	if local := w.b.localWorker(w.id); local != nil {
		local.Grant(g, answer)
		return
	}
	if !w.b.outside || !validID(w.id) {
		answer(scheduler.ErrNoResponder)
		return
	}
	data, err := pack(g)
	if err != nil {
		answer(fmt.Errorf("write a grant: %w", err))
		return
	}
	w.b.asks.send(w.subject(verbGrant), data, grantPatience, answer)
}

// Cancel implements scheduler.Worker.
func (w *workerAt) Cancel(ctx context.Context, id string, f scheduler.Fence) error {
	if local := w.b.localWorker(w.id); local != nil {
		return local.Cancel(ctx, id, f)
	}
	return w.ask(ctx, verbCancel, recall{id, f})
}

// Muster implements scheduler.Worker.
func (w *workerAt) Muster(ctx context.Context, pool string) error {
	if local := w.b.localWorker(w.id); local != nil {
		return local.Muster(ctx, pool)
	}
	return w.ask(ctx, verbMuster, pool)
}

func (w *workerAt) ask(ctx context.Context, verb string, in any) error {
	if !validID(w.id) {
		return scheduler.ErrNoResponder
	}
	return w.b.ask(ctx, w.subject(verb), in, nil, scheduler.ErrNoResponder)
}

func (w *workerAt) subject(verb string) string { return roleWorker + w.id + "." + verb }

// serveWorker gives every verb its own goroutine, so that a cancel does not wait
// behind grants.
func serveWorker(s *service, id string, pools []string, w scheduler.Worker) error {
	at := roleWorker + id + "."
	errs := []error{
		s.subscribe(at+verbGrant, read(s, func(m *nats.Msg, g scheduler.Grant) {
			if err := checkEntry(&g.Entry); err != nil {
				s.malformed(m, err)
				return
			}
			w.Grant(&g, func(err error) { s.respond(m, nil, err) })
		})),
		s.subscribe(at+verbCancel, reply(s, func(ctx context.Context, r recall) error { return w.Cancel(ctx, r.ID, r.Fence) })),
		s.subscribe(at+verbMuster, reply(s, w.Muster)),
	}
	for _, pool := range pools {
		errs = append(errs, s.subscribe(roleWorker+everyWorker+"."+pool+"."+verbMuster, reply(s, func(ctx context.Context, from string) error {
			if from == s.b.id {
				return nil // our own call was heard without NATS
			}
			return w.Muster(ctx, pool)
		})))
	}
	return errors.Join(errs...)
}
