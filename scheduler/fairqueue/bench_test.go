package fairqueue

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

// load is a queue with users and waiting requests, all of them class × user.
type load struct {
	q     *Queue
	rs    []Request
	path  []Step
	ring  []*Request // in flight
	next  int
	rnd   *rand.Rand
	names []string // of the users
}

const benchSlots = 64

func newLoad(names []string, waiting int) *load {
	q := newQueue(2)
	l := &load{q: q, rs: make([]Request, waiting), path: make([]Step, 2), rnd: rand.New(rand.NewPCG(1, 2)), names: names}
	for i := range l.rs {
		l.rs[i] = Request{ID: "r", AcceptedAt: time.Unix(int64(i), 0), Sequences: 1, Estimate: 1000 * Token}
		l.push(&l.rs[i], i%len(names))
	}
	return l
}

func benchNames(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("user:%06d", i)
	}
	return out
}

func (l *load) push(r *Request, user int) {
	class := user % 3
	l.path[0] = Step{Key: [...]string{"vip", "standard", "background"}[class], Weight: [...]float64{8, 3, 1}[class]}
	l.path[1] = Step{Key: l.names[user], Weight: float64(1 + user%4)}
	l.q.Push(r, l.path, User{Key: l.names[user]})
}

func take(*Request, bool) Decision { return Decision{Verdict: Take, Reserve: 600 * Token} }

// turn settles the oldest of the running ones, pushes it again, as another request
// of somebody, and dispatches the next.
func (l *load) turn() {
	if len(l.ring) < benchSlots {
		l.ring = append(l.ring, l.q.Dispatch(take))
		return
	}
	r := l.ring[l.next]
	l.q.Settle(r, Token*Cost(100+l.rnd.IntN(2000)))
	l.push(r, l.rnd.IntN(len(l.names)))
	l.ring[l.next] = l.q.Dispatch(take)
	l.next = (l.next + 1) % benchSlots
}

// fifo is the yardstick: one container/heap of all requests by arrival.
type fifo []*Request

func (h fifo) Len() int           { return len(h) }
func (h fifo) Less(i, j int) bool { return h[i].AcceptedAt.Before(h[j].AcceptedAt) }
func (h fifo) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *fifo) Push(x any)        { *h = append(*h, x.(*Request)) }
func (h *fifo) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

// BenchmarkTurn is a whole turn: settle, push, dispatch. The FIFO beside it pops
// and pushes.
func BenchmarkTurn(b *testing.B) {
	for _, size := range []struct{ users, waiting int }{{1_000, 100_000}, {100_000, 1_000_000}} {
		name := fmt.Sprintf("users=%d/waiting=%d", size.users, size.waiting)
		b.Run("fair/"+name, func(b *testing.B) {
			l := newLoad(benchNames(size.users), size.waiting)
			for range benchSlots * 4 {
				l.turn()
			}
			b.ReportAllocs()
			for b.Loop() {
				l.turn()
			}
		})
		b.Run("fifo/"+name, func(b *testing.B) {
			rs, h := make([]Request, size.waiting), fifo{}
			for i := range rs {
				rs[i].AcceptedAt = time.Unix(int64(i), 0)
				heap.Push(&h, &rs[i])
			}
			n := size.waiting
			b.ReportAllocs()
			for b.Loop() {
				r := heap.Pop(&h).(*Request)
				n++
				r.AcceptedAt = time.Unix(int64(n), 0)
				heap.Push(&h, r)
			}
		})
	}
}

// BenchmarkDispatch is dispatch and settle alone: the queue is filled again
// outside of the time that counts.
func BenchmarkDispatch(b *testing.B) {
	for _, size := range []struct{ users, waiting int }{{1_000, 5_000}, {1_000, 100_000}, {100_000, 1_000_000}} {
		b.Run(fmt.Sprintf("users=%d/waiting=%d", size.users, size.waiting), func(b *testing.B) {
			l := newLoad(benchNames(size.users), size.waiting)
			part := max(size.waiting/10, 2_000)
			done := make([]*Request, 0, part)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				r := l.q.Dispatch(take)
				l.q.Settle(r, 700*Token)
				if done = append(done, r); len(done) == part {
					b.StopTimer()
					for _, r := range done {
						l.push(r, l.rnd.IntN(len(l.names)))
					}
					done = done[:0]
					b.StartTimer()
				}
			}
		})
	}
}

// BenchmarkOutlook: what it costs does not follow how many wait, be it in one
// queue or in many.
func BenchmarkOutlook(b *testing.B) {
	for _, size := range []struct{ users, waiting int }{{1, 1_000}, {1, 100_000}, {1_000, 5_000}, {1_000, 100_000}, {100_000, 1_000_000}} {
		b.Run(fmt.Sprintf("users=%d/waiting=%d", size.users, size.waiting), func(b *testing.B) {
			l := newLoad(benchNames(size.users), size.waiting)
			for range 10 * benchSlots {
				l.turn()
			}
			b.ReportAllocs()
			for b.Loop() {
				l.q.Outlook(&l.rs[l.rnd.IntN(len(l.rs))])
			}
		})
	}
}

// TestMemory bounds what a waiting request takes, the caller's Request included,
// its id and the strings of its path not.
func TestMemory(t *testing.T) {
	const waiting, users, most = 100_000, 1_000, 300
	heapNow := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	names := benchNames(users)
	before := heapNow()
	l := newLoad(names, waiting)
	each := (heapNow() - before) / waiting
	runtime.KeepAlive(l)
	t.Logf("%d bytes a waiting request", each)
	if each > most {
		t.Errorf("%d bytes a waiting request, want at most %d", each, most)
	}
}

func TestDispatchAndSettleDoNotAllocate(t *testing.T) {
	l := newLoad(benchNames(100), 10_000)
	for range benchSlots * 4 {
		l.turn()
	}
	n := testing.AllocsPerRun(1000, func() {
		r := l.q.Dispatch(take)
		l.q.Progress(r, 650*Token)
		l.q.Settle(r, 700*Token)
	})
	if n != 0 {
		t.Errorf("%g allocations", n)
	}
}
