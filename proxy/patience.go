package proxy

import (
	"math"
	"strconv"
	"strings"
	"time"

	"fairlane/scheduler"
)

// patienceHeader is where a client says how long its request may wait.
const patienceHeader = "X-Request-Timeout"

// readPatience reads how long the client wants to wait for its turn, in seconds or
// as Go writes durations. What it says bounds the wait only where it is shorter than
// what its class may wait: nobody waits for longer because of a header.
func (x *exchange) readPatience() *scheduler.Problem {
	raw := strings.TrimSpace(x.r.Header.Get(patienceHeader))
	if raw == "" {
		return nil
	}
	d, ok := parsePatience(raw)
	if !ok {
		p := scheduler.Problemf(scheduler.CodeInvalidRequest, "%s is %q, and has to be how long the request may wait, more than 0: seconds like 30 or 2.5, or a duration like 30s or 2m", patienceHeader, clip(raw))
		p.Param = patienceHeader
		return p
	}
	x.patience = d
	return nil
}

func parsePatience(s string) (time.Duration, bool) {
	d, err := time.ParseDuration(s)
	if err != nil {
		seconds, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(seconds) || seconds <= 0 {
			return 0, false
		}
		d = time.Duration(min(seconds, math.MaxInt64/1e10) * float64(time.Second)) // what is longer is no bound
	}
	return d, d > 0
}

// maxWait is how long the request may wait.
func (x *exchange) maxWait() time.Duration {
	if x.patience > 0 {
		return min(x.patience, x.decision.MaxWait)
	}
	return x.decision.MaxWait
}
