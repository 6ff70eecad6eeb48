package proxy

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"fairlane/proxy/limit"
	"fairlane/proxy/policy"
	"fairlane/scheduler"
)

// refused is a request that a bucket refused.
type refused struct {
	bucket *policy.Bucket
	charge *limit.Charge
	size   string
	never  bool
	wait   time.Duration
	// chinese says how the caller is told.
	chinese bool
}

// mostJitter is what is added at most to a Retry-After, so that those who were
// refused together do not come back together.
const mostJitter = 0.2

// refusal is what the caller is told. The message has the wait as it is; only
// Retry-After has jitter, and none that would make clients come back at once.
func (b *Buckets) refusal(r *refused) *scheduler.Problem {
	if r.never {
		return &scheduler.Problem{Code: scheduler.CodeRequestTooLarge, Message: r.tooMuch(), Param: "n", Limit: r.bucket.Text}
	}
	wait := ceil(r.wait, time.Second)
	retry := ceil(r.wait+time.Duration(float64(r.wait)*mostJitter*b.jitter()), time.Second)
	if wait <= longRetry {
		retry = min(retry, longRetry)
	}
	p := scheduler.Refusal(scheduler.CodeRateLimit, r.bucket.Kind.Reason(), retry, r.message(wait))
	p.Limit, p.NoRetry = r.bucket.Text, wait > longRetry
	return p
}

// message names the limit, whom it applies to, and the wait.
func (r *refused) message(wait time.Duration) string {
	if r.chinese {
		return r.chineseMessage(wait)
	}
	l := r.charge.Limit
	switch r.bucket.Kind {
	case policy.Tokens:
		return fmt.Sprintf("%s may use %s; there is room for this request in %s.", r.who(), rate(l, "token")+r.loaded(), scheduler.Words(wait))
	case policy.BySize:
		return fmt.Sprintf("%s are limited to %s; %s in %s.", r.sized(), rate(l, "")+r.loaded(), r.next(), scheduler.Words(wait))
	default:
		return fmt.Sprintf("%s may send %s; %s in %s.", r.who(), rate(l, "request")+r.loaded(), r.next(), scheduler.Words(wait))
	}
}

// who is whom the limit applies to.
func (r *refused) who() string {
	switch {
	case r.bucket.Owner == "":
		return "All who share this limit together"
	case strings.HasPrefix(r.bucket.Owner, "ip:"):
		return "Your address"
	default:
		return "You"
	}
}

// sized are the requests of a size that the limit applies to.
func (r *refused) sized() string {
	what := r.size + " requests"
	if r.size != policy.SizeLight {
		what += " (long texts or long answers)"
	}
	if r.bucket.Owner == "" {
		return "The " + what + " of all who share this limit"
	}
	return "Your " + what
}

// loaded says that the limit is lower than usual.
func (r *refused) loaded() string {
	if r.lowered() {
		return " while the server is busy"
	}
	return ""
}

func (r *refused) lowered() bool { return r.bucket.Written != nil && r.bucket.Factor < 1 }

func (r *refused) next() string {
	if r.charge.Cost > 1 {
		return "this one counts as " + grouped(r.charge.Cost) + " and may be sent again"
	}
	return "the next one"
}

// tooMuch is said of a request that no bucket of the limit can ever let through.
func (r *refused) tooMuch() string {
	if r.chinese {
		return r.chineseTooMuch()
	}
	return fmt.Sprintf("this request counts as %s, and its limit (%s) lets through %s at once: lower n, or send fewer prompts in one request",
		count(r.charge.Cost, "request"), r.bucket.Text, grouped(r.charge.Limit.Room()))
}

// rate is a limit in words: "30 requests a minute".
func rate(l limit.Limit, noun string) string {
	s := count(l.N, noun)
	switch n, unit := l.Per(); {
	case n == 0:
		s += " in " + unit
	case n > 1:
		s += " in " + count(n, unit)
	case unit == "hour":
		s += " an hour"
	default:
		s += " a " + unit
	}
	if l.Room() != l.N {
		s += ", " + grouped(l.Room()) + " at once"
	}
	return s
}

func count(n int64, noun string) string {
	switch {
	case noun == "":
		return grouped(n)
	case n == 1:
		return "1 " + noun
	default:
		return grouped(n) + " " + noun + "s"
	}
}

// grouped writes a number so that it can be read: 200,000.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func ceil(d, unit time.Duration) time.Duration {
	if rest := d % unit; rest > 0 {
		d += unit - rest
	}
	return d
}
