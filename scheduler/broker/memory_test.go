package broker

import (
	"testing"
)

// TestMemoryKeepsTheLast over either kind of NATS, for each pool its own, and
// after the bucket was wiped.
func TestMemoryKeepsTheLast(t *testing.T) {
	outside := startServer(t)
	for name, cfg := range map[string]Config{"embedded": {Store: StoreMemory}, "outside": {URL: outside.url()}} {
		t.Run(name, func(t *testing.T) {
			b := openBroker(t, cfg)
			small, err := b.Memory(t.Context(), "small")
			if err != nil {
				t.Fatal(err)
			}
			large, err := b.Memory(t.Context(), "large")
			if err != nil {
				t.Fatal(err)
			}
			holds := func(m *Memory, want string) {
				t.Helper()
				if got, err := m.Load(t.Context()); err != nil || string(got) != want {
					t.Errorf("got %q, %v; want %q", got, err, want)
				}
			}
			save := func(m *Memory, what string) {
				t.Helper()
				if err := m.Save(t.Context(), []byte(what)); err != nil {
					t.Fatal(err)
				}
			}
			holds(small, "")
			save(small, "first")
			save(small, "second")
			save(large, "other")
			holds(small, "second")
			holds(large, "other")
			if err := b.js.DeleteKeyValue(t.Context(), memoryBucket); err != nil {
				t.Fatal(err)
			}
			holds(small, "")
			save(small, "third")
			holds(small, "third")
		})
	}
}

func TestMemoryRefusesWhatNoKeyHolds(t *testing.T) {
	b := openBroker(t, Config{Store: StoreMemory})
	if _, err := b.Memory(t.Context(), "a.b"); err == nil {
		t.Error("took a pool that is no key")
	}
}
