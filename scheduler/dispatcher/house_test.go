package dispatcher

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fairlane/scheduler"
	"fairlane/scheduler/calls"
	"fairlane/scheduler/capacity"
)

// house is a whole installation on fake time: real desks and dispatchers, and
// simulated workers in front of simulated GPUs.
type house struct {
	t           *testing.T
	stream      *fakeStream
	bus         *fakeBus
	office      *office
	memory      *fakeMemory
	registry    *prometheus.Registry
	config      Config
	leases      []*fakeLease
	dispatchers []*Dispatcher
	workers     map[string]*simWorker
	gpus        map[string]*gpu
	desks       map[string]*calls.Desk
	receipts    *receiptBox
	ids         int
	clients     sync.WaitGroup
}

// plan is what a house is to have.
type plan struct {
	classes     map[string]Class // nil: vip 10, normal 1
	gpus        map[string]int   // slots by url; nil: one of 8
	dispatchers int              // 0: one
	workers     int              // 0: one
	share       []string
	tiers       []Tier
	log         *slog.Logger
	takeover    time.Duration
	up          func() error
}

const gpuA, gpuB = "http://gpu-a:8000", "http://gpu-b:8000"

// inHouse runs a test in a bubble, in a house that is led.
func inHouse(t *testing.T, p plan, test func(h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := build(t, p)
		h.elect(0)
		advance(time.Second)
		test(h)
		h.close()
	})
}

func build(t *testing.T, p plan) *house {
	t.Helper()
	h := &house{
		t: t, stream: newFakeStream(), bus: newFakeBus(), office: &office{}, memory: &fakeMemory{}, registry: prometheus.NewRegistry(),
		workers: map[string]*simWorker{}, gpus: map[string]*gpu{}, desks: map[string]*calls.Desk{}, receipts: &receiptBox{},
	}
	if p.classes == nil {
		p.classes = map[string]Class{"vip": {Weight: 10}, "normal": {Weight: 1, Rank: 1}}
	}
	if p.gpus == nil {
		p.gpus = map[string]int{gpuA: 8}
	}
	policy := Policy{Classes: p.classes, Tiers: p.tiers}
	for url, slots := range p.gpus {
		h.gpus[url] = newGPU(url)
		policy.Backend.Backends = append(policy.Backend.Backends, capacity.BackendConfig{URL: url, Slots: slots})
	}
	metrics, err := NewMetrics(h.registry)
	if err != nil {
		t.Fatal(err)
	}
	h.config = Config{
		Pool: pool, Share: p.share, Policy: policy, Stream: h.stream, Bus: h.bus, Memory: h.memory,
		Takeover: p.takeover, Up: p.up, Receipts: h.receipts.take, Metrics: metrics, Logger: p.log,
	}
	for range max(p.dispatchers, 1) {
		h.addDispatcher()
	}
	for i := range max(p.workers, 1) {
		h.addWorker("w" + strconv.Itoa(i))
	}
	h.addDesk("px")
	return h
}

func (h *house) addDispatcher() {
	cfg, lease := h.config, newFakeLease(h.office)
	cfg.Lease = lease
	d := New(cfg)
	d.Start(h.t.Context())
	h.leases, h.dispatchers = append(h.leases, lease), append(h.dispatchers, d)
}

func (h *house) addWorker(id string) *simWorker {
	w := newSimWorker(id, h.bus.from(id), h.gpus)
	h.workers[id] = w
	h.bus.mu.Lock()
	defer h.bus.mu.Unlock()
	h.bus.workers[id] = w
	return w
}

func (h *house) addDesk(id string) {
	d := calls.New(calls.Config{
		ID: id, Streams: map[string]calls.Publisher{pool: h.stream}, Bus: h.bus.from(id),
		NewID: func() string { h.ids++; return fmt.Sprintf("%s-%d", id, h.ids) },
	})
	d.Start(h.t.Context())
	h.desks[id] = d
	h.bus.mu.Lock()
	defer h.bus.mu.Unlock()
	h.bus.proxies[id] = d
}

func (h *house) elect(i int) {
	h.leases[i].elect <- struct{}{}
	synctest.Wait()
}

// leader is the one that leads.
func (h *house) leader() *leader {
	h.t.Helper()
	for _, d := range h.dispatchers {
		d.mu.Lock()
		l := d.leader
		d.mu.Unlock()
		if l != nil {
			return l
		}
	}
	h.t.Fatal("nobody leads")
	return nil
}

