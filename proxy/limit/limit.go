package limit

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Limit is N per Period with a burst of Burst (N unless said otherwise): a
// token bucket that refills evenly.
type Limit struct {
	N      int64
	Period time.Duration
	Burst  int64
}

const (
	most    = 1_000_000_000_000          // of N and of a burst
	longest = 100 * 360 * 24 * time.Hour // of a period, and of the time that an empty bucket takes to fill
)

// Validate says what is wrong with a limit. What [Parse] gives is right.
func (l Limit) Validate() error {
	switch {
	case l.N < 1 || l.N > most:
		return fmt.Errorf("a limit of %d: it must lie between 1 and %d", l.N, int64(most))
	case l.Burst < 1 || l.Burst > most:
		return fmt.Errorf("a burst of %d: it must lie between 1 and %d", l.Burst, int64(most))
	case l.Period <= 0 || l.Period > longest:
		return fmt.Errorf("a limit per %v: the period must be positive and at most 100 years", l.Period)
	case l.span(l.Burst).whole > int64(longest):
		return fmt.Errorf("a burst of %d at %d in %v: an empty bucket would take over 100 years to fill", l.Burst, l.N, l.Period)
	}
	return nil
}

// Among is the part of one of n who share the limit and do not know of each other:
// together they give no more, but for the first of each.
func (l Limit) Among(n int) Limit {
	if n <= 1 {
		return l
	}
	l.Burst = max(1, l.Room()/int64(n))
	if l.Period <= longest/time.Duration(n) {
		l.Period *= time.Duration(n)
	} else {
		l.N = max(1, l.N/int64(n))
	}
	return l
}

// Times is the limit with f times as much in the same period, whole numbers and at
// least 1. The period stays, and with it the bucket. Where that would be no limit any
// more it is the limit itself.
func (l Limit) Times(f float64) Limit {
	scaled := Limit{N: times(l.N, f), Period: l.Period, Burst: times(l.Room(), f)}
	if scaled.Validate() != nil {
		return l
	}
	return scaled
}

func times(n int64, f float64) int64 { return int64(max(1, min(math.Round(float64(n)*f), most))) }

// unit is a word for a period, singular.
type unit struct {
	name string
	d    time.Duration
}

// units are what periods are told in, the longest first.
func units() [6]unit {
	const day = 24 * time.Hour
	return [...]unit{{"year", 360 * day}, {"month", 30 * day}, {"day", day}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}}
}

// Per is the period as a count of the longest unit that fits: 7 and "day". A
// period that is no whole number of seconds is 0 and its duration.
func (l Limit) Per() (count int64, name string) {
	for _, u := range units() {
		if l.Period >= u.d && l.Period%u.d == 0 {
			return int64(l.Period / u.d), u.name
		}
	}
	return 0, l.Period.String()
}

// String writes the limit as [Parse] reads it.
func (l Limit) String() string {
	s := strconv.FormatInt(l.N, 10) + "/"
	switch count, name := l.Per(); count {
	case 0, 1:
		s += name
	default:
		s += strconv.FormatInt(count, 10) + " " + name + "s"
	}
	if l.Burst != l.N {
		s += " burst " + strconv.FormatInt(l.Burst, 10)
	}
	return s
}
