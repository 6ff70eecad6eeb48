package limit

import "time"

// Limit is N per Period with a burst of Burst (N unless said otherwise): a
// token bucket that refills evenly.
type Limit struct {
	N      int64
	Period time.Duration
	Burst  int64
}
