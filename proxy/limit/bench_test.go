package limit

import (
	"context"
	"testing"
	"time"
)

func BenchmarkMemory(b *testing.B) {
	open, closed := of(most, time.Second), of(1, 360*day)
	many := make([][]Charge, 1<<20)
	for i := range many {
		many[i] = []Charge{caller(i, of(1_000_000, time.Minute), 1)}
	}
	for _, bb := range []struct {
		name    string
		charges [][]Charge
	}{
		{"granted", [][]Charge{{on(open, 1)}}},
		{"refused", [][]Charge{{on(closed, 1)}}},
		{"three limits", [][]Charge{{on(open, 1), on(of(most, time.Minute), 1), on(of(most, time.Hour), 1)}}},
		{"a million callers", many},
	} {
		b.Run(bb.name, func(b *testing.B) {
			m := NewMemory(MemoryConfig{Most: 1 << 21})
			ctx := context.Background()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, err := m.Acquire(ctx, bb.charges[i]); err != nil {
					b.Fatal(err)
				}
				if i++; i == len(bb.charges) {
					i = 0
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
		})
	}
}
