package capacity

import (
	"math"
	"testing"
	"time"
)

func TestMaxSlots(t *testing.T) {
	for _, c := range []struct {
		slots []int
		want  int
	}{{nil, 0}, {[]int{0}, 0}, {[]int{-3}, 0}, {[]int{0, 4}, 4}, {[]int{8, 4}, 8}} {
		var cfg Config
		for i, n := range c.slots {
			cfg.Backends = append(cfg.Backends, BackendConfig{URL: string(rune('a' + i)), Slots: n})
		}
		if got := NewPool(cfg).MaxSlots(); got != c.want {
			t.Errorf("%v: %d, want %d", c.slots, got, c.want)
		}
	}
}

// Backends is walked while what it lists comes and goes.
func TestBackendsStaysAsItWas(t *testing.T) {
	now := epoch()
	p := NewPool(Config{Backends: []BackendConfig{{URL: "a"}, {URL: "b"}}})
	var holds []*Hold
	for _, b := range p.Backends() {
		b.Up(now)
		holds = append(holds, b.Take(now, Demand{}))
	}
	p.Configure(Config{})
	for i, b := range p.Backends() {
		if want := []string{"a", "b"}[i]; b == nil || b.URL() != want {
			t.Fatalf("%d: %v, want %s", i, b, want)
		}
		holds[i].Release(now, true)
	}
	if n := len(p.Backends()); n != 0 {
		t.Fatalf("%d are left", n)
	}
}

func TestGroupsAreBounded(t *testing.T) {
	p := NewPool(Config{})
	for g := range uint64(mostGroups + 10) {
		p.Learn(g+1, 100)
	}
	if len(p.shared) != mostGroups {
		t.Fatalf("%d groups are remembered, want %d", len(p.shared), mostGroups)
	}
}

// Metrics are from outside: nonsense in them must not get into the sums.
func TestObserveNonsense(t *testing.T) {
	now := epoch()
	p := NewPool(Config{Backends: []BackendConfig{{URL: "a"}}})
	b := p.Backend("a")
	b.Up(now)
	h := b.Take(now, Demand{Input: 5000, Expected: 10})
	h.FirstToken(now)
	for i, usage := range []float64{math.NaN(), math.Inf(1), -1, 1e300} {
		now = now.Add(time.Second)
		b.Observe(now, Sample{
			At: now, Running: math.MinInt, Waiting: i, KVUsage: usage, Preemptions: math.NaN(),
			KVTokens: math.MaxInt, BlockSize: math.MaxInt,
		})
		b.Observe(now, Sample{At: now.Add(time.Millisecond), Running: math.MaxInt, KVUsage: usage, KVTokens: -1, BlockSize: -1})
		if err := p.audit(); err != nil {
			t.Fatal(err)
		}
	}
	if b.rho != 1 || b.block != defaultBlock || b.kvTokens != mostTokens {
		t.Fatalf("rho %v, block %d, KV %d", b.rho, b.block, b.kvTokens)
	}
	h.Release(now, true)
	if err := p.audit(); err != nil {
		t.Fatal(err)
	}
}

func TestVerdictString(t *testing.T) {
	seen := map[string]bool{}
	for v := Never; v <= Fits; v++ {
		seen[v.String()] = true
	}
	if len(seen) != 6 || seen[Verdict(0).String()] {
		t.Fatal(seen)
	}
}

// Learned slots end where vLLM's default does.
func TestLearnedSlotsAreBounded(t *testing.T) {
	now := epoch()
	p := NewPool(Config{Backends: []BackendConfig{{URL: "a"}}})
	b := p.Backend("a")
	b.Up(now)
	b.Observe(now, Sample{At: now})
	for range 2 * mostSlots {
		h := b.Take(now, Demand{Sequences: b.limit()})
		if _, v := p.Fit(now, Demand{}, true); v != NoSlot {
			t.Fatal(v)
		}
		h.Release(now, true)
	}
	if b.slots != mostSlots {
		t.Fatalf("%d slots, want %d", b.slots, mostSlots)
	}
}
