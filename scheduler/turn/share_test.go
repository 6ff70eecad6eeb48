package turn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"fairlane/scheduler"
)

// TestTwelveUsersGetTheirShares: classes of 8:3:1, in each users of 1:1:2:4, answers
// of which a few are very long, 64 at once, for half an hour: nobody's share is off by
// more than half a hundredth of it.
func TestTwelveUsersGetTheirShares(t *testing.T) {
	t.Parallel()
	classes := map[string]Class{"vip": {Weight: 8}, "standard": {Weight: 3}, "background": {Weight: 1}}
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			var people []*person
			for class := range classes {
				for i, weight := range []float64{1, 1, 2, 4} {
					people = append(people, &person{name: fmt.Sprint(class, i), class: class, weight: weight, waiting: 70, next: func(int) job {
						out := 40 * math.Exp(random.NormFloat64()*1.2)
						return job{e: &scheduler.Entry{InputTokens: 50 + random.IntN(100)}, out: 1 + int(min(out, 4000))}
					}})
				}
			}
			slices.SortFunc(people, func(a, b *person) int {
				if a.name < b.name {
					return -1
				}
				return 1
			})
			s := streetOf(t, 64, Policy{Classes: classes}, people...)
			s.dt = 500 * time.Millisecond
			s.live(1800 * time.Second)
			sum, worst := 0.0, 0.0
			for _, w := range s.work {
				sum += w
			}
			for _, p := range people {
				want := classes[p.class].Weight / 12 * p.weight / 8
				worst = max(worst, math.Abs(s.work[p.name]/sum/want-1))
			}
			t.Logf("the largest error is %.2f %%", 100*worst)
			if worst > 0.005 {
				t.Errorf("the largest error of a share is %.2f %%", 100*worst)
			}
		})
	}
}

// TestALightUserBesideAFlood of 3,000 waits until one slot has become free: it begins
// where the flood's last request began. With headroom it waits for none.
func TestALightUserBesideAFlood(t *testing.T) {
	t.Parallel()
	day := func(headroom int) (median time.Duration, turnover float64) {
		const length = 6 * time.Minute
		random := rand.New(rand.NewPCG(1, 1))
		flood := &person{name: "flood", waiting: 3000, next: func(int) job {
			return job{e: &scheduler.Entry{InputTokens: 200 + random.IntN(200)}, out: 1 + int(random.ExpFloat64()*300)}
		}}
		light := &person{name: "light", class: "vip", every: 1930 * time.Millisecond, next: func(int) job {
			return job{e: &scheduler.Entry{InputTokens: 100}, out: 50}
		}}
		s := streetOf(t, 64, Policy{Classes: map[string]Class{"all": {Weight: 1}, "vip": {Weight: 1, Headroom: headroom}}}, flood, light)
		s.dt = 5 * time.Millisecond
		s.live(length)
		waits := slices.Sorted(slices.Values(s.waits["light"]))
		return waits[len(waits)/2], length.Seconds() / float64(s.started["flood"]+s.started["light"])
	}
	plain, turnover := day(0)
	kept, _ := day(2)
	t.Logf("the median wait is %v, a slot becomes free in %.0f ms; with headroom 2 it is %v", plain, 1000*turnover, kept)
	if plain.Seconds() > turnover {
		t.Errorf("the median wait is %v, a slot becomes free in %.0f ms", plain, 1000*turnover)
	}
	if kept > 30*time.Millisecond {
		t.Errorf("the median wait is %v with headroom", kept)
	}
}
