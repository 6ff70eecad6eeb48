package simulate

import "testing"

// Slots that are kept for a class are no reason to stop learning how many there are.
func TestHeadroomOfLearnedSlotsCostsWhatItKeeps(t *testing.T) {
	t.Parallel()
	rate := func(headroom string) float64 {
		w, err := ParseWorkload([]byte(`
name: learned
warmup: 3m
duration: 2m
gpu: {profile: h100, slots: 0}
classes: {all: {weight: 1}, vip: {weight: 1, headroom: `+headroom+`}}
users:
  - {name: flood, class: all, input: {median: 500}, output: {median: 200}, load: {outstanding: 600}}
  - {name: light, class: vip, input: {median: 500}, output: {median: 200}, load: {rate: 0.2}}
`), "learned.yaml")
		if err != nil {
			t.Fatal(err)
		}
		return run(t, w, Fair).OutputRate
	}
	without := rate("0")
	for _, headroom := range []string{"2", "8"} {
		if with := rate(headroom); with < 0.9*without {
			t.Errorf("with headroom %s it makes %.0f tokens a second, without %.0f", headroom, with, without)
		}
	}
}
