package scheduler

import (
	"strconv"
	"time"
)

// Words is a duration as people say it: up to two minutes in seconds with one digit
// behind the point, above in two units, of which the smaller is rounded up.
func Words(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = max(d, 0); {
	case d < time.Second:
		return strconv.FormatInt(ceil(d, time.Millisecond).Milliseconds(), 10) + " ms"
	case d <= 2*time.Minute:
		return strconv.FormatFloat(d.Round(time.Second/10).Seconds(), 'f', -1, 64) + " s"
	case d <= 2*time.Hour:
		return twoUnits(d, time.Minute, " min", time.Second, " s")
	case d <= 2*day:
		return twoUnits(d, time.Hour, " h", time.Minute, " min")
	default:
		return twoUnits(d, day, " d", time.Hour, " h")
	}
}

func twoUnits(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	d = ceil(d, small)
	s := strconv.FormatInt(int64(d/large), 10) + largeName
	if rest := d % large / small; rest > 0 {
		s += " " + strconv.FormatInt(int64(rest), 10) + smallName
	}
	return s
}

func ceil(d, unit time.Duration) time.Duration {
	if rest := d % unit; rest > 0 {
		d += unit - rest
	}
	return d
}
