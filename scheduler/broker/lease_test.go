package broker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fairlane/scheduler"
)

// contender is one that wants to lead. Its terms go through leads and ended.
type contender struct {
	*Lease
	leads chan scheduler.Fence
	ended chan scheduler.Fence
	stop  func() // orderly; returns when Run has
	skew  atomic.Int64
	step  atomic.Pointer[context.CancelFunc] // makes lead return by itself
}

// race makes sure that no two lead at once.
type race struct {
	t  testing.TB
	mu sync.Mutex
	on int
}

func (r *race) join(b *Broker, ttl time.Duration) *contender {
	r.t.Helper()
	c := &contender{leads: make(chan scheduler.Fence, 16), ended: make(chan scheduler.Fence, 16)}
	l, err := b.Lease(r.t.Context(), LeaseConfig{Pool: "small", TTL: ttl, OnChange: r.change})
	if err != nil {
		r.t.Fatal(err)
	}
	l.clock = func() time.Time { return time.Now().Add(time.Duration(c.skew.Load())) }
	c.Lease = l
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx, c.lead) }()
	c.stop = func() { cancel(); <-done }
	r.t.Cleanup(c.stop)
	return c
}

func (r *race) change(leading bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if leading {
		r.on++
	} else {
		r.on--
	}
	if r.on < 0 || r.on > 1 {
		r.t.Errorf("%d lead at once", r.on)
	}
}

func (c *contender) lead(ctx context.Context, epoch scheduler.Fence) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.step.Store(&cancel)
	c.leads <- epoch
	<-ctx.Done()
	c.ended <- epoch
}

func TestOneOfThreeLeadsAndHandsOver(t *testing.T) {
	b := openBroker(t, Config{Store: StoreMemory})
	r := &race{t: t}
	const ttl = time.Hour // so that only the release lets another in
	first := r.join(b, ttl)
	epoch := take(t, first.leads, "the first term")
	rest := []*contender{r.join(b, ttl), r.join(b, ttl)}
	if !first.Valid() || rest[0].Valid() || rest[1].Valid() {
		t.Error("not exactly the first is valid")
	}
	first.stop()
	if first.Valid() {
		t.Error("valid after the end")
	}
	take(t, first.ended, "the end of the first term")
	var next scheduler.Fence
	select {
	case next = <-rest[0].leads:
	case next = <-rest[1].leads:
		rest[0], rest[1] = rest[1], rest[0]
	case <-time.After(patience):
		t.Fatal("nobody took over")
	}
	if !next.Newer(epoch) {
		t.Errorf("epoch %v follows %v", next, epoch)
	}
	none(t, rest[1].leads, "a second leader")
	rest[0].stop()
	if last := take(t, rest[1].leads, "the last term"); !last.Newer(next) {
		t.Errorf("epoch %v follows %v", last, next)
	}
}

// The holder loses its connection, as in a partition: it ends before another begins.
func TestTakeoverWhenTheHolderIsCutOff(t *testing.T) {
	t.Parallel() // it mostly waits
	s := startServer(t)
	near, far := openBroker(t, Config{URL: s.url()}), openBroker(t, Config{URL: s.url()})
	r := &race{t: t}
	holder := r.join(near, minTTL)
	epoch := take(t, holder.leads, "the first term")
	standby := r.join(far, minTTL)
	near.nc.Close()
	next := take(t, standby.leads, "the takeover")
	if !next.Newer(epoch) {
		t.Errorf("epoch %v follows %v", next, epoch)
	}
	select {
	case <-holder.ended:
	default:
		t.Error("the former leader still leads")
	}
	if holder.Valid() {
		t.Error("the former leader counts itself valid")
	}
}

func TestALeaderThatStoodStillStepsDown(t *testing.T) {
	b := openBroker(t, Config{Store: StoreMemory})
	c := (&race{t: t}).join(b, minTTL)
	epoch := take(t, c.leads, "the first term")
	c.skew.Store(int64(minTTL/2 + time.Millisecond))
	if c.Valid() { // at once, before any goroutine of the lease has run
		t.Error("valid after a gap of more than half the TTL")
	}
	take(t, c.ended, "the end of the term")
	if next := take(t, c.leads, "the next term"); !next.Newer(epoch) {
		t.Errorf("epoch %v follows %v", next, epoch)
	}
}

func TestValidEndsByItself(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	l := &Lease{cfg: LeaseConfig{TTL: 4 * time.Second}, clock: func() time.Time { return now }, origin: now}
	if l.Valid() {
		t.Error("valid before it was taken")
	}
	at := func(d time.Duration) {
		now = l.origin.Add(d)
		if err := l.awake(); err != nil {
			t.Fatal(err)
		}
	}
	at(time.Second)
	l.until.Store(l.now() + l.worth()) // 3 s of 4
	for d, want := range map[time.Duration]bool{2 * time.Second: true, 3 * time.Second: true, 4*time.Second - 1: true, 4 * time.Second: false} {
		l.seen.Store(int64(d))
		now = l.origin.Add(d)
		if l.Valid() != want {
			t.Errorf("valid %v after %v", !want, d)
		}
	}
	l.seen.Store(int64(time.Second))
	for d, want := range map[time.Duration]bool{3 * time.Second: true, 3*time.Second + 1: false} {
		now = l.origin.Add(d)
		if l.Valid() != want {
			t.Errorf("valid %v though the renewal last ran at 1 s, at %v", !want, d)
		}
	}
	now = l.origin.Add(3*time.Second + 1)
	if err := l.awake(); !errors.Is(err, errLost) {
		t.Errorf("a gap of 2 s and more: %v", err)
	}
}

