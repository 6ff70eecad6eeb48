package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"fairlane/scheduler"
)

// onBothStores runs a suite on an embedded server of either store.
func onBothStores(t *testing.T, suite func(t *testing.T, b *Broker)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { suite(t, openBroker(t, Config{Store: StoreMemory})) })
	t.Run("file", func(t *testing.T) { suite(t, openBroker(t, Config{Store: StoreFile, Dir: t.TempDir()})) })
}

func openStream(t testing.TB, b *Broker, cfg StreamConfig) *Stream {
	t.Helper()
	cfg.Pool = "small"
	s, err := b.Stream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.rest = 20 * time.Millisecond
	return s
}

func publish(t testing.TB, s *Stream, e *scheduler.Entry) uint64 {
	t.Helper()
	seq, err := s.Publish(t.Context(), e)
	if err != nil {
		t.Fatalf("publish %s: %v", e.ID, err)
	}
	return seq
}

// seen is what a tail said.
type seen struct {
	seq    uint64
	id     string // "loaded" when all was read; "bad" for what can't be decoded
	broken error
}

// follow reads a stream in the background until the test ends.
func follow(t testing.TB, s *Stream, from uint64) <-chan seen {
	t.Helper()
	ch := make(chan seen, 1<<16)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Tail(ctx, from, func(seq uint64, e *scheduler.Entry, err error) {
			if err != nil {
				ch <- seen{seq, "bad", err}
				return
			}
			ch <- seen{seq: seq, id: e.ID}
		}, func() { ch <- seen{id: "loaded"} })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return ch
}

func expect(t testing.TB, ch <-chan seen, ids ...string) {
	t.Helper()
	for _, want := range ids {
		if got := take(t, ch, want); got.id != want {
			t.Fatalf("%+v came for %q", got, want)
		}
	}
}

func TestTailReadsWhatIsThereAndWhatComes(t *testing.T) {
	onBothStores(t, func(t *testing.T, b *Broker) {
		t.Helper()
		s := openStream(t, b, StreamConfig{})
		empty := follow(t, s, 0)
		expect(t, empty, "loaded")
		var want []string
		for i := range 300 {
			id := fmt.Sprint("id", i)
			want = append(want, id)
			publish(t, s, entry(id, fmt.Sprint("user", i%7)))
		}
		expect(t, empty, want...)
		expect(t, follow(t, s, 1), append(slices.Clone(want), "loaded")...)
		later := follow(t, s, 299)
		expect(t, later, "id298", "id299", "loaded")
		publish(t, s, entry("new", "u"))
		expect(t, later, "new")
		expect(t, empty, "new")
		expect(t, follow(t, s, 1000), "loaded")
	})
}

func TestTailCarriesTheWholeEntry(t *testing.T) {
	s := openStream(t, openBroker(t, Config{Store: StoreMemory}), StreamConfig{})
	want := entry("id", "user:ü\r\nFl-User: root")
	want.AcceptedAt, want.Deadline = time.Unix(0, want.AcceptedAt.UnixNano()), time.Unix(0, want.Deadline.UnixNano())
	publish(t, s, want)
	var got *scheduler.Entry
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Tail(ctx, 1, func(_ uint64, e *scheduler.Entry, _ error) { got = e }, cancel)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the tail ended with %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the entry changed (-want +got):\n%s", diff)
	}
}

func TestTailNamesWhatItCanNotRead(t *testing.T) {
	b := openBroker(t, Config{Store: StoreMemory})
	s := openStream(t, b, StreamConfig{})
	if _, err := b.js.PublishMsg(t.Context(), &nats.Msg{Subject: "fl.req.small.normal.x", Header: nats.Header{headVersion: {"99"}}}); err != nil {
		t.Fatal(err)
	}
	publish(t, s, entry("good", "u"))
	ch := follow(t, s, 1)
	if got := take(t, ch, "the first"); got.seq != 1 || !errors.Is(got.broken, ErrVersion) {
		t.Errorf("%+v", got)
	}
	expect(t, ch, "good", "loaded")
}

