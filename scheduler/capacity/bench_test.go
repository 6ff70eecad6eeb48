package capacity

import (
	"fmt"
	"testing"
	"time"
)

// full makes a pool of n backends that all run something of several groups.
func full(n int) (*Pool, time.Time) {
	now := epoch()
	var cfg Config
	for i := range n {
		cfg.Backends = append(cfg.Backends, BackendConfig{URL: fmt.Sprintf("http://backend-%d:8000", i), Slots: 64})
	}
	p := NewPool(cfg)
	for g := range uint64(8) {
		p.Learn(g+1, 500)
	}
	for i, b := range p.Backends() {
		b.Up(now)
		b.Observe(now, Sample{At: now, KVTokens: 1_000_000, BlockSize: 16, PrefixCache: true})
		for j := range 40 {
			b.Take(now, Demand{Sequences: 1, Input: 1000 + 10*i, Expected: 400, Stream: true, Group: uint64((i+j)%8) + 1}).FirstToken(now)
		}
	}
	return p, now
}

// BenchmarkFit compares a decision with the simplest one there is: the first
// backend whose counter is below its bound.
func BenchmarkFit(b *testing.B) {
	small := Demand{Sequences: 1, Input: 2000, Expected: 300, Stream: true, Group: 3}
	b.Run("counter/backends=8", func(b *testing.B) {
		running := [8]int{64, 64, 64, 64, 64, 64, 64, 40}
		for b.Loop() {
			for i := range running {
				if running[i] < 64 {
					running[i]++
					running[i]--
					break
				}
			}
		}
	})
	for _, n := range []int{1, 8} {
		p, now := full(n)
		b.Run(fmt.Sprintf("fits/backends=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, v := p.Fit(now, small, true); v != Fits {
					b.Fatal(v)
				}
			}
		})
		b.Run(fmt.Sprintf("blocked/backends=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, v := p.Fit(now, Demand{Sequences: 1, Input: 900_000, Expected: 300}, true); v != NoKV {
					b.Fatal(v)
				}
			}
		})
		b.Run(fmt.Sprintf("fit+take+release/backends=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x, v := p.Fit(now, small, true)
				if v != Fits {
					b.Fatal(v)
				}
				h := x.Take(now, small)
				h.FirstToken(now)
				h.Release(now, true)
			}
		})
	}
}

func TestFitDoesNotAllocate(t *testing.T) {
	p, now := full(8)
	small := Demand{Sequences: 1, Input: 2000, Expected: 300, Group: 3}
	large := Demand{Sequences: 1, Input: 900_000, Expected: 300, Avoid: "http://backend-1:8000"}
	got := testing.AllocsPerRun(100, func() {
		p.Fit(now, small, true)
		p.Fit(now, large, true)
		p.Fit(now, small, false)
		p.Wake(now)
	})
	if got != 0 {
		t.Fatalf("%v allocations", got)
	}
}
