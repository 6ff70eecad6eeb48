package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"fairlane/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a log, with the time of each piece.
type memory struct {
	mu     sync.Mutex
	pieces [][]byte
	times  []time.Time
	fail   error
	reads  int
}

func (m *memory) Append(_ context.Context, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	m.pieces, m.times = append(m.pieces, bytes.Clone(data)), append(m.times, time.Now())
	return nil
}

func (m *memory) Scan(_ context.Context, since time.Time, fn func([]byte) bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, p := range m.pieces {
		if m.times[i].Before(since) {
			continue
		}
		m.reads++
		if !fn(p) {
			break
		}
	}
	return nil
}

func (m *memory) setFail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// leader tells of what waits.
type leader struct {
	waits []scheduler.Receipt
	asked []scheduler.ReceiptQuery
	err   error
}

func (l *leader) Explain(_ context.Context, q scheduler.ReceiptQuery) ([]scheduler.Receipt, error) {
	l.asked = append(l.asked, q)
	return l.waits, l.err
}

func edge(call, request, user string, ended bool) *scheduler.Receipt {
	r := &scheduler.Receipt{
		CallID: call, At: time.Now(), User: "user:" + user, Chat: "chat-" + user,
		Edge: &scheduler.EdgeReceipt{RequestID: request, UserName: "Name of " + user, Email: user},
	}
	if ended {
		r.Edge.EndedAt, r.Edge.Outcome = time.Now(), scheduler.Completed
	}
	return r
}

func queued(call, user string) *scheduler.Receipt {
	return &scheduler.Receipt{CallID: call, At: time.Now(), User: "user:" + user, Queue: &scheduler.QueueReceipt{Settled: 7, EndedAt: time.Now()}}
}

// ids are the calls of what is found.
func ids(t *testing.T, b *Book, q Query) []string {
	t.Helper()
	found, err := b.Find(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, r := range found {
		out = append(out, r.CallID)
	}
	return out
}

func TestHalvesAreJoinedAndFoundByWhatPeopleKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Log: &memory{}})
		b.Start(t.Context())
		defer b.Stop()
		b.Began(edge("c1", "r1", "ann@example.com", false))
		b.Ended(edge("c1", "r1", "ann@example.com", true))
		time.Sleep(time.Minute) //nolint:forbidigo // of a bubble
		half := queued("c1", "ann@example.com")
		half.At = half.At.Add(-time.Minute)
		b.Queued(half)
		b.Ended(edge("c2", "r2", "bob@example.com", true))
		b.Ended(edge("", "r3", "ann@example.com", true)) // refused at the edge
		for name, q := range map[string]Query{
			"request": {ID: "r1"}, "call": {ID: "c1"}, "chat": {Chat: "chat-ann@example.com", Since: time.Now().Add(-2 * time.Minute)},
		} {
			found, err := b.Find(t.Context(), q)
			if err != nil || len(found) == 0 {
				t.Fatalf("%s: %v, %v", name, found, err)
			}
			last := found[len(found)-1]
			if last.CallID != "c1" || last.Edge == nil || last.Edge.Outcome != scheduler.Completed || last.Queue == nil || last.Queue.Settled != 7 {
				t.Errorf("%s: found %+v", name, last)
			}
		}
		for user, want := range map[string][]string{
			"ann@example.com": {"", "c1"}, "ANN@example.com": {"", "c1"}, "user:bob@example.com": {"c2"}, "Name of bob@example.com": {"c2"}, "carol": {},
		} {
			if diff := cmp.Diff(want, ids(t, b, Query{User: user})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", user, diff)
			}
		}
		if diff := cmp.Diff([]string{"", "c2"}, ids(t, b, Query{Limit: 2, Since: time.Now().Add(-time.Second)})); diff != "" {
			t.Errorf("the newest (-want +got):\n%s", diff)
		}
	})
}

