package simulate

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSeedsSaySpread: figures are medians between what the seeds were.
func TestSeedsSaySpread(t *testing.T) {
	t.Parallel()
	w := load(t, "mixed-day")
	w.Duration = 5 * time.Minute
	r, err := Repeat(t.Context(), w, SetupOf(w), Fair, 3)
	if err != nil {
		t.Fatal(err)
	}
	if w.Seed != 1 || r.Seeds != 3 || r.Seed != 1 {
		t.Errorf("the workload's seed is %d now; %d seeds from %d were run", w.Seed, r.Seeds, r.Seed)
	}
	for name, of := range map[string]func(x *Result) float64{
		"requests":    func(x *Result) float64 { return float64(x.Requests) },
		"output":      func(x *Result) float64 { return x.OutputRate },
		"vip's share": func(x *Result) float64 { return x.class("vip").Share },
		"chat's wait": func(x *Result) float64 { return x.user("chat").Wait.P99 },
	} {
		if low, mid, high := of(r.Low), of(r), of(r.High); low > mid || mid > high || low == high {
			t.Errorf("%s: %v to %v, median %v", name, low, high, mid)
		}
	}
	var seen []float64
	for seed := range uint64(3) {
		w.Seed = seed + 1
		seen = append(seen, run(t, w, Fair).OutputRate)
	}
	slices.Sort(seen)
	if r.Low.OutputRate != seen[0] || r.OutputRate != seen[1] || r.High.OutputRate != seen[2] {
		t.Errorf("%v: %v to %v, median %v", seen, r.Low.OutputRate, r.High.OutputRate, r.OutputRate)
	}
}

// TestNoiseIsNoChange: what lies within the spread of either is not told.
func TestNoiseIsNoChange(t *testing.T) {
	t.Parallel()
	of := func(refused ...int) *Result {
		var runs []*Result
		for _, n := range refused {
			asked := 1000 * (1 + len(runs)) // parts are taken seed by seed
			runs = append(runs, &Result{Classes: []ClassRow{{Name: "staff", Ends: Ends{Asked: asked, Refused: n * asked / 1000}}}})
		}
		return fold(runs)
	}
	for _, c := range []struct {
		was, is *Result
		want    verdict
		text    string
	}{
		{of(125), of(163), worse, "refused 16.3 %, was 12.5 %"},
		{of(100, 125, 170), of(120, 163, 200), same, ""},
		{of(100, 125, 130), of(150, 163, 200), worse, "refused 16.3 % (15.0 % to 20.0 %), was 12.5 % (10.0 % to 13.0 %)"},
		{of(150, 163, 200), of(100, 125, 130), better, "refused 12.5 % (10.0 % to 13.0 %), was 16.3 % (15.0 % to 20.0 %)"},
		{of(100, 101, 102), of(104, 105, 106), same, ""}, // beyond the spread, and nothing to tell
	} {
		if got := changed("staff", c.was, c.is); got.Verdict != c.want || got.String() != c.text {
			t.Errorf("%s: %s, want %s: %s", got.Verdict, got.String(), c.want, c.text)
		}
	}
}

// TestSeedsAreTold where figures of one seed would be taken for more than they are.
func TestSeedsAreTold(t *testing.T) {
	t.Parallel()
	w := load(t, "twelve-users")
	w.Duration = 20 * time.Second
	for seeds, want := range map[int]string{1: "seed 1: small differences may be chance", 2: "2 seeds from 1: medians, with what was seen in brackets"} {
		var runs []*Result
		for _, p := range []Policy{Fair, FCFS} {
			r, err := Repeat(t.Context(), w, SetupOf(w), p, seeds)
			if err != nil {
				t.Fatal(err)
			}
			runs = append(runs, r)
		}
		var b bytes.Buffer
		if err := NewReport(w, runs).Table(&b); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("%d seeds: %v, want %q in\n%s", seeds, err, want, b.String())
		}
	}
}
