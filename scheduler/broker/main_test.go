package broker

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"fairlane/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to come; long, because it ends
// the test with a failure.
const patience = 20 * time.Second

// openBroker opens a broker that is closed with the test.
func openBroker(t testing.TB, cfg Config) *Broker {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	b, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(b.Close)
	return b
}

// natsServer is one outside, with a socket, that can be stopped and started.
type natsServer struct {
	t    testing.TB
	opts server.Options
	*server.Server
}

func startServer(t testing.TB) *natsServer {
	t.Helper()
	n := &natsServer{t: t, opts: server.Options{
		Host: "127.0.0.1", Port: freePort(t), NoSigs: true, NoLog: true,
		JetStream: true, DisableJetStreamBanner: true, StoreDir: t.TempDir(),
		JetStreamMaxStore: 1 << 30, JetStreamMaxMemory: 1 << 30,
	}}
	n.start()
	t.Cleanup(n.stop)
	return n
}

func (n *natsServer) start() {
	n.t.Helper()
	opts := n.opts
	s, err := server.NewServer(&opts)
	if err != nil {
		n.t.Fatalf("nats-server: %v", err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		n.t.Fatal("nats-server is not ready")
	}
	n.Server = s
}

func (n *natsServer) stop() {
	n.Shutdown()
	n.WaitForShutdown()
}

func (n *natsServer) url() string { return "nats://127.0.0.1:" + strconv.Itoa(n.opts.Port) }

func freePort(t testing.TB) int {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// take receives from a channel, or fails the test.
func take[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-ch:
		return v
	case <-timer.C:
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

// none fails the test if there is something in a channel.
func none[T any](t testing.TB, ch <-chan T, what string) {
	t.Helper()
	select {
	case v := <-ch:
		t.Fatalf("%s came: %+v", what, v)
	default:
	}
}

// entry is one that is fit to be published.
func entry(id, user string) *scheduler.Entry {
	now := time.Now()
	return &scheduler.Entry{
		ID: id, Proxy: "px", Mode: scheduler.ModeSync, Pool: "small", Model: "org/model-7b", Endpoint: "chat",
		Path: "/v1/chat/completions", Stream: true, Class: "normal", User: user, UserWeight: 1,
		AcceptedAt: now, Deadline: now.Add(time.Minute), Sequences: 1, InputTokens: 17,
	}
}

// fakeWorker takes what it is asked into channels.
type fakeWorker struct {
	grants  chan *scheduler.Grant
	cancels chan recall
	musters chan string
	refuse  func(*scheduler.Grant) error
}

func newFakeWorker() *fakeWorker {
	return &fakeWorker{
		grants: make(chan *scheduler.Grant, 4096), cancels: make(chan recall, 16), musters: make(chan string, 16),
		refuse: func(*scheduler.Grant) error { return nil },
	}
}

func (w *fakeWorker) Grant(g *scheduler.Grant, answer func(error)) {
	err := w.refuse(g)
	if err == nil {
		w.grants <- g
	}
	answer(err)
}

func (w *fakeWorker) Cancel(_ context.Context, id string, f scheduler.Fence) error {
	w.cancels <- recall{id, f}
	return nil
}

func (w *fakeWorker) Muster(_ context.Context, pool string) error {
	w.musters <- pool
	return nil
}

// fakeProxy knows a few calls by their bodies.
type fakeProxy struct {
	bodies  map[string]*scheduler.Handover
	shakes  chan scheduler.Handshake
	frames  chan *scheduler.Frame
	notices chan []scheduler.Notice
	ping    error
}

func newFakeProxy() *fakeProxy {
	return &fakeProxy{
		bodies: map[string]*scheduler.Handover{}, shakes: make(chan scheduler.Handshake, 16),
		frames: make(chan *scheduler.Frame, 4096), notices: make(chan []scheduler.Notice, 16),
	}
}

func (p *fakeProxy) Handshake(_ context.Context, h scheduler.Handshake) (*scheduler.Handover, error) {
	p.shakes <- h
	if over := p.bodies[h.ID]; over != nil {
		return over, nil
	}
	return &scheduler.Handover{Verdict: scheduler.Gone}, nil
}

func (p *fakeProxy) Frame(f *scheduler.Frame) error {
	p.frames <- f
	return nil
}

func (p *fakeProxy) Notify(ns []scheduler.Notice) error {
	p.notices <- ns
	return nil
}

func (p *fakeProxy) Ping(context.Context) error { return p.ping }

// fakeDispatcher takes reports when it is let.
type fakeDispatcher struct {
	gate    chan struct{} // nil: open
	entered chan struct{} // nil, or told of a report before the gate
	reports chan *scheduler.Report
	cancels chan string
	beats   chan proxyBeat
	err     error
}

func newFakeDispatcher() *fakeDispatcher {
	return &fakeDispatcher{reports: make(chan *scheduler.Report, 256), cancels: make(chan string, 16), beats: make(chan proxyBeat, 16)}
}

func (d *fakeDispatcher) Report(ctx context.Context, r *scheduler.Report) error {
	select {
	case d.entered <- struct{}{}:
	default:
	}
	if d.gate != nil {
		select {
		case <-d.gate:
		case <-ctx.Done():
			return scheduler.ErrNotLeader
		}
	}
	d.reports <- r
	return d.err
}

func (d *fakeDispatcher) Cancel(_ context.Context, id string) error {
	d.cancels <- id
	return d.err
}

func (d *fakeDispatcher) ProxyBeat(_ context.Context, proxy string, leaving bool) error {
	d.beats <- proxyBeat{proxy, leaving}
	return d.err
}

func (d *fakeDispatcher) Where(_ context.Context, ids []string) ([]scheduler.Notice, error) {
	var out []scheduler.Notice
	for i, id := range ids {
		if id != "unknown" {
			out = append(out, scheduler.Notice{ID: id, Kind: scheduler.NoticeQueued, Position: i + 1, ETA: time.Second})
		}
	}
	return out, d.err
}

var errTest = errors.New("as the test wants it")