// TestWhatWaitsIsFoundByItsPersonAndExplainedByItsLeader once it is open for 2 s in
// a process that is not asked.
func TestWhatWaitsIsFoundByItsPersonAndExplainedByItsLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory{}
		theirs := New(Config{Log: log})
		theirs.Start(t.Context())
		defer theirs.Stop()
		theirs.Began(edge("c1", "r1", "ann", false))
		l := &leader{waits: []scheduler.Receipt{{CallID: "c1", At: time.Now(), User: "user:ann", Queue: &scheduler.QueueReceipt{Now: &scheduler.Standing{Position: 3}}}}}
		ours := New(Config{Log: log, Leaders: []scheduler.Explainer{&leader{err: scheduler.ErrNotLeader}, l}})
		found, err := ours.Find(t.Context(), Query{User: "ann"})
		if err != nil || len(found) != 1 || found[0].Edge != nil || found[0].Queue.Now.Position != 3 {
			t.Fatalf("at first the leader alone knows: %+v, %v", found, err)
		}
		time.Sleep(openFor + flushEvery) //nolint:forbidigo // of a bubble
		found, err = ours.Find(t.Context(), Query{ID: "r1"})
		if err != nil || len(found) != 1 || found[0].Edge.RequestID != "r1" || found[0].Queue.Now.Position != 3 {
			t.Errorf("found %+v, %v", found, err)
		}
		if got := l.asked[1].IDs; !cmp.Equal(got, []string{"r1", "c1"}) {
			t.Errorf("the leader was asked for %q", got)
		}
	})
}

// TestNothingIsLostWhileTheStoreIsAway for a moment.
func TestNothingIsLostWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory{fail: errors.New("the store is away")}
		b := New(Config{Log: log})
		b.Start(t.Context())
		defer b.Stop()
		for i := range 3 * batch {
			b.Ended(edge(fmt.Sprint("c", i), "r", "ann", true))
		}
		time.Sleep(time.Minute) //nolint:forbidigo // of a bubble
		log.setFail(nil)
		if n := len(ids(t, b, Query{User: "ann", Limit: mostFound})); n != mostFound {
			t.Errorf("found %d, want %d", n, mostFound)
		}
		if len(log.pieces) != 3 {
			t.Errorf("%d pieces", len(log.pieces))
		}
	})
}

// TestWhatGathersIsBounded while the store is away: the oldest is dropped, and
// counted.
func TestWhatGathersIsBounded(t *testing.T) {
	log, dropped := &memory{fail: errors.New("the store is away")}, 0
	b := New(Config{Log: log, Dropped: func(n int) { dropped += n }})
	for i := range mostHalves + 5 {
		b.Queued(queued(fmt.Sprint("d", i), "bob"))
		if i%batch == 0 {
			b.flush(t.Context())
		}
	}
	log.fail = nil
	if got := ids(t, b, Query{ID: fmt.Sprint("d", batch-1)}); len(got) != 0 {
		t.Errorf("the oldest was kept: %q", got)
	}
	if got := ids(t, b, Query{ID: fmt.Sprint("d", mostHalves)}); len(got) != 1 || dropped != batch {
		t.Errorf("the newest: %q; dropped %d, want %d", got, dropped, batch)
	}
}

// TestAStopKeepsTheLast and a torn or foreign piece hides nothing else.
func TestAStopKeepsTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory{}
		b := New(Config{Log: log})
		b.Start(t.Context())
		b.Start(t.Context())
		b.Ended(edge("c1", "r1", "ann", true))
		b.Stop()
		b.Stop()
		torn := log.pieces[0]
		log.pieces = [][]byte{{}, []byte("x"), torn[:len(torn)/2], torn}
		log.times = make([]time.Time, 4)
		if got := ids(t, New(Config{Log: log}), Query{ID: "r1"}); !cmp.Equal(got, []string{"c1"}) {
			t.Errorf("found %q", got)
		}
	})
}

// BenchmarkKeep is what one request costs beside its way: both halves, packed.
func BenchmarkKeep(b *testing.B) {
	log := &counter{}
	book := New(Config{Log: log})
	e, q := edge("NEWCALLID0123456789AB", "req-0123456789", "ann@example.com", true), queued("NEWCALLID0123456789AB", "ann@example.com")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		book.Ended(e)
		book.Queued(q)
		if i%batch == 0 {
			book.flush(b.Context())
		}
	}
	book.flush(b.Context())
	b.ReportMetric(float64(log.bytes)/float64(b.N), "stored-B/op")
}

type counter struct{ bytes int }

func (c *counter) Append(_ context.Context, data []byte) error { c.bytes += len(data); return nil }

func (c *counter) Scan(context.Context, time.Time, func([]byte) bool) error { return nil }
