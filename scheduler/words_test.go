package scheduler

import (
	"testing"
	"time"
)

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                      "0 ms",
		300 * time.Millisecond:            "300 ms",
		100 * time.Microsecond:            "1 ms",
		999 * time.Millisecond:            "999 ms",
		time.Second:                       "1 s",
		1250 * time.Millisecond:           "1.3 s",
		59_940 * time.Millisecond:         "59.9 s",
		59_990 * time.Millisecond:         "60 s",
		72_250 * time.Millisecond:         "72.3 s",
		90 * time.Second:                  "90 s",
		121 * time.Second:                 "2 min 1 s",
		3 * time.Minute:                   "3 min",
		time.Hour:                         "60 min",
		2*time.Hour + time.Second:         "2 h 1 min",
		23*time.Hour + 59*time.Minute + 1: "24 h",
		50 * time.Hour:                    "2 d 2 h",
		30 * 24 * time.Hour:               "30 d",
	} {
		if got := Words(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
