package calls

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlane/scheduler"
)

// peers are the other roles, as the tests want them.
type peers struct {
	mu        sync.Mutex
	published []scheduler.Entry
	cancelled []string // attempts, at the worker
	recalled  []string // requests, at the dispatcher
	known     map[string]scheduler.Notice
	noLeader  bool
	frozen    string         // a pool whose dispatcher takes everything and says nothing
	beats     map[string]int // heard by pool
	asked     map[string]int
	publish   error
	store     func(ctx context.Context, id string) error // how long a publish takes; nil: no time
	tries     int                                        // to cancel at a worker
	cancel    func(ctx context.Context) error            // how that goes; nil: well
}

func (p *peers) Publish(ctx context.Context, e *scheduler.Entry) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	p.mu.Lock()
	p.published = append(p.published, *e)
	seq, store := len(p.published), p.store
	p.mu.Unlock()
	if store != nil {
		if err := store(ctx, e.ID); err != nil {
			return 0, err
		}
	}
	return uint64(seq), p.publish
}

func (p *peers) Worker(id string) scheduler.Worker           { return workerPeer{p, id} }
func (p *peers) Dispatcher(pool string) scheduler.Dispatcher { return dispatcherPeer{p, pool} }
func (p *peers) snapshot() (cancelled, recalled, published string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make([]string, len(p.published))
	for i, e := range p.published {
		ids[i] = e.ID
	}
	return strings.Join(p.cancelled, " "), strings.Join(p.recalled, " "), strings.Join(ids, " ")
}

type workerPeer struct {
	p  *peers
	id string
}

func (workerPeer) Grant(*scheduler.Grant, func(error))  {}
func (workerPeer) Muster(context.Context, string) error { return nil }
func (w workerPeer) Cancel(ctx context.Context, id string, f scheduler.Fence) error {
	w.p.mu.Lock()
	w.p.tries++
	cancel := w.p.cancel
	w.p.mu.Unlock()
	if cancel != nil {
		if err := cancel(ctx); err != nil {
			return err
		}
	}
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	w.p.cancelled = append(w.p.cancelled, fmt.Sprintf("%s:%s/%d", w.id, id, f.Attempt))
	return nil
}

type dispatcherPeer struct {
	p    *peers
	pool string
}

// hears counts a question, and hangs if the dispatcher is frozen.
func (d dispatcherPeer) hears(ctx context.Context, count *map[string]int) error {
	d.p.mu.Lock()
	if *count == nil {
		*count = map[string]int{}
	}
	(*count)[d.pool]++
	frozen := d.p.frozen == d.pool
	d.p.mu.Unlock()
	if frozen {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (dispatcherPeer) Report(context.Context, *scheduler.Report) error { return nil }
func (d dispatcherPeer) ProxyBeat(ctx context.Context, _ string, _ bool) error {
	return d.hears(ctx, &d.p.beats)
}

func (d dispatcherPeer) Cancel(_ context.Context, id string) error {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	if d.p.noLeader {
		return scheduler.ErrNotLeader
	}
	d.p.recalled = append(d.p.recalled, id)
	return nil
}

func (d dispatcherPeer) Where(ctx context.Context, ids []string) ([]scheduler.Notice, error) {
	if err := d.hears(ctx, &d.p.asked); err != nil {
		return nil, err
	}
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	if d.p.noLeader {
		return nil, scheduler.ErrNotLeader
	}
	var out []scheduler.Notice
	for _, id := range ids {
		if n, ok := d.p.known[id]; ok {
			out = append(out, n)
		}
	}
	return out, nil
}

// open starts a desk with one call on it.
func open(t *testing.T, p *peers) (*Desk, scheduler.Call) {
	t.Helper()
	n := 0
	d := New(Config{ID: "px", Streams: map[string]Publisher{"main": p}, Bus: p, MaxBuffer: 100, NewID: func() string {
		n++
		return fmt.Sprintf("r%d", n)
	}})
	d.Start(t.Context())
	t.Cleanup(d.Stop)
	c, err := d.Submit(t.Context(), &scheduler.Submission{
		Entry: scheduler.Entry{Pool: "main", Stream: true, Deadline: time.Now().Add(time.Minute)}, Body: []byte("prompt"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return d, c
}

func fence(attempt uint32) scheduler.Fence {
	return scheduler.Fence{Bucket: 1, Revision: 1, Attempt: attempt}
}

func shake(t *testing.T, d *Desk, id, worker string, attempt uint32) *scheduler.Handover {
	t.Helper()
	h, err := d.Handshake(t.Context(), scheduler.Handshake{ID: id, Fence: fence(attempt), Worker: worker})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func frame(typ scheduler.FrameType, attempt, seq uint32) *scheduler.Frame {
	f := &scheduler.Frame{ID: "r1", Fence: fence(attempt), Seq: seq, Type: typ, Worker: "w1"}
	switch typ {
	case scheduler.FrameHead:
		f.Head = &scheduler.Head{Status: 200}
	case scheduler.FrameData:
		f.Data = []byte("data")
	case scheduler.FrameEnd:
		f.End = &scheduler.End{Outcome: scheduler.Completed}
	case scheduler.FrameErr, scheduler.FrameBeat:
	}
	return f
}

func next(t *testing.T, c scheduler.Call) scheduler.CallEvent {
	t.Helper()
	ev, err := c.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return ev
}