func TestAPublishRepeatedIsStoredOnce(t *testing.T) {
	onBothStores(t, func(t *testing.T, b *Broker) {
		t.Helper()
		s := openStream(t, b, StreamConfig{})
		e := entry("same", "u")
		if first, again := publish(t, s, e), publish(t, s, e); first != again {
			t.Errorf("sequence %d, then %d", first, again)
		}
		publish(t, s, entry("other", "u"))
		expect(t, follow(t, s, 1), "same", "other", "loaded")
	})
}

func TestPublishOfAnotherPool(t *testing.T) {
	s := openStream(t, openBroker(t, Config{Store: StoreMemory}), StreamConfig{})
	e := entry("id", "u")
	e.Pool = "large"
	if _, err := s.Publish(t.Context(), e); err == nil {
		t.Error("an entry of another pool was taken")
	}
}

// TestWhatNobodyToldIsReadLater stores an entry as a publisher does that is gone
// before the answer comes.
func TestWhatNobodyToldIsReadLater(t *testing.T) {
	b := openBroker(t, Config{Store: StoreMemory})
	s := openStream(t, b, StreamConfig{})
	ch := follow(t, s, 1)
	expect(t, ch, "loaded")
	h, err := encodeEntry(entry("silent", "u"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.js.PublishMsg(t.Context(), &nats.Msg{Subject: "fl.req." + s.pool + ".normal.flow", Header: h}); err != nil {
		t.Fatal(err)
	}
	publish(t, s, entry("told", "u"))
	got := []string{take(t, ch, "the one").id, take(t, ch, "the other").id}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"silent", "told"}, got); diff != "" {
		t.Errorf("heard of (-want +got):\n%s", diff)
	}
}

// TestWhatIsPublishedHereIsToldOnce follows a stream that this process fills, and
// one that others fill as well.
func TestWhatIsPublishedHereIsToldOnce(t *testing.T) {
	n := startServer(t)
	for name, cfg := range map[string]Config{"embedded": {Store: StoreMemory}, "external": {URL: n.url()}} {
		t.Run(name, func(t *testing.T) {
			s := openStream(t, openBroker(t, cfg), StreamConfig{})
			publish(t, s, entry("before", "u"))
			ch := follow(t, s, 1)
			expect(t, ch, "before", "loaded")
			e := entry("after", "u")
			seq := publish(t, s, e)
			if got := take(t, ch, "the entry"); got.id != "after" || got.seq != seq {
				t.Errorf("told %+v", got)
			}
			if cfg.URL != "" {
				publish(t, openStream(t, openBroker(t, cfg), StreamConfig{}), entry("elsewhere", "u"))
				expect(t, ch, "elsewhere")
			}
			publish(t, s, entry("last", "u"))
			expect(t, ch, "last")
		})
	}
}

func TestDeletedEntriesAreGone(t *testing.T) {
	onBothStores(t, func(t *testing.T, b *Broker) {
		t.Helper()
		s := openStream(t, b, StreamConfig{})
		var seqs []uint64
		for i := range 50 {
			seqs = append(seqs, publish(t, s, entry(fmt.Sprint("id", i), "u")))
		}
		for _, seq := range seqs[:49] {
			s.Delete(seq)
			s.Delete(seq) // not there is as good as deleted
		}
		s.deletes.close(time.Now().Add(patience))
		expect(t, follow(t, s, 1), "id49", "loaded")
	})
}

func TestAFlowThatIsFull(t *testing.T) {
	s := openStream(t, openBroker(t, Config{Store: StoreMemory}), StreamConfig{})
	for i := range maxPerFlow {
		publish(t, s, entry(fmt.Sprint("id", i), "greedy"))
	}
	_, err := s.Publish(t.Context(), entry("more", "greedy"))
	wantRefusal(t, err, ErrFlowFull, http.StatusTooManyRequests)
	publish(t, s, entry("other", "modest"))
}

