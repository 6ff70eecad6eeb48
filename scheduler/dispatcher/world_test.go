package dispatcher

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
)

// world is the others, as far as the leader can see them.
type world struct {
	ctx      context.Context
	script   []byte
	happened []string
	wrong    []string
	mu       sync.Mutex

	cfg     Config
	stream  *fakeStream
	office  office
	l       *leader
	workers map[string]*scriptWorker
	ids     []string
	ended   map[string]int // notices that told it
	coming  []uint64       // published, but not read yet
	last    *scheduler.Report
	beats   map[string]*scheduler.Report
	lease   *fakeLease
}

// scriptWorker takes grants as it is told to.
type scriptWorker struct {
	w       *world
	id      string
	born    time.Time
	silent  bool
	mode    int // 0: takes, 1: refuses, 2: nobody is there, 3: takes without an answer until later
	answers []func(error)

	cancelled []scheduler.Fence // guarded by the world's mu
	last      uint64
	running   map[attemptKey]*scheduler.Running
	up        map[string]bool
}

func newWorld(ctx context.Context, script []byte) *world {
	w := &world{
		ctx: ctx, script: script, stream: newFakeStream(), ended: map[string]int{}, workers: map[string]*scriptWorker{},
		beats: map[string]*scheduler.Report{},
	}
	w.lease = newFakeLease(&w.office)
	w.cfg = Config{
		Pool: pool, Stream: w.stream, Lease: w.lease, Bus: w,
		Policy: Policy{
			Classes: map[string]Class{"vip": {Weight: 10, Headroom: 1}, "normal": {Weight: 1, MaxQueued: 20}},
			Backend: capacity.Config{Backends: []capacity.BackendConfig{{URL: gpuA, Slots: 3}, {URL: gpuB}}},
		},
	}.withDefaults()
	for _, id := range []string{"w0", "w1"} {
		w.workers[id] = &scriptWorker{w: w, id: id, born: time.Now(), running: map[attemptKey]*scheduler.Running{}, up: map[string]bool{gpuA: true, gpuB: true}}
	}
	return w
}

// upTo is a number from 0 to n that the script says; 0 at its end.
func (w *world) upTo(n int) int {
	x := 0
	for most := n; most > 0 && len(w.script) > 0; most >>= 8 {
		x = x<<8 | int(w.script[0])
		w.script = w.script[1:]
	}
	return x % (n + 1)
}

func (w *world) coin() bool { return w.upTo(1) == 1 }

func pick[T any](w *world, from []T) T { return from[w.upTo(len(from)-1)] }

// The world gathers what is wrong.

func (w *world) Helper()           {}
func (w *world) Error(args ...any) { w.wrong = append(w.wrong, fmt.Sprint(args...)) }
func (w *world) Errorf(format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

func (w *world) Fatalf(format string, args ...any) {
	w.Errorf(format, args...)
	panic(any(w))
}

func (w *world) say(format string, args ...any) {
	w.happened = append(w.happened, "  "+fmt.Sprintf(format, args...))
}

// The world is the leader's bus.

func (w *world) Worker(id string) scheduler.Worker { return w.workers[id] }
func (w *world) Proxy(string) scheduler.Proxy      { return listener{noProxy{}, w} }
func (w *world) ServeDispatcher(string, scheduler.Dispatcher) (func(), error) {
	return func() {}, nil
}
func (w *world) MusterWorkers(context.Context, string) error { return nil }

type listener struct {
	noProxy
	w *world
}

func (l listener) Notify(ns []scheduler.Notice) error {
	for _, n := range ns {
		if n.Kind == scheduler.NoticeEnded {
			l.w.ended[n.ID]++
		}
	}
	return nil
}

func (s *scriptWorker) Grant(g *scheduler.Grant, answer func(error)) {
	switch s.mode {
	case 1:
		answer(scheduler.ErrBusy)
		return
	case 2:
		answer(scheduler.ErrNoResponder)
		return
	case 3:
		s.answers = append(s.answers, answer)
	default:
		answer(nil)
	}
	s.running[attemptKey{g.Entry.ID, g.Fence}] = &scheduler.Running{Grant: *g}
	s.last = max(s.last, g.Number)
}

func (s *scriptWorker) Cancel(_ context.Context, _ string, f scheduler.Fence) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.cancelled = append(s.cancelled, f)
	return nil
}

func (s *scriptWorker) Muster(context.Context, string) error { return nil }

func (s *scriptWorker) report(events ...scheduler.Event) *scheduler.Report {
	b := &scheduler.Beat{Started: s.born, LastGrant: s.last}
	for _, url := range slices.Sorted(maps.Keys(s.up)) {
		b.Backends = append(b.Backends, scheduler.BackendStatus{URL: url, Up: s.up[url]})
	}
	for _, k := range s.keys() {
		b.Running = append(b.Running, *s.running[k])
	}
	return &scheduler.Report{Worker: s.id, Pool: pool, Events: events, Beat: b}
}

func (s *scriptWorker) keys() []attemptKey {
	return slices.SortedFunc(maps.Keys(s.running), func(a, b attemptKey) int { return a.f.Compare(b.f) })
}

// lead begins a term: all that is in the stream is read, what runs is told.
func (w *world) lead() {
	l, err := newLeader(w.ctx, &w.cfg, w.cfg.Policy, w.office.next())
	if err != nil {
		w.Fatalf("%v", err)
	}
	w.judge()
	w.l, w.coming = l, nil
	for _, seq := range slices.Sorted(maps.Keys(w.stream.entries)) {
		w.arrive(seq)
	}
	for _, id := range []string{"w0", "w1"} {
		if s := w.workers[id]; !s.silent {
			w.tell(s.report())
		}
	}
	l.begin()
	w.pass()
}

// pass is what the leader does after it took something.
func (w *world) pass() {
	synctest.Wait()
	w.l.drainInbox()
	w.l.grantAll()
	w.l.flushNotices()
	synctest.Wait()
	w.l.drainInbox()
}

func (w *world) arrive(seq uint64) {
	e, ok := w.stream.entries[seq]
	if ok {
		w.l.arrive(seq, &e, nil)
	}
}

func (w *world) tell(r *scheduler.Report) {
	w.last = r
	if r.Beat != nil {
		w.beats[r.Worker] = r
	}
	w.l.report(r)
}
