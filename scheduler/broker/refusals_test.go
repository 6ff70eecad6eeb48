package broker

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestAClaimIsWonOnceInAWindow over either kind of NATS, by one of many who ask at
// once, and again when the window is over.
func TestAClaimIsWonOnceInAWindow(t *testing.T) {
	outside := startServer(t)
	for name, cfg := range map[string]Config{"embedded": {Store: StoreMemory}, "outside": {URL: outside.url()}} {
		t.Run(name, func(t *testing.T) {
			r := openBroker(t, cfg).Refusals()
			race := func(key string, window time.Duration) int64 {
				var wins atomic.Int64
				var all sync.WaitGroup
				for range 8 {
					all.Go(func() {
						won, until, err := r.Claim(t.Context(), key, window)
						if err != nil || until.IsZero() {
							t.Errorf("until %s: %v", until, err)
						}
						if won {
							wins.Add(1)
						}
					})
				}
				all.Wait()
				return wins.Load()
			}
			if n := race("ann", time.Hour); n != 1 {
				t.Errorf("%d won", n)
			}
			if n := race("ann", time.Hour); n != 0 {
				t.Errorf("%d won again within the window", n)
			}
			if n := race("bob", time.Hour); n != 1 {
				t.Errorf("%d won another key", n)
			}
			if won, _, err := r.Claim(t.Context(), "ann", time.Nanosecond); err != nil || !won {
				t.Errorf("nobody wins when the window is over: %v", err)
			}
		})
	}
}

func TestWhatIsToldOfRefusalsReachesAll(t *testing.T) {
	outside := startServer(t)
	a, b := openBroker(t, Config{URL: outside.url()}).Refusals(), openBroker(t, Config{URL: outside.url()}).Refusals()
	heard := make(chan string, 2)
	for _, r := range []Refusals{a, b} {
		stop, err := r.Subscribe(func(data []byte) { heard <- string(data) })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		if err := r.b.nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Publish([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := <-heard; got != "x" {
			t.Errorf("heard %q", got)
		}
	}
}
