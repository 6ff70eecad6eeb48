package fairqueue

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func defaults() Weights { return Weights{Input: 1, Cached: 0.1, Output: 2} }

func TestCost(t *testing.T) {
	chat := Input{Tokens: 5050, Cached: 5000, Sequences: 1, Expected: 300, Stream: true}
	whole, four, cold := chat, chat, chat
	whole.Stream = false
	four.Sequences = 4
	cold.Cached = 0
	w := defaults()
	for _, tt := range []struct {
		name string
		got  Cost
		want Cost
	}{
		{"reserve of a chat that streams: half of the output", Reserve(w, chat), 850 * Token},
		{"reserve of one that does not: all of it", Reserve(w, whole), 1150 * Token},
		{"reserve of four sequences", Reserve(w, four), 1750 * Token},
		{"reserve where nothing is cached", Reserve(w, cold), 5350 * Token},
		{"actual", Actual(w, 5050, 5000, 300), 1150 * Token},
		{"a tenth of a token is no integer", Actual(w, 13, 13, 0), 1300},
		{"rounded up to thousandths", Actual(Weights{Input: 1.0001}, 3, 0, 0), 3*Token + 1},
		{"but not by the error of a float", Actual(w, 3_000_003, 3_000_003, 0), 300_000_300},
		{"more cached than there is", Actual(w, 10, 50, 1), 3 * Token},
		{"at least one token", Actual(w, 0, 0, 0), Token},
		{"negative counts", Actual(w, -5, -5, -5), Token},
		{"reserve of nothing", Reserve(w, Input{}), Token},
		{"beyond all bounds", Actual(w, math.MaxInt, 0, math.MaxInt), mostCost},
		{"weights that are none", Actual(Weights{Input: math.NaN()}, 1, 0, 0), mostCost},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, tt.got, tt.want)
		}
	}
}

func TestSpan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.Int64Range(0, mostCost).Draw(t, "cost")
		w := weightOf(rapid.Float64Range(0, 2000).Draw(t, "weight"))
		exact, rest := new(big.Int).DivMod(new(big.Int).Lsh(big.NewInt(c), 40), big.NewInt(int64(w)), new(big.Int))
		if rest.Sign() > 0 {
			exact.Add(exact, big.NewInt(1))
		}
		got := span(c, w)
		tolerance := float64(got)*math.Exp2(-52) + 1
		if math.Abs(float64(got-exact.Int64())) > tolerance || got < 0 || got > farthest-1 {
			t.Fatalf("span %d, exactly %d", got, exact)
		}
		if c > 0 && span(c-1, w) > got {
			t.Fatal("not monotone")
		}
	})
}

func TestWeightsAreBounded(t *testing.T) {
	for w, want := range map[float64]float64{0: 0.01, -1: 0.01, math.Inf(-1): 0.01, 1e9: 1000, math.Inf(1): 1000, 1: 1, 0.5: 0.5} {
		if got := weightOf(w).float(); math.Abs(got-want) > 1e-6 {
			t.Errorf("weight %g is taken as %g, want %g", w, got, want)
		}
	}
	if got := weightOf(math.NaN()); got != weightOf(0.01) {
		t.Errorf("no number is taken as %d", got)
	}
}
