package dispatcher

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fairlane/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const pool = "small"

// fakeStream is a pool's stream in memory. It never forgets what was deleted, to
// tell how often.
type fakeStream struct {
	mu      sync.Mutex
	entries map[uint64]scheduler.Entry
	last    uint64
	deleted map[uint64]int
	more    chan struct{} // closed when something comes
	quiet   chan struct{} // while not nil, readers find nothing
}

func newFakeStream() *fakeStream {
	return &fakeStream{entries: map[uint64]scheduler.Entry{}, deleted: map[uint64]int{}, more: make(chan struct{})}
}

func (s *fakeStream) Publish(_ context.Context, e *scheduler.Entry) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.entries[s.last] = *e
	close(s.more)
	s.more = make(chan struct{})
	return s.last, nil
}

func (s *fakeStream) Delete(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, seq)
	s.deleted[seq]++
}

func (s *fakeStream) Tail(ctx context.Context, from uint64, entry func(uint64, *scheduler.Entry, error), loaded func()) error {
	for {
		s.mu.Lock()
		more, quiet := s.more, s.quiet
		var batch []uint64
		if quiet == nil {
			batch = slices.DeleteFunc(slices.Sorted(maps.Keys(s.entries)), func(seq uint64) bool { return seq < from })
		}
		copies := make([]scheduler.Entry, len(batch))
		for i, seq := range batch {
			copies[i] = s.entries[seq]
		}
		s.mu.Unlock()
		for i, seq := range batch {
			entry(seq, &copies[i], nil)
			from = seq + 1
		}
		if loaded != nil && quiet == nil {
			loaded()
			loaded = nil
		}
		select {
		case <-more:
		case <-quiet:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hush lets readers wait until the returned function is called.
func (s *fakeStream) hush() (speak func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	quiet := make(chan struct{})
	s.quiet = quiet
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.quiet = nil
		close(quiet)
	}
}

// left are the ids of the entries that are there.
func (s *fakeStream) left() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, e := range s.entries {
		out = append(out, e.ID)
	}
	slices.Sort(out)
	return out
}

// office gives out epochs.
type office struct {
	mu       sync.Mutex
	revision uint32
}

func (o *office) next() scheduler.Fence {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.revision++
	return scheduler.Fence{Bucket: 1, Revision: o.revision}
}

// fakeLease is held when a test says so.
type fakeLease struct {
	office *office
	elect  chan struct{}

	mu    sync.Mutex
	doubt bool
	lose  context.CancelFunc
}

func newFakeLease(o *office) *fakeLease { return &fakeLease{office: o, elect: make(chan struct{}, 1)} }

func (f *fakeLease) Run(ctx context.Context, lead func(context.Context, scheduler.Fence)) {
	for {
		select {
		case <-f.elect:
		case <-ctx.Done():
			return
		}
		term, lose := context.WithCancel(ctx)
		f.mu.Lock()
		f.doubt, f.lose = false, lose
		f.mu.Unlock()
		lead(term, f.office.next())
		lose()
	}
}

func (f *fakeLease) Valid() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.doubt
}

func (f *fakeLease) setDoubt(doubt bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.doubt = doubt
}

// end takes the lease away.
func (f *fakeLease) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.doubt = true
	f.lose()
}

// fakeBus is where the roles of a test find each other. What is cut can't be
// reached, and what it says reaches nobody.
type fakeBus struct {
	mu          sync.Mutex
	workers     map[string]scheduler.Worker
	proxies     map[string]scheduler.Proxy
	dispatchers map[string]scheduler.Dispatcher
	cut         map[string]bool
	taken       int // so often a predecessor is still there
}

func newFakeBus() *fakeBus {
	return &fakeBus{
		workers: map[string]scheduler.Worker{}, proxies: map[string]scheduler.Proxy{},
		dispatchers: map[string]scheduler.Dispatcher{}, cut: map[string]bool{},
	}
}

func (b *fakeBus) sever(id string, cut bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut[id] = cut
}

func (b *fakeBus) Worker(id string) scheduler.Worker { return workerAt{b, id} }

func (b *fakeBus) worker(id string) scheduler.Worker {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cut[id] {
		return nil
	}
	return b.workers[id]
}

// workerAt is a worker as others reach it.
type workerAt struct {
	b  *fakeBus
	id string
}

func (w workerAt) Grant(g *scheduler.Grant, answer func(error)) {
	if to := w.b.worker(w.id); to != nil {
		to.Grant(g, answer)
		return
	}
	answer(scheduler.ErrNoResponder)
}

func (w workerAt) Cancel(ctx context.Context, id string, f scheduler.Fence) error {
	if to := w.b.worker(w.id); to != nil {
		return to.Cancel(ctx, id, f)
	}
	return scheduler.ErrNoResponder
}

func (w workerAt) Muster(ctx context.Context, pool string) error {
	if to := w.b.worker(w.id); to != nil {
		return to.Muster(ctx, pool)
	}
	return scheduler.ErrNoResponder
}

// Proxy is the proxy itself; a test that cuts one cuts what it says.
func (b *fakeBus) Proxy(id string) scheduler.Proxy {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.proxies[id]; p != nil && !b.cut[id] {
		return p
	}
	return noProxy{}
}

type noProxy struct{}

func (noProxy) Handshake(context.Context, scheduler.Handshake) (*scheduler.Handover, error) {
	return nil, scheduler.ErrNoResponder
}
func (noProxy) Frame(*scheduler.Frame) error    { return scheduler.ErrNoResponder }
func (noProxy) Notify([]scheduler.Notice) error { return scheduler.ErrNoResponder }
func (noProxy) Ping(context.Context) error      { return scheduler.ErrNoResponder }

func (b *fakeBus) ServeDispatcher(pool string, d scheduler.Dispatcher) (func(), error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken > 0 {
		b.taken--
		return nil, errors.New("served already")
	}
	b.dispatchers[pool] = d
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.dispatchers[pool] == d { // else a newer one has come
			delete(b.dispatchers, pool)
		}
	}, nil
}

func (b *fakeBus) MusterWorkers(ctx context.Context, pool string) error {
	b.mu.Lock()
	workers := maps.Clone(b.workers)
	maps.DeleteFunc(workers, func(id string, _ scheduler.Worker) bool { return b.cut[id] })
	b.mu.Unlock()
	for _, w := range workers {
		_ = w.Muster(ctx, pool)
	}
	return nil
}

// from is the bus as the role with that id sees it.
func (b *fakeBus) from(id string) sight { return sight{b, id} }

type sight struct {
	*fakeBus
	id string
}

func (s sight) Dispatcher(pool string) scheduler.Dispatcher {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.dispatchers[pool]; d != nil && !s.cut[s.id] {
		return d
	}
	return nobody{}
}

type nobody struct{}

func (nobody) Report(context.Context, *scheduler.Report) error { return scheduler.ErrNotLeader }
func (nobody) Cancel(context.Context, string) error            { return scheduler.ErrNotLeader }
func (nobody) ProxyBeat(context.Context, string, bool) error   { return scheduler.ErrNotLeader }
func (nobody) Where(context.Context, []string) ([]scheduler.Notice, error) {
	return nil, scheduler.ErrNotLeader
}

// fakeMemory keeps what was saved last.
type fakeMemory struct {
	mu   sync.Mutex
	last []byte
	n    int
}

func (m *fakeMemory) Save(_ context.Context, b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = slices.Clone(b)
	m.n++
	return nil
}

func (m *fakeMemory) Load(context.Context) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last, nil
}

// advance lets fake time pass.
func advance(d time.Duration) { <-time.After(d) }