func TestALeaseThatSomebodyChangedIsLost(t *testing.T) {
	t.Parallel() // it mostly waits
	b := openBroker(t, Config{Store: StoreMemory})
	c := (&race{t: t}).join(b, minTTL)
	take(t, c.leads, "the first term")
	kv, err := b.js.KeyValue(t.Context(), leaseBucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "small", "somebody"); err != nil {
		t.Fatal(err)
	}
	take(t, c.ended, "the end of the term")
	take(t, c.leads, "the next term") // somebody does not renew
}

// A wiped NATS begins to count at 1 again. The next epoch is newer all the same,
// and the old leader does not renew in the new bucket, whose revisions may meet.
func TestEpochsGrowOverAWipedBucket(t *testing.T) {
	t.Parallel() // it mostly waits
	b := openBroker(t, Config{Store: StoreMemory})
	r := &race{t: t}
	c := r.join(b, minTTL)
	epoch := take(t, c.leads, "the first term")
	untilSecondAfter(t, epoch.Bucket)
	if err := b.js.DeleteKeyValue(t.Context(), leaseBucket); err != nil {
		t.Fatal(err)
	}
	take(t, c.ended, "the end of the term")
	if next := take(t, c.leads, "the next term"); !next.Newer(epoch) || next.Bucket == epoch.Bucket {
		t.Errorf("epoch %v follows %v", next, epoch)
	}
}

func TestARenewalDoesNotTakeTheKeyOfANewBucket(t *testing.T) {
	b := openBroker(t, Config{Store: StoreMemory})
	ctx := t.Context()
	l, err := b.Lease(ctx, LeaseConfig{Pool: "small", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	held, err := l.campaign(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.js.DeleteKeyValue(ctx, leaseBucket); err != nil {
		t.Fatal(err)
	}
	other, err := b.Lease(ctx, LeaseConfig{Pool: "small", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := other.campaign(ctx)
	if err != nil || theirs.revision != held.revision {
		t.Fatalf("revision %d beside %d, %v: this tests nothing", theirs.revision, held.revision, err)
	}
	if err := l.renew(ctx, held); !errors.Is(err, errLost) {
		t.Errorf("the old leader renewed: %v", err)
	}
	if err := other.renew(ctx, theirs); err != nil {
		t.Errorf("the new leader can't renew: %v", err)
	}
}

// untilSecondAfter waits until the clock shows a later second.
func untilSecondAfter(t testing.TB, second uint32) {
	t.Helper()
	timer := time.NewTimer(time.Until(time.Unix(int64(second)+1, 0)))
	defer timer.Stop()
	<-timer.C
}

func TestLeadThatReturnsGivesTheLeaseBack(t *testing.T) {
	b := openBroker(t, Config{Store: StoreMemory})
	c := (&race{t: t}).join(b, time.Hour)
	epoch := take(t, c.leads, "the first term")
	(*c.step.Load())()
	if next := take(t, c.leads, "the next term"); !next.Newer(epoch) {
		t.Errorf("epoch %v follows %v", next, epoch)
	}
}

func TestARenewedLeaseOutlivesItsTTL(t *testing.T) {
	t.Parallel() // it mostly waits
	b := openBroker(t, Config{Store: StoreMemory})
	c := (&race{t: t}).join(b, minTTL)
	take(t, c.leads, "the term")
	kv, err := b.js.KeyValue(t.Context(), leaseBucket)
	if err != nil {
		t.Fatal(err)
	}
	w, err := kv.Watch(t.Context(), "small", jetstream.UpdatesOnly())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for range 9 { // more than one TTL of renewals
		if e := take(t, w.Updates(), "a renewal"); e.Operation() != jetstream.KeyValuePut {
			t.Fatalf("it was not renewed: %v", e.Operation())
		}
	}
	none(t, c.ended, "an end")
	if !c.Valid() {
		t.Error("a renewed lease is not valid")
	}
}

func TestLeaseRefuses(t *testing.T) {
	b := openBroker(t, Config{Store: StoreMemory})
	for name, cfg := range map[string]LeaseConfig{"pool": {Pool: "A"}, "ttl": {Pool: "a", TTL: time.Millisecond}} {
		if _, err := b.Lease(t.Context(), cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := epochOf(time.Unix(1_700_000_000, 0), 1<<32); err == nil {
		t.Error("a revision that does not fit was accepted")
	}
}
