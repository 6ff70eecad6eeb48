package worker

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"fairlane/scheduler"
	"fairlane/scheduler/vllm"
	"fairlane/scheduler/vllm/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const gpu = "http://gpu:8000"

// proxy is the other end of the frames. It holds every attempt to the order of
// the protocol.
type proxy struct {
	t      *testing.T
	mu     sync.Mutex
	shake  func(ctx context.Context, h scheduler.Handshake) (*scheduler.Handover, error)
	take   func(f *scheduler.Frame) error // of a frame that is in order
	ping   func(ctx context.Context) error
	frames map[scheduler.Fence][]scheduler.Frame
	seq    map[scheduler.Fence]uint32 // of the next frame, those that were not taken and beats not counted
	pings  int
}

func goAhead(context.Context, scheduler.Handshake) (*scheduler.Handover, error) {
	return &scheduler.Handover{Verdict: scheduler.Go, Header: http.Header{"Content-Type": {"application/json"}, "Authorization": {"the client's"}}, Body: []byte(`{"prompt":1}`)}, nil
}

func (p *proxy) set(change func(p *proxy)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *proxy) Handshake(ctx context.Context, h scheduler.Handshake) (*scheduler.Handover, error) {
	p.mu.Lock()
	shake := p.shake
	p.mu.Unlock()
	if h.Worker != "w1" || h.ID == "" {
		p.t.Errorf("handshake %+v", h)
	}
	return shake(ctx, h)
}

func (p *proxy) Frame(f *scheduler.Frame) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	so := p.frames[f.Fence]
	if f.Seq != p.seq[f.Fence] || f.Worker != "w1" || f.ID == "" {
		p.t.Errorf("frame %d of %s from %q comes in the place of frame %d", f.Seq, f.ID, f.Worker, p.seq[f.Fence])
	}
	begun := slices.ContainsFunc(so, func(f scheduler.Frame) bool { return f.Type == scheduler.FrameHead })
	over := slices.ContainsFunc(so, func(f scheduler.Frame) bool {
		return f.Type == scheduler.FrameEnd || f.Type == scheduler.FrameErr
	})
	if over || begun == (f.Type == scheduler.FrameHead) && f.Type != scheduler.FrameBeat {
		p.t.Errorf("frame of type %d, begun %v, over %v", f.Type, begun, over)
	}
	kept := *f
	kept.Data = bytes.Clone(f.Data)
	p.frames[f.Fence] = append(so, kept)
	if p.take != nil {
		if err := p.take(f); err != nil {
			return err
		}
	}
	if f.Type != scheduler.FrameBeat {
		if p.seq == nil {
			p.seq = map[scheduler.Fence]uint32{}
		}
		p.seq[f.Fence]++
	}
	return nil
}

func (p *proxy) Notify([]scheduler.Notice) error { return nil }

func (p *proxy) Ping(ctx context.Context) error {
	p.mu.Lock()
	ping := p.ping
	p.pings++
	p.mu.Unlock()
	if ping != nil {
		return ping(ctx)
	}
	return nil
}

// story is what the proxy heard of one attempt, a line a frame; data that
// follows on data is one.
func (p *proxy) story(f scheduler.Fence) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	var data strings.Builder
	flush := func() {
		if data.Len() > 0 {
			out = append(out, "data "+data.String())
			data.Reset()
		}
	}
	for _, f := range p.frames[f] {
		if f.Type == scheduler.FrameData {
			data.Write(f.Data)
			continue
		}
		flush()
		switch f.Type {
		case scheduler.FrameHead:
			out = append(out, fmt.Sprintf("head %d of %s, attempt %d", f.Head.Status, f.Head.Backend, f.Head.Attempt))
		case scheduler.FrameEnd:
			out = append(out, "end "+string(f.End.Outcome))
		case scheduler.FrameErr:
			out = append(out, "err "+string(f.Problem.Code)+" "+string(f.End.Outcome))
		default:
			out = append(out, "beat")
		}
	}
	flush()
	return strings.Join(out, "\n")
}

// ending is the end that the proxy was told.
func (p *proxy) ending(f scheduler.Fence) *scheduler.End {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.frames[f] {
		if f.End != nil {
			return f.End
		}
	}
	return nil
}

// leader is the dispatcher of all pools.
type leader struct {
	mu     sync.Mutex
	away   func(ctx context.Context, r *scheduler.Report) error // nil: it listens
	events []scheduler.Event
	last   *scheduler.Beat
	beats  int
	heard  []string // kinds of what each report held
	ended  chan scheduler.Event
}

