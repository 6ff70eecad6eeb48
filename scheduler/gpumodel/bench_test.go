package gpumodel

import (
	"fmt"
	"math"
	"testing"
)

// decoding is an engine with so many sequences that decode for ever.
func decoding(b *testing.B, n int) *Engine {
	b.Helper()
	p := H100()
	p.KVTokens, p.MaxModelLen = math.MaxInt32/16*16, math.MaxInt32
	e := newEngine(b, Config{Profile: p})
	for i := range n {
		add(b, e, Request{ID: uint64(i), Prompt: 100, Output: math.MaxInt32/n - 200})
	}
	for e.Step().Prefill > 0 {
	}
	return e
}

// BenchmarkStep and BenchmarkLeap do the same: a token for every sequence. ns/token
// compares them.
func BenchmarkStep(b *testing.B) {
	for _, n := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("sequences=%d", n), func(b *testing.B) {
			e := decoding(b, n)
			b.ReportAllocs()
			for b.Loop() {
				e.Step()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/token")
		})
	}
}

func BenchmarkLeap(b *testing.B) {
	const steps = 100
	for _, n := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("sequences=%d", n), func(b *testing.B) {
			e := decoding(b, n)
			b.ReportAllocs()
			for b.Loop() {
				limit := e.duration(steps, contextOf(e))
				if k, _ := e.Leap(limit); k != steps {
					e = decoding(b, n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n*steps), "ns/token")
		})
	}
}

func contextOf(e *Engine) int {
	n := 0
	for _, s := range e.running {
		n += s.length()
	}
	return n
}

// BenchmarkArrival is what a sequence costs beside its tokens, with a mark at every
// block and all of its prompt in the cache.
func BenchmarkArrival(b *testing.B) {
	e := newEngine(b, Config{Profile: H100()})
	r := Request{Prompt: 1000, Output: 1, Prefix: marks(1, 1000, 16)}
	b.ReportAllocs()
	for b.Loop() {
		r.ID++
		add(b, e, r)
		e.Step()
	}
}
