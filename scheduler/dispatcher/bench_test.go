package dispatcher

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
)

// sink takes grants and tells nobody.
type sink struct {
	grant *scheduler.Grant // the last
}

func (s *sink) Worker(string) scheduler.Worker { return s }
func (s *sink) Proxy(string) scheduler.Proxy   { return quietProxy{} }
func (s *sink) ServeDispatcher(string, scheduler.Dispatcher) (func(), error) {
	return func() {}, nil
}
func (s *sink) MusterWorkers(context.Context, string) error { return nil }
func (s *sink) Grant(g *scheduler.Grant, answer func(error)) {
	s.grant = g
	answer(nil)
}
func (s *sink) Cancel(context.Context, string, scheduler.Fence) error { return nil }
func (s *sink) Muster(context.Context, string) error                  { return nil }

type quietProxy struct{ noProxy }

func (quietProxy) Notify([]scheduler.Notice) error { return nil }

// nowhere is a stream of which nothing is read.
type nowhere struct{ deleted int }

func (n *nowhere) Delete(uint64) { n.deleted++ }
func (n *nowhere) Tail(ctx context.Context, _ uint64, _ func(uint64, *scheduler.Entry, error), loaded func()) error {
	loaded()
	<-ctx.Done()
	return ctx.Err()
}

func benchLeader(b *testing.B, slots int) (*leader, *sink) {
	b.Helper()
	to := &sink{}
	cfg := Config{
		Pool: pool, Stream: &nowhere{}, Lease: newFakeLease(&office{}), Bus: to,
		Policy: Policy{
			Classes: map[string]Class{"vip": {Weight: 10}, "normal": {Weight: 1}},
			Backend: capacity.Config{Backends: []capacity.BackendConfig{{URL: gpuA, Slots: slots}}},
		},
	}.withDefaults()
	l, err := newLeader(b.Context(), &cfg, cfg.Policy, scheduler.Fence{Bucket: 1, Revision: 1})
	if err != nil {
		b.Fatal(err)
	}
	l.report(&scheduler.Report{Worker: "w", Pool: pool, Beat: &scheduler.Beat{Backends: []scheduler.BackendStatus{{URL: gpuA, Up: true}}}})
	return l, to
}

// streamEntry is an entry as a stream gives it: nothing of it is shared.
func streamEntry(i, users int) *scheduler.Entry {
	own := strings.Clone
	return &scheduler.Entry{
		ID: fmt.Sprintf("JfHu2xTq9sVr0aLw%06d", i), Proxy: own("nQ3xTq9sVr0aLwJfHu2xTq"), Mode: scheduler.Mode(own("sync")), Pool: own(pool),
		Model: own("meta-llama/Llama-3.1-8B-Instruct"), Endpoint: own("chat"), Path: own("/v1/chat/completions"), Stream: true,
		Class: own("normal"), Group: own("research"), User: fmt.Sprintf("user:someone%06d@example.org", i%users), UserWeight: 1,
		AcceptedAt: time.Now(), Deadline: time.Now().Add(time.Hour), Sequences: 1, InputTokens: 5050, MaxTokens: 300, PrefixGroup: uint64(i % 8),
	}
}

// BenchmarkRequest is what a request costs the leader, from its entry over the
// grant, a first byte and a progress to the end, while others wait.
func BenchmarkRequest(b *testing.B) {
	for _, waiting := range []int{0, 10_000, 100_000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			l, to := benchLeader(b, 1)
			for i := range waiting + 1 {
				l.arrive(uint64(i+1), streamEntry(i, 1000), nil)
			}
			l.begin()
			l.grantAll()
			b.ReportAllocs()
			next := waiting + 1
			for b.Loop() {
				next++
				l.arrive(uint64(next), streamEntry(next, 1000), nil)
				l.grantAll()
				l.flushNotices()
				g := to.grant
				ev := scheduler.Event{ID: g.Entry.ID, Fence: g.Fence, Kind: scheduler.EventFirstByte, Sent: true, TTFT: time.Millisecond}
				r := &scheduler.Report{Worker: "w", Pool: pool, Events: []scheduler.Event{ev}}
				l.report(r)
				r.Events[0].Kind, r.Events[0].Generated = scheduler.EventProgress, 30
				l.report(r)
				r.Events[0].Kind, r.Events[0].Outcome = scheduler.EventEnd, scheduler.Completed
				r.Events[0].Usage = scheduler.Usage{Input: 5050, Cached: 5000, Output: 300, Known: true, CachedKnown: true}
				l.report(r)
				l.grantAll()
				l.flushNotices()
			}
			if l.turn.Queue.Len() != waiting {
				b.Fatalf("%d wait", l.turn.Queue.Len())
			}
		})
	}
}

// BenchmarkTick is what passing time costs while so many wait.
func BenchmarkTick(b *testing.B) {
	for _, waiting := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			l, _ := benchLeader(b, 1)
			for i := range waiting {
				l.arrive(uint64(i+1), streamEntry(i, 1000), nil)
			}
			l.begin()
			l.grantAll()
			for b.Loop() {
				now := time.Now()
				for _, w := range l.workers {
					w.lastBeat = now
				}
				clear(l.proxies)
				l.tick(now)
			}
		})
	}
}

// BenchmarkIndex is what a waiting request takes of memory, with many a user and
// with one each, with its entry and its place in the queue.
func BenchmarkIndex(b *testing.B) {
	const waiting = 100_000
	for _, users := range []int{1000, waiting} {
		b.Run(fmt.Sprintf("users=%d", users), func(b *testing.B) {
			var bytes float64
			for b.Loop() {
				l, _ := benchLeader(b, 1)
				before := heapInUse()
				for i := range waiting {
					l.arrive(uint64(i+1), streamEntry(i, users), nil)
				}
				bytes = float64(heapInUse()-before) / waiting
				runtime.KeepAlive(l)
			}
			b.ReportMetric(bytes, "B/request")
			if bytes > 1024 {
				b.Errorf("%.0f bytes a request, more than 1 KB", bytes)
			}
		})
	}
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkLearned is how long the leader stands still to copy what it saves.
func BenchmarkLearned(b *testing.B) {
	const waiting = 100_000
	l, _ := benchLeader(b, 1)
	for i := range waiting {
		l.arrive(uint64(i+1), streamEntry(i, waiting), nil)
	}
	l.begin()
	for b.Loop() {
		l.learned(time.Now())
	}
}
