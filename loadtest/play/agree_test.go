package play

import (
	"strings"
	"testing"

	"fairlane/loadtest/simulate"
)

func TestAgree(t *testing.T) {
	t.Parallel()
	result := func(share, wait, rate float64, n int) *simulate.Result {
		return &simulate.Result{OutputRate: rate, Rows: []simulate.Row{{Name: "a", Share: share, Wait: simulate.Quantiles{N: n, P50: wait}}}}
	}
	said := result(0.5, 2, 100, 50)
	for name, c := range map[string]struct {
		seen *simulate.Result
		want int
		says string
	}{
		"as said":           {result(0.5, 2, 100, 50), 0, "ok"},
		"a tenth less":      {result(0.46, 2.1, 95, 50), 0, "-8.0 %"},
		"another share":     {result(0.44, 2, 100, 50), 1, "APART"},
		"a longer wait":     {result(0.5, 2.3, 100, 50), 1, "+15.0 %"},
		"a slower system":   {result(0.5, 2, 80, 50), 1, "-20.0 %"},
		"hardly any waits":  {result(0.5, 2, 100, 3), 1, "too few"},
		"nobody was served": {&simulate.Result{}, 3, "-100.0 %"},
	} {
		var b strings.Builder
		got, err := Agree(&b, c.seen, said, Tenth())
		if err != nil || got != c.want || !strings.Contains(b.String(), c.says) {
			t.Errorf("%s: %d, want %d and %q in\n%s%v", name, got, c.want, c.says, b.String(), err)
		}
	}
}
