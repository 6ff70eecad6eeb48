package capacity

import (
	"math"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestBetaIsBounded shows a backend anything a server may say of itself, as often
// as it likes, and lets heads lack slots or KV: beta stays within its bounds,
// rises only after a head lacked KV there, moves at most once a second, and in
// the end, whatever was said last, an idle backend takes a request.
func TestBetaIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := epoch()
		p := NewPool(Config{Backends: []BackendConfig{{URL: "a", Slots: rapid.SampledFrom([]int{0, 2, 64}).Draw(t, "slots")}}})
		b := p.Backend("a")
		b.Up(now)
		var holds []*Hold
		lacked, moved := time.Time{}, time.Time{}
		usage := rapid.OneOf(rapid.Float64Range(0, 1), rapid.SampledFrom([]float64{0.5, 0.96, 0.99, -1, 7, math.NaN(), math.Inf(1)}))
		count := rapid.SampledFrom([]float64{0, 1, 5, 1e18, math.NaN(), -3})
		t.Repeat(map[string]func(*rapid.T){
			"observe": func(t *rapid.T) {
				before := b.beta
				b.Observe(now, Sample{
					At: now, KVTokens: 10000, KVUsage: usage.Draw(t, "usage"), Preemptions: count.Draw(t, "preemptions"),
					Waiting: rapid.SampledFrom([]int{0, 0, 1, 3, 1 << 30}).Draw(t, "waiting"), Running: rapid.IntRange(0, 64).Draw(t, "running"),
				})
				switch {
				case b.beta == before:
					return
				case !moved.IsZero() && now.After(moved) && now.Sub(moved) < betaEvery:
					t.Fatalf("two steps within %v", now.Sub(moved))
				case b.beta > before && !within(now, lacked, blockedBy):
					t.Fatal("beta rises, and nobody lacked KV")
				}
				moved = now
			},
			"head": func(t *rapid.T) {
				d := Demand{Sequences: rapid.IntRange(1, 3).Draw(t, "sequences"), Input: rapid.IntRange(1, 9000).Draw(t, "input"), Expected: 100, Stream: true}
				d.Cached = d.Input
				slots := b.running+d.Sequences > b.limit()
				switch to, v := p.Fit(now, d, true); {
				case v == Fits:
					holds = append(holds, to.Take(now, d))
				case v == NoKV && !slots:
					lacked = now
				}
			},
			"complete": func(t *rapid.T) {
				if len(holds) == 0 {
					t.Skip("nothing runs")
				}
				holds[0].Release(now, true)
				holds = holds[1:]
			},
			"time": func(t *rapid.T) {
				d := time.Duration(rapid.SampledFrom([]int{100, 1000, 1000, 5000, -3000}).Draw(t, "ms")) * time.Millisecond
				if now = now.Add(d); d < 0 {
					moved = time.Time{} // a clock that steps back opens what was shut
				}
			},
			"": func(t *rapid.T) {
				if !(b.beta >= leastBeta && b.beta <= mostBeta && b.rho >= leastRho && b.rho <= mostRho) || b.limit() < 1 {
					t.Fatalf("beta %v, rho %v, slots %d", b.beta, b.rho, b.limit())
				}
			},
		})
		for _, h := range holds {
			h.Release(now, false)
		}
		if _, v := p.Fit(now.Add(time.Hour), Demand{Input: 9000, Expected: 100}, true); v != Fits {
			t.Fatalf("an idle backend answers %v", v)
		}
	})
}

// TestHomesAreBounded remembers what was asked for lately, and not everything.
func TestHomesAreBounded(t *testing.T) {
	var h homes
	for i := range 5 * mostHomes {
		h.move(strconv.Itoa(i), "a")
		if i%1000 == 0 {
			h.move("0", "b") // goes on
		}
	}
	if n := len(h.young) + len(h.old); n > 2*mostHomes {
		t.Errorf("%d are remembered", n)
	}
	first, last, gone := h.of("0"), h.of(strconv.Itoa(5*mostHomes-1)), h.of("1")
	if first != "b" || last != "a" || gone != "" {
		t.Errorf("got %q, %q, %q", first, last, gone)
	}
}
