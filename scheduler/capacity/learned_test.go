package capacity

import (
	"math"
	"testing"
	"time"
)

// TestRecall begins a pool where another one was, and not at what can't be.
func TestRecall(t *testing.T) {
	const url = "http://gpu"
	now := time.Unix(1_000_000, 0)
	old := NewPool(Config{Backends: []BackendConfig{{URL: url}}})
	b := old.Backend(url)
	b.slots, b.learner.ceiling, b.rho, b.prefill.rate, b.beta = 40, 40, 1.5, 20_000, 0.9

	fresh := NewPool(Config{Backends: []BackendConfig{{URL: url}}}).Backend(url)
	fresh.Recall(b.Learned())
	fresh.Up(now)
	if s := fresh.State(); s.Slots != 40 || s.Rho != 1.5 || s.Rate != 20_000 || s.Beta != 0.9 || fresh.learner.ceiling != 40 {
		t.Errorf("got %+v", s)
	}

	fresh.Recall(Learned{Slots: 1 << 20, Ceiling: -3, Rho: math.NaN(), Rate: 1, Beta: 7})
	if s := fresh.State(); s.Slots != mostSlots || s.Rho != 1.5 || s.Rate != 20_000 || s.Beta != 0.9 || fresh.learner.ceiling != 0 {
		t.Errorf("nonsense was taken: %+v", s)
	}

	fixed := NewPool(Config{Backends: []BackendConfig{{URL: url, Slots: 4}}}).Backend(url)
	fixed.Recall(b.Learned())
	if s := fixed.State(); s.Slots != 4 || s.Rho != 1.5 {
		t.Errorf("configured slots give way: %+v", s)
	}
	if x := fixed.Learned(); x.Slots != 0 || x.Ceiling != 0 {
		t.Errorf("configured slots are handed on as learned ones: %+v", x)
	}
}