func TestAStreamThatIsFull(t *testing.T) {
	s := openStream(t, openBroker(t, Config{Store: StoreMemory}), StreamConfig{MaxMsgs: 3})
	for i := range 3 {
		publish(t, s, entry(fmt.Sprint("id", i), fmt.Sprint("user", i)))
	}
	_, err := s.Publish(t.Context(), entry("more", "u"))
	wantRefusal(t, err, ErrStreamFull, http.StatusServiceUnavailable)
}

func wantRefusal(t testing.TB, err, want error, status int) {
	t.Helper()
	p, ok := errors.AsType[*scheduler.Problem](err)
	if !errors.Is(err, want) || !errors.Is(err, scheduler.ErrFull) || !ok {
		t.Fatalf("%v, want %v", err, want)
	}
	if p.Code.Status() != status || p.RetryAfter <= 0 || p.Reason == "" {
		t.Errorf("the client is told %+v, status %d", p, p.Code.Status())
	}
}

func TestDropSyncKeepsJobs(t *testing.T) {
	onBothStores(t, func(t *testing.T, b *Broker) {
		t.Helper()
		s := openStream(t, b, StreamConfig{})
		if err := s.DropSync(t.Context()); err != nil {
			t.Fatalf("of an empty stream: %v", err)
		}
		for i := range 20 {
			e := entry(fmt.Sprint("id", i), "u")
			if i == 7 || i == 19 {
				e.Mode = scheduler.ModeAsync
			}
			publish(t, s, e)
		}
		if err := s.DropSync(t.Context()); err != nil {
			t.Fatal(err)
		}
		ch := follow(t, s, 1)
		expect(t, ch, "id7", "id19", "loaded")
		publish(t, s, entry("new", "u"))
		expect(t, ch, "new")
	})
}

func TestDropSyncOfClientsAlone(t *testing.T) {
	onBothStores(t, func(t *testing.T, b *Broker) {
		t.Helper()
		s := openStream(t, b, StreamConfig{})
		for i := range 20 {
			publish(t, s, entry(fmt.Sprint("id", i), "u"))
		}
		if err := s.DropSync(t.Context()); err != nil {
			t.Fatal(err)
		}
		expect(t, follow(t, s, 1), "loaded")
		if seq := publish(t, s, entry("new", "u")); seq != 21 {
			t.Errorf("sequence %d after 20: a sequence must not come twice", seq)
		}
	})
}

func TestARestartKeepsEntries(t *testing.T) {
	dir := t.TempDir()
	b := openBroker(t, Config{Dir: dir})
	s := openStream(t, b, StreamConfig{})
	gone := publish(t, s, entry("gone", "u"))
	publish(t, s, entry("kept", "u"))
	s.Delete(gone)
	b.Close() // sends what is left to delete
	b.Close()
	s = openStream(t, openBroker(t, Config{Dir: dir}), StreamConfig{MaxMsgs: 7})
	publish(t, s, entry("new", "u"))
	expect(t, follow(t, s, 1), "kept", "new", "loaded")
}

func TestADirectoryIsForOneProcess(t *testing.T) {
	dir := t.TempDir()
	b := openBroker(t, Config{Dir: dir})
	if second, err := Open(t.Context(), Config{Dir: dir}); err == nil {
		second.Close()
		t.Fatal("two servers on one directory")
	}
	b.Close()
	openBroker(t, Config{Dir: dir})
}

func TestConfigsThatAreRefused(t *testing.T) {
	t.Parallel() // it mostly waits
	for name, cfg := range map[string]Config{
		"no directory":      {},
		"unknown store":     {Store: "tape"},
		"replicas embedded": {Store: StoreMemory, Replicas: 3},
	} {
		if b, err := Open(t.Context(), cfg); err == nil {
			b.Close()
			t.Errorf("%s: accepted", name)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if b, err := Open(ctx, Config{URL: "nats://127.0.0.1:1"}); err == nil {
		b.Close()
		t.Error("nobody listens there")
	}
	b := openBroker(t, Config{Store: StoreMemory})
	if _, err := b.Stream(t.Context(), StreamConfig{Pool: "A.b"}); err == nil {
		t.Error("a pool that no subject holds was accepted")
	}
}
