package broker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"fairlane/scheduler"
)

// onBothNATS runs a suite with the server in this process, and with one outside.
func onBothNATS(t *testing.T, suite func(t *testing.T, b *Broker)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) { suite(t, openBroker(t, Config{Store: StoreMemory})) })
	t.Run("external", func(t *testing.T) { suite(t, openBroker(t, Config{URL: startServer(t).url()})) })
}

// TestAReaderThatIsStuckKeepsNoPublisher publishes more than a stuck reader can be
// told. When it goes on it hears of each entry, once.
func TestAReaderThatIsStuckKeepsNoPublisher(t *testing.T) {
	onBothNATS(t, func(t *testing.T, b *Broker) {
		t.Helper()
		s := openStream(t, b, StreamConfig{})
		const all = tailEar + 100
		heard, loaded, gate := make(chan string, 2*all), make(chan struct{}, 1), make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = s.Tail(ctx, 1, func(_ uint64, e *scheduler.Entry, _ error) {
				<-gate
				heard <- e.ID
			}, func() { loaded <- struct{}{} })
		}()
		t.Cleanup(func() { cancel(); <-done })
		take(t, loaded, "the end of what is there")
		published := make(chan error, all)
		for i := range all {
			go func() {
				_, err := s.Publish(context.WithoutCancel(ctx), entry(fmt.Sprint("id", i), "u"))
				published <- err
			}()
			select {
			case err := <-published:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(patience / 4):
				close(gate)
				t.Fatalf("publish %d waits for the reader", i)
			}
		}
		close(gate)
		times := map[string]int{}
		for range all {
			times[take(t, heard, "an entry")]++
		}
		seq := publish(t, s, entry("last", "u"))
		if got := take(t, heard, "the last entry"); got != "last" || len(times) != all {
			t.Errorf("%q came at the end (seq %d), %d of %d entries before it", got, seq, len(times), all)
		}
	})
}