// look asks the leader's goroutine.
func (h *house) look(f func(l *leader)) {
	h.t.Helper()
	l := h.leader()
	if !l.ask(h.t.Context(), func() { f(l) }) {
		h.t.Fatal("the term is over")
	}
}

// close waits until all is served, and holds the house to having nothing left.
func (h *house) close() {
	h.t.Helper()
	h.clients.Wait()
	advance(2 * time.Second)
	if left := h.stream.left(); len(left) > 0 {
		h.t.Errorf("left in the stream: %v", left)
	}
	h.look(func(l *leader) { checkIdle(h.t, l) })
	for _, d := range h.desks {
		d.Stop()
	}
	for _, w := range h.workers {
		w.kill()
	}
	for _, d := range h.dispatchers {
		d.Stop()
	}
	advance(time.Minute) // timers that nobody waits for
}

// failer is a test, or one run of a property.
type failer interface {
	Helper()
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// checkIdle holds a leader that has nothing to do to having nothing left.
func checkIdle(t failer, l *leader) {
	t.Helper()
	check(t, l)
	if len(l.items) > 0 || len(l.elsewhere) > 0 || l.turn.Queue.Len() > 0 || len(l.expiries) > 0 || len(l.users) > 0 || len(l.troubles) > 0 || len(l.undeleted) > 0 {
		t.Errorf("%d items, %d elsewhere, %d in the queue, %d deadlines, %d users, %d troubles, %d undeleted are left",
			len(l.items), len(l.elsewhere), l.turn.Queue.Len(), len(l.expiries), len(l.users), len(l.troubles), len(l.undeleted))
	}
	if len(l.receipts.users) > 0 {
		t.Errorf("what is counted for receipts of users is left: %v", l.receipts.users)
	}
	for name, c := range l.classes {
		if c.queued != 0 || l.turn.Running(name) != 0 || c.tokens != 0 || c.front != nil || c.back != nil {
			t.Errorf("class %s: %+v", name, c)
		}
	}
	for _, b := range l.turn.Pool.Backends() {
		if s := b.State(); s.Running != 0 || s.KVHeld != 0 || s.Prefill != 0 {
			t.Errorf("backend: %+v", s)
		}
	}
	for id, w := range l.workers {
		if len(w.running) > 0 {
			t.Errorf("worker %s runs %d", id, len(w.running))
		}
	}
}

// check holds the leader's counters against what they count.
func check(t failer, l *leader) {
	t.Helper()
	if err := l.turn.Queue.Check(); err != nil {
		t.Error(err)
	}
	queued, running, users := map[string]int{}, map[string]int{}, map[string]int{}
	slots := map[*capacity.Backend]int{}
	waiting := 0
	for id, it := range l.items {
		if it.entry == nil || it.entry.ID != id {
			t.Fatalf("item %s is over, or somebody else", id)
		}
		if it.run == nil {
			waiting++
			queued[it.entry.Class]++
			users[it.entry.User]++
			if !it.req.Queued() || !it.entry.Deadline.IsZero() && l.expiries[it.expiry] != it {
				t.Errorf("item %s waits nowhere", id)
			}
			continue
		}
		running[it.entry.Class] += it.sequences()
		slots[it.run.Backend] += it.sequences()
		if !it.req.InFlight() || it.run.worker.running[id] != it || l.workers[it.run.worker.id] != it.run.worker {
			t.Errorf("item %s runs nowhere", id)
		}
	}
	if l.turn.Queue.Len() != waiting {
		t.Errorf("%d wait, the queue has %d", waiting, l.turn.Queue.Len())
	}
	for name, c := range l.classes {
		line := 0
		for it, last := c.front, (*item)(nil); it != nil; it, last = it.newer, it {
			if line++; it.older != last || it.run != nil || it.entry == nil || it.entry.Class != name {
				t.Errorf("class %s: out of line", name)
				break
			}
		}
		if c.queued != queued[name] || line != queued[name] || l.turn.Running(name) != running[name] {
			t.Errorf("class %s counts %d, %d in line, %d running; there are %d and %d", name, c.queued, line, l.turn.Running(name), queued[name], running[name])
		}
	}
	for user, u := range l.users {
		n := u.waiting
		line := l.turn.Queue.Waiting(user, len(l.items))
		for _, r := range line {
			if it, ok := r.Value.(*item); !ok || it.run != nil || it.entry == nil || it.entry.User != user {
				t.Errorf("user %s: out of line", user)
				break
			}
		}
		if users[user] != n || users[user] != len(line) {
			t.Errorf("user %s counts %d waiting, %d in line, there are %d", user, n, len(line), users[user])
		}
	}
	for _, b := range l.turn.Pool.Backends() {
		if s := b.State(); s.Running != slots[b] {
			t.Errorf("backend %s counts %d, %d run", s.URL, s.Running, slots[b])
		}
	}
}

// wish is a request of a test.
type wish struct {
	user, class string // "": u, normal
	in, out     int    // tokens
	sequences   int
	wait        time.Duration // to the deadline; 0: an hour
	whole       bool          // it does not stream
	maxRunning  int
	maxQueued   int
	weight      float64
	proxy       string // "": px
	maxTokens   int
	group       string
	priority    int
}

// client is somebody who waits for an answer.
type client struct {
	call   scheduler.Call
	asked  time.Time
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	granted  time.Time
	first    time.Time // head of the answer
	ended    time.Time
	position []int
	events   []scheduler.CallEvent // of the queue
	eta      time.Duration         // the first
	head     *scheduler.Head
	end      *scheduler.End
	problem  *scheduler.Problem
}

func (h *house) ask(w wish) *client {
	h.t.Helper()
	e := scheduler.Entry{
		Pool: pool, Model: "m", Endpoint: "chat", Path: "/v1/chat/completions", Stream: !w.whole,
		Class: or(w.class, "normal"), User: or(w.user, "u"), UserWeight: max(w.weight, 1), MaxRunning: w.maxRunning, MaxQueued: w.maxQueued,
		AcceptedAt: time.Now(), Deadline: time.Now().Add(time.Hour), Sequences: max(w.sequences, 1), InputTokens: max(w.in, 1), MaxTokens: w.maxTokens,
		Group: w.group, Priority: w.priority,
	}
	if w.wait > 0 {
		e.Deadline = e.AcceptedAt.Add(w.wait)
	}
	call, err := h.desks[or(w.proxy, "px")].Submit(h.t.Context(), &scheduler.Submission{Entry: e, Body: []byte(strconv.Itoa(max(w.out, 1)))})
	if err != nil {
		h.t.Fatal(err)
	}
	c := &client{call: call, asked: e.AcceptedAt, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(h.t.Context())
	c.cancel = cancel
	h.clients.Go(func() { c.follow(ctx) })
	return c
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// leave is a client that goes away.
func (c *client) leave() {
	c.call.Cancel()
	c.cancel()
}

func (c *client) follow(ctx context.Context) {
	defer close(c.done)
	defer c.cancel()
	for {
		ev, err := c.call.Next(ctx)
		if err != nil || c.take(ev) {
			return
		}
	}
}

func (c *client) take(ev scheduler.CallEvent) (over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch ev.Kind {
	case scheduler.CallQueued:
		c.events = append(c.events, ev)
		if c.position = append(c.position, ev.Position); len(c.position) == 1 {
			c.eta = ev.ETA
		}
	case scheduler.CallGranted:
		c.granted = ev.At
		c.events = append(c.events, ev)
	case scheduler.CallHead:
		c.first, c.head = time.Now(), ev.Head
	case scheduler.CallEnd, scheduler.CallProblem:
		c.ended, c.end, c.problem = time.Now(), ev.End, ev.Problem
		return true
	case scheduler.CallData:
	}
	return false
}

// served fails the test unless the client got a whole answer.
func (c *client) served(t *testing.T) {
	t.Helper()
	<-c.done
	if c.problem != nil || c.end == nil || c.end.Outcome != scheduler.Completed {
		t.Errorf("got the problem %v, the end %+v", c.problem, c.end)
	}
}

// refused fails the test unless the client was told so.
func (c *client) refused(t *testing.T, code scheduler.Code, reason scheduler.Reason) {
	t.Helper()
	<-c.done
	if c.problem == nil || c.problem.Code != code || c.problem.Reason != reason {
		t.Errorf("got the problem %v (%+v), the end %+v; want %s %s", c.problem, c.problem, c.end, code, reason)
	}
}
