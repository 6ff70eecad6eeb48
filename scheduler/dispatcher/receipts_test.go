package dispatcher

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/scheduler"
)

// receiptBox keeps the receipts of a test.
type receiptBox struct {
	mu  sync.Mutex
	all []*scheduler.Receipt
}

func (b *receiptBox) take(r *scheduler.Receipt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, r)
}

// of is the receipt of one call.
func (b *receiptBox) of(t *testing.T, id string) *scheduler.QueueReceipt {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.all, func(r *scheduler.Receipt) bool { return r.CallID == id })
	if i < 0 {
		t.Errorf("there is no receipt of %s", id)
		return &scheduler.QueueReceipt{}
	}
	return b.all[i].Queue
}

// blockedBy is for how long something was in the way, in tenths of a second.
func blockedFor(q *scheduler.QueueReceipt, by string) float64 {
	for _, b := range q.Blocked {
		if b.By == by {
			return float64(int(b.MS/100)) / 10
		}
	}
	return 0
}

func ends(q *scheduler.QueueReceipt) []string {
	var out []string
	for _, a := range q.Attempts {
		out = append(out, a.Backend+" "+a.End)
	}
	return out
}

func TestAReceiptTellsWhatWasAheadAndWhatWasInTheWay(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 1}}, func(h *house) {
		h.ask(wish{user: "vip1", class: "vip", out: 100}).served(t) // what outputs are is learned
		first := h.ask(wish{user: "a", in: 10, out: 100})
		advance(10 * time.Millisecond)
		own := h.ask(wish{user: "a", in: 10, out: 100})
		vip := h.ask(wish{user: "v", class: "vip", in: 10, out: 100})
		advance(10 * time.Millisecond)
		last := h.ask(wish{user: "a", in: 10, out: 100})
		advance(100 * time.Millisecond)
		h.look(func(l *leader) {
			now := l.receipts.explain(scheduler.ReceiptQuery{Users: []string{"a"}})
			if len(now) != 3 || now[0].Queue.Now.Position != 0 || now[2].Queue.Now.Position != 3 || now[2].Queue.Now.Blocked != scheduler.BlockedSlots {
				t.Errorf("live: %+v", now)
			}
			if one := l.receipts.explain(scheduler.ReceiptQuery{IDs: []string{"px-3"}}); len(one) != 1 || one[0].Queue.Now.Own != 0 {
				t.Errorf("one: %+v", one)
			}
		})
		for _, c := range []*client{first, own, vip, last} {
			c.served(t)
		}
		advance(time.Second)
		began := h.receipts.of(t, "px-2")
		if began.Arrived.Position != 0 || len(began.Blocked) != 0 || began.End != "completed" || began.Usage.Output != 100 || began.Settled != 210 {
			t.Errorf("who began at once: %+v", began)
		}
		q := h.receipts.of(t, "px-5")
		want := scheduler.Standing{
			Position: 3, Own: 1, OwnCost: 210, Other: 1, OtherCost: 210, Blocked: scheduler.BlockedSlots,
			Classes: []scheduler.ClassStanding{{Class: "vip", Weight: 10, Waiting: 1}, {Class: "normal", Weight: 1, Waiting: 2, Running: 1}},
		}
		got := q.Arrived
		got.ETAMS = 0
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("how it stood (-want +got):\n%s", diff)
		}
		if s := blockedFor(q, scheduler.BlockedSlots); s < 2.9 || s > 3.1 || len(q.Times) == 0 {
			t.Errorf("blocked for %v s: %+v", s, q)
		}
		if diff := cmp.Diff([]string{"gpu-a:8000 completed"}, ends(q)); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
	})
}

func TestAReceiptTellsOfTheUsersOwnBound(t *testing.T) {
	inHouse(t, plan{}, func(h *house) {
		for range 3 {
			h.ask(wish{user: "a", out: 200, maxRunning: 1})
		}
		h.clients.Wait()
		advance(time.Second) // the worker tells the leader
		q := h.receipts.of(t, "px-3")
		if s := blockedFor(q, scheduler.BlockedMaxRunning); s != 4 || blockedFor(q, scheduler.BlockedSlots) != 0 {
			t.Errorf("blocked: %+v", q.Blocked)
		}
	})
}

func TestAReceiptTellsOfAttemptsThatFailedAndOfNoBackend(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 1}}, func(h *house) {
		c := h.ask(wish{user: "a", in: 50_000, out: 10})
		advance(100 * time.Millisecond)
		h.gpus[gpuA].kill()
		advance(5 * time.Second)
		h.gpus[gpuA].revive()
		c.served(t)
		advance(time.Second)
		q := h.receipts.of(t, "px-1")
		if diff := cmp.Diff([]string{"gpu-a:8000 died", "gpu-a:8000 completed"}, ends(q)); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
		if s := blockedFor(q, scheduler.BlockedNoBackend); s < 4 || s > 7 {
			t.Errorf("without a backend for %v s: %+v", s, q)
		}
	})
}

func TestAReceiptTellsOfThoseWhoLeftOrWaitedInVain(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 1}}, func(h *house) {
		h.ask(wish{user: "a", out: 500})
		left := h.ask(wish{user: "b"})
		h.ask(wish{user: "c", wait: time.Second})
		h.ask(wish{user: "b", maxQueued: 1})
		advance(500 * time.Millisecond)
		left.leave()
		h.clients.Wait()
		advance(time.Second)
		for id, want := range map[string]string{"px-1": "completed", "px-2": "cancelled", "px-3": "expired", "px-4": "refused"} {
			q := h.receipts.of(t, id)
			if q.End != want || q.EndedAt.IsZero() {
				t.Errorf("%s ended as %q, want %q", id, q.End, want)
			}
			if want != "completed" && (len(q.Attempts) > 0 || q.Settled != 0) {
				t.Errorf("%s: %+v", id, q)
			}
		}
	})
}
