package config

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSizesAndTimes(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "512KB": 512 << 10, "8MB": 8 << 20, "1GB": 1 << 30, "1 gb": 1 << 30, "3kib": 3 << 10, "2MiB": 2 << 20, "1GiB": 1 << 30, "7B": 7,
		"0": -1, "": -1, "MB": -1, "-1MB": -1, "1.5MB": -1, "1TB": -1, "1MBB": -1, "9223372036854775807": 1<<63 - 1, "8589934592GB": -1, "1e3": -1,
	} {
		got, err := size().parse(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for text, want := range map[string]time.Duration{
		"0": 0, "1ms": time.Millisecond, "1h30m": 90 * time.Minute, "30d": 720 * time.Hour, "1d12h": 36 * time.Hour, "365d": 8760 * time.Hour, "0.5h": 30 * time.Minute,
		"": -1, "5": -1, "d": -1, "1d24h": -1, "1d-1h": -1, "-1s": -1, "1.5d": -1, "99999d": -1, "1d 2h": -1,
	} {
		got, err := duration(0).parse(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if _, err := positive().parse("0s"); err == nil {
		t.Error("0s is positive")
	}
}

// What Describe shows can be written into a file.
func TestShownIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.Int64Range(1, 1<<40), rapid.Map(rapid.Int64Range(1, 1<<20), func(n int64) int64 { return n << 20 })).Draw(t, "size")
		if got, err := size().parse(showSize(n)); err != nil || got != n {
			t.Fatalf("%d is shown as %s and read as %d, %v", n, showSize(n), got, err)
		}
		unit := rapid.SampledFrom([]time.Duration{1, time.Millisecond, time.Second, time.Minute, time.Hour, day}).Draw(t, "unit")
		d := time.Duration(rapid.Int64Range(0, 1000).Draw(t, "time")) * unit
		if got, err := duration(0).parse(showDuration(d)); err != nil || got != d {
			t.Fatalf("%v is shown as %s and read as %v, %v", d, showDuration(d), got, err)
		}
	})
}

func TestNearest(t *testing.T) {
	known := []string{"max_wait", "max_queued", "weight", "headroom", "codel", "user", "role"}
	for word, want := range map[string]string{
		"max_wiat": "max_wait", "maxWait": "max_wait", "Max-Queued": "max_queued", "wait": "", "wieght": "weight", "weights": "weight",
		"rol": "role", "usr": "user", "codle": "codel", "x": "", "": "", "something_else_altogether_that_goes_on_and_on": "",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "abd", 1}, {"abc", "ab", 1}, {"abc", "xabc", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3}} {
		if got := distance(tc.a, tc.b); got != tc.want {
			t.Errorf("%q, %q: %d, want %d", tc.a, tc.b, got, tc.want)
		}
		if got := distance(tc.b, tc.a); got != tc.want {
			t.Errorf("%q, %q: %d, want %d", tc.b, tc.a, got, tc.want)
		}
	}
}