func (l *leader) set(change func(l *leader)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

func (l *leader) Report(ctx context.Context, r *scheduler.Report) error {
	l.mu.Lock()
	away := l.away
	l.mu.Unlock()
	if away != nil {
		if err := away(ctx, r); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var heard []string
	if r.Beat != nil {
		l.last = r.Beat
		l.beats++
		heard = append(heard, "beat")
	}
	for _, ev := range r.Events {
		heard = append(heard, string(ev.Kind))
		l.events = append(l.events, ev)
		if ev.Kind.Ends() {
			l.ended <- ev
		}
	}
	l.heard = append(l.heard, strings.Join(heard, " "))
	return nil
}

func (l *leader) beat() scheduler.Beat {
	l.mu.Lock()
	defer l.mu.Unlock()
	return *l.last
}

func (l *leader) told(kind scheduler.EventKind) (out []scheduler.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ev := range l.events {
		if ev.Kind == kind {
			out = append(out, ev)
		}
	}
	return out
}

func (*leader) Cancel(context.Context, string) error                        { return nil }
func (*leader) ProxyBeat(context.Context, string, bool) error               { return nil }
func (*leader) Where(context.Context, []string) ([]scheduler.Notice, error) { return nil, nil }

func notLeader(context.Context, *scheduler.Report) error { return scheduler.ErrNotLeader }

func hangs(ctx context.Context, _ *scheduler.Report) error {
	<-ctx.Done()
	return ctx.Err()
}

// house is a worker and its neighbours.
type house struct {
	t       *testing.T
	w       *Worker
	fleet   *vllm.Fleet
	engine  *engine
	net     *memnet.Net
	proxy   *proxy
	proxies map[string]*proxy
	leader  *leader
	grants  []*scheduler.Grant // that were taken
}

// Proxy implements Bus.
func (h *house) Proxy(id string) scheduler.Proxy { return h.proxies[id] }

// Dispatcher implements Bus.
func (h *house) Dispatcher(string) scheduler.Dispatcher { return h.leader }

// build builds a house in a bubble. What it granted has to have ended, each in
// one event, when the test is over.
func build(t *testing.T, change func(*Config)) *house {
	t.Helper()
	h := &house{t: t, engine: &engine{}, net: memnet.New(), leader: &leader{ended: make(chan scheduler.Event, 1000)}, fleet: vllm.NewFleet()}
	h.proxy = &proxy{t: t, shake: goAhead, frames: map[scheduler.Fence][]scheduler.Frame{}}
	h.proxies = map[string]*proxy{"px": h.proxy}
	srv := &http.Server{Handler: h.engine}
	go srv.Serve(h.net)
	if err := h.fleet.Apply("main", []vllm.Config{{URL: gpu, Dial: h.net.Dial, APIKey: "secret"}}); err != nil {
		t.Fatal(err)
	}
	cfg := Config{ID: "w1", Fleet: h.fleet, Bus: h, Pools: map[string]Pool{"main": {FirstByte: 10 * time.Second, Idle: 5 * time.Second, Total: time.Minute}}}
	if change != nil {
		change(&cfg)
	}
	h.w = New(cfg)
	h.fleet.Start(t.Context(), h.w.Changed)
	h.w.Start(t.Context())
	synctest.Wait()
	t.Cleanup(func() {
		h.w.Stop()
		synctest.Wait()
		h.fleet.Stop()
		if n := h.engine.busy(); n > 0 {
			h.t.Errorf("%d requests are left at the backend", n)
		}
		_ = h.net.Close()
		_ = srv.Close()
		h.audit()
	})
	return h
}

// audit holds the ends that were told against the grants that were taken.
func (h *house) audit() {
	h.t.Helper()
	ends := map[key]int{}
	for _, ev := range h.leader.events {
		if ev.Kind.Ends() {
			ends[key{ev.ID, ev.Fence}]++
			if ev.Backend != gpu {
				h.t.Errorf("the end of %s is of %q", ev.ID, ev.Backend)
			}
		}
	}
	for _, g := range h.grants {
		if n := ends[key{g.Entry.ID, g.Fence}]; n != 1 {
			h.t.Errorf("%s ended %d times", g.Entry.ID, n)
		}
	}
	if len(ends) != len(h.grants) {
		h.t.Errorf("%d grants, %d ends", len(h.grants), len(ends))
	}
}

// offer makes a grant and returns it with the worker's answer.
func (h *house) offer(change func(g *scheduler.Grant)) (*scheduler.Grant, error) {
	h.t.Helper()
	n := len(h.grants) + 1
	g := &scheduler.Grant{
		Entry: scheduler.Entry{
			ID: fmt.Sprintf("r%d", n), Proxy: "px", Pool: "main", Model: "m", Endpoint: "chat", Path: "/v1/chat/completions", Stream: true, InputTokens: 10, Sequences: 1,
		},
		Fence: scheduler.Fence{Bucket: 1, Revision: 2, Attempt: uint32(n + 40)}, Number: uint64(n), Try: 1, Backend: gpu, EnginePriority: 2, Input: 12, Cached: 3,
	}
	if change != nil {
		change(g)
	}
	answers := 0
	var answer error
	h.w.Grant(g, func(err error) { answers, answer = answers+1, err })
	if answers != 1 {
		h.t.Errorf("a grant was answered %d times", answers)
	}
	if answer == nil {
		h.grants = append(h.grants, g)
	}
	return g, answer
}

func (h *house) grant(change func(g *scheduler.Grant)) *scheduler.Grant {
	h.t.Helper()
	g, err := h.offer(change)
	if err != nil {
		h.t.Fatal(err)
	}
	return g
}

// serve runs one attempt to its end.
func (h *house) serve(answer http.HandlerFunc, change func(g *scheduler.Grant)) (scheduler.Event, string) {
	h.t.Helper()
	h.engine.set(func(e *engine) { e.answer = answer })
	g := h.grant(change)
	ev := <-h.leader.ended
	return ev, h.proxy.story(g.Fence)
}

func whole(g *scheduler.Grant) { g.Entry.Stream = false }
