package broker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fairlane/scheduler"
)

// alone is a lease that nobody else wants, and the bucket of its key. What NATS
// applied without an answer is written there in its name.
func alone(t *testing.T) (*Lease, jetstream.KeyValue) {
	t.Helper()
	b := openBroker(t, Config{Store: StoreMemory})
	l, err := b.Lease(t.Context(), LeaseConfig{Pool: "small", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	kv, err := l.bucket(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l, kv
}

func write(t *testing.T, kv jetstream.KeyValue, value []byte) uint64 {
	t.Helper()
	revision, err := kv.Put(t.Context(), "small", value)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func campaign(t *testing.T, l *Lease) *term {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	held, err := l.campaign(ctx)
	if err != nil {
		t.Fatalf("the lease was not taken: %v", err)
	}
	return held
}

func TestAKeyWhoseCreationWasNotAnsweredIsTaken(t *testing.T) {
	l, kv := alone(t)
	unheard := write(t, kv, l.mark)
	held := campaign(t, l)
	if want := (scheduler.Fence{Bucket: held.epoch.Bucket, Revision: uint32(unheard)}); !held.epoch.Newer(want) || !l.Valid() {
		t.Errorf("epoch %v follows %v, valid %v", held.epoch, want, l.Valid())
	}
	if err := l.renew(t.Context(), held); err != nil {
		t.Errorf("what was taken can't be renewed: %v", err)
	}
}

func TestAStandbyFindsThatTheKeyIsItsOwn(t *testing.T) {
	l, kv := alone(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	watcher, err := kv.Watch(ctx, "small")
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	write(t, kv, []byte("somebody"))
	write(t, kv, l.mark)
	expiry := time.NewTimer(time.Hour)
	defer expiry.Stop()
	if err := l.standBy(ctx, watcher.Updates(), expiry); err != nil {
		t.Errorf("it went on waiting: %v", err)
	}
}

func TestARenewalThatWasNotAnsweredLosesNothing(t *testing.T) {
	l, kv := alone(t)
	held := campaign(t, l)
	write(t, kv, l.mark)
	for range 2 {
		if err := l.renew(t.Context(), held); err != nil {
			t.Fatalf("its own renewal took the lease from it: %v", err)
		}
	}
	write(t, kv, []byte("somebody"))
	if err := l.renew(t.Context(), held); !errors.Is(err, errLost) {
		t.Errorf("renewed what is somebody else's: %v", err)
	}
}

func TestALeaseIsGivenBackAfterARenewalWithoutAnswer(t *testing.T) {
	l, kv := alone(t)
	held := campaign(t, l)
	write(t, kv, l.mark)
	l.release(t.Context(), held, l.b.cfg.Logger)
	if e, err := kv.Get(t.Context(), "small"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("the key is still there: %v, %v", e, err)
	}
	theirs := write(t, kv, []byte("somebody"))
	l.release(t.Context(), held, l.b.cfg.Logger)
	if e, err := kv.Get(t.Context(), "small"); err != nil || e.Revision() != theirs {
		t.Errorf("somebody else's lease was given back: %v", err)
	}
}

// speechless is a bucket that does not say when it was made.
type speechless struct{ jetstream.KeyValue }

func (speechless) Status(context.Context) (jetstream.KeyValueStatus, error) { return nil, errTest }

func TestAKeyThatBeginsNoTermIsGivenBack(t *testing.T) {
	l, kv := alone(t)
	if _, err := l.take(t.Context(), speechless{kv}); !errors.Is(err, errTest) {
		t.Errorf("took it: %v", err)
	}
	if e, err := kv.Get(t.Context(), "small"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("the key is there for an hour: %v, %v", e, err)
	}
	if l.Valid() {
		t.Error("valid without a term")
	}
}
