package broker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/scheduler"
	"fairlane/scheduler/loop"
)

// The server goes away and comes back: the tail goes on where it was, nothing
// twice; the bus and the state of the broker know of it.
func TestARestartOfTheServer(t *testing.T) {
	t.Parallel() // it mostly waits
	n := startServer(t)
	changes := make(chan error, 16)
	b := openBroker(t, Config{URL: n.url(), Changed: func(err error) { changes <- err }})
	s := openStream(t, b, StreamConfig{})
	ch := follow(t, s, 1)
	expect(t, ch, "loaded")
	publish(t, s, entry("before", "u"))
	expect(t, ch, "before")
	stopLater(t)(b.Bus().ServeProxy("px", newFakeProxy()))

	n.stop()
	if err := take(t, changes, "the news of the outage"); err == nil || b.Up() == nil {
		t.Errorf("down: %v, up: %v", err, b.Up())
	}
	if err := b.Bus().Proxy("elsewhere").Frame(everyFrame()[1]); err == nil {
		t.Error("a frame was kept for later")
	}
	answer := make(chan error, 1)
	b.Bus().Worker("elsewhere").Grant(sampleGrant(1), func(err error) { answer <- err })
	if err := take(t, answer, "the answer"); !errors.Is(err, scheduler.ErrNoResponder) {
		t.Errorf("a grant without a connection: %v", err)
	}
	n.start()
	if err := take(t, changes, "the news of the end"); err != nil || b.Up() != nil {
		t.Errorf("back: %v, up: %v", err, b.Up())
	}
	publish(t, s, entry("after", "u"))
	expect(t, ch, "after")
	other := openBroker(t, Config{URL: n.url()})
	if err := other.Bus().Proxy("px").Ping(t.Context()); err != nil {
		t.Errorf("a proxy is not found after the outage: %v", err)
	}
}

// A publish during an outage waits for its end, and not longer than its deadline.
func TestPublishOverAnOutage(t *testing.T) {
	t.Parallel() // it mostly waits
	n := startServer(t)
	b := openBroker(t, Config{URL: n.url()})
	s := openStream(t, b, StreamConfig{})
	n.stop()
	late := entry("late", "u")
	late.Deadline = time.Now().Add(100 * time.Millisecond)
	_, err := s.Publish(t.Context(), late)
	wantStoreProblem(t, err, "does not answer")
	done := make(chan error, 1)
	go func() {
		_, err := s.Publish(context.WithoutCancel(t.Context()), entry("patient", "u"))
		done <- err
	}()
	n.start()
	if err := take(t, done, "the publish"); err != nil {
		t.Errorf("the publish did not outlast the outage: %v", err)
	}
	expect(t, follow(t, s, 1), "patient", "loaded")
}

func TestAStoreThatWasClosedIsOpenedAgain(t *testing.T) {
	t.Parallel() // it mostly waits
	changes := make(chan error, 16)
	b := openBroker(t, Config{Dir: t.TempDir(), lookEvery: 50 * time.Millisecond, Changed: func(err error) { changes <- err }})
	s := openStream(t, b, StreamConfig{})
	publish(t, s, entry("kept", "u"))
	if err := b.server.nats.ShutdownJetStream(); err != nil { // as after a full disk
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), publishPatience/2) // less than a retry may take
	defer cancel()
	_, err := s.Publish(ctx, entry("refused", "u"))
	wantStoreProblem(t, err, "can't write")
	if ctx.Err() != nil || b.Up() == nil {
		t.Errorf("%v, up: %v; it was known at once", ctx.Err(), b.Up())
	}
	if err := take(t, changes, "the news of the end"); err == nil {
		t.Error("nothing is wrong")
	}
	if err := take(t, changes, "the news of the return"); err != nil {
		t.Error(err)
	}
	publish(t, s, entry("new", "u"))
	expect(t, follow(t, s, 1), "kept", "new", "loaded")
}

func TestDeletesAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := map[uint64]int{}
		done := make(chan uint64, 3)
		gate := make(chan struct{}, 1) // guards tries
		gate <- struct{}{}
		d := newDeletes(func(_ context.Context, seq uint64) error {
			<-gate
			defer func() { gate <- struct{}{} }()
			if tries[seq]++; tries[seq] < 5 {
				return errTest
			}
			done <- seq
			return nil
		}, neverPurged(t), Config{}.withDefaults().Logger)
		for seq := range uint64(3) {
			d.add(seq)
		}
		for range 3 {
			<-done
		}
		d.close(time.Now().Add(time.Second))
		d.add(4)
		synctest.Wait()
		if len(tries) != 3 || tries[0] != 5 {
			t.Errorf("tries: %v", tries)
		}
	})
}

// TestDeletesThatFailWaitLongerEachTime notes when an entry was tried, in the time
// of a bubble.
func TestDeletesThatFailWaitLongerEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const failures = 9
		var gaps []time.Duration
		last, done := time.Now(), make(chan struct{}, 1)
		d := newDeletes(func(context.Context, uint64) error {
			gaps, last = append(gaps, time.Since(last)), time.Now()
			if len(gaps) < failures {
				return errTest
			}
			done <- struct{}{}
			return nil
		}, neverPurged(t), Config{}.withDefaults().Logger)
		d.add(1)
		<-done
		synctest.Wait()
		last = time.Now()
		d.add(2) // and what failed is forgotten
		<-done
		d.close(time.Now().Add(time.Second))
		want := []time.Duration{gather, 2 * gather, 4 * gather, 8 * gather, 16 * gather, 32 * gather, deleteTry, deleteTry, deleteTry, gather}
		if diff := cmp.Diff(want, gaps); diff != "" {
			t.Errorf("waits between tries (-want +got):\n%s", diff)
		}
	})
}

// TestDeletesThatFailedAreTriedAgainAtTheEnd closes while a failure is waited out
// for longer than there is time.
func TestDeletesThatFailedAreTriedAgainAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken, deleted := true, false
		d := newDeletes(func(ctx context.Context, _ uint64) error {
			if broken || ctx.Err() != nil {
				return errTest
			}
			deleted = true
			return nil
		}, neverPurged(t), Config{}.withDefaults().Logger)
		d.add(1)
		loop.Pause(t.Context(), time.Minute)
		synctest.Wait()
		broken = false
		d.close(time.Now().Add(deleteTry / 4))
		if !deleted {
			t.Error("the last try was not made")
		}
	})
}

func neverPurged(t *testing.T) func(context.Context, uint64) error {
	t.Helper()
	return func(_ context.Context, before uint64) error {
		t.Errorf("purged before %d, and nobody has read the stream", before)
		return nil
	}
}

// TestDeletesOfWhatLiesBefore reads ten entries of which two stay.
func TestDeletesOfWhatLiesBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls []string
		note := func(what string) func(context.Context, uint64) error {
			return func(_ context.Context, seq uint64) error {
				calls = append(calls, fmt.Sprint(what, " ", seq))
				return nil
			}
		}
		d := newDeletes(note("erase"), note("purge before"), Config{}.withDefaults().Logger)
		r := newReading(1)
		d.follow(r)
		for seq := uint64(1); seq <= 10; seq++ {
			r.read(seq)
		}
		for _, seq := range []uint64{3, 1, 2, 7} { // 4 and the later ones stay
			d.add(seq)
		}
		loop.Pause(t.Context(), 2*gather)
		d.add(5) // alone and in the middle
		loop.Pause(t.Context(), 2*gather)
		for _, seq := range []uint64{4, 6, 8, 9, 10} { // nothing stays
			d.add(seq)
		}
		d.close(time.Now().Add(time.Second))
		want := []string{"purge before 4", "erase 7", "erase 5", "purge before 11"}
		if diff := cmp.Diff(want, calls); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
	})
}

func TestDeletesGiveUpAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeletes(func(context.Context, uint64) error { return errTest }, neverPurged(t), Config{}.withDefaults().Logger)
		for seq := range uint64(100) {
			d.add(seq)
		}
		began := time.Now()
		d.close(began.Add(2 * time.Second))
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
