package limit

import (
	"math"
	"math/bits"
	"time"
)

// span is a time in nanoseconds, exact: whole + part/N of the limit it belongs
// to, 0 <= part < N. It is never negative.
type span struct{ whole, part int64 }

// furthest is how far a bucket can be in debt, in nanoseconds. A clock that has
// run for another 90 years can be added to it.
const furthest = 2 * int64(longest)

// Room is what the bucket holds.
func (l Limit) Room() int64 {
	if l.Burst == 0 {
		return l.N
	}
	return l.Burst
}

// span is how long cost takes to flow back: cost·Period/N.
func (l Limit) span(cost int64) span {
	hi, lo := bits.Mul64(unsigned(cost), unsigned(int64(l.Period)))
	n := unsigned(l.N)
	if hi >= n {
		return span{whole: math.MaxInt64}
	}
	whole, part := bits.Div64(hi, lo, n)
	return span{signed(whole), signed(part)}
}

// plus adds two spans of the limit.
func (l Limit) plus(a, b span) span {
	whole, part := min(a.whole, furthest), a.part+b.part
	if part >= l.N {
		whole, part = whole+1, part-l.N
	}
	if b.whole >= furthest-whole {
		return span{whole: furthest}
	}
	return span{whole + b.whole, part}
}

// minus subtracts b from a, down to nothing.
func (l Limit) minus(a, b span) span {
	whole, part := a.whole-b.whole, a.part-b.part
	if part < 0 {
		whole, part = whole-1, part+l.N
	}
	if whole < 0 {
		return span{}
	}
	return span{whole, part}
}

// over is how far a is over b, rounded up.
func (l Limit) over(a, b span) time.Duration {
	d := l.minus(a, b)
	if d.part > 0 {
		d.whole++
	}
	return time.Duration(d.whole)
}

// level is a bucket from which used has not yet flowed back.
func (l Limit) level(used span) Level {
	level := Level{Limit: l.Room(), Reset: l.over(used, span{})}
	// what is missing: used·N/Period, rounded up
	period := unsigned(int64(l.Period))
	hi, lo := bits.Mul64(unsigned(used.whole), unsigned(l.N))
	lo, carry := bits.Add64(lo, unsigned(used.part)+period-1, 0)
	if hi += carry; hi < period {
		missing, _ := bits.Div64(hi, lo, period)
		level.Remaining = max(0, level.Limit-signed(missing))
	}
	return level
}

// mark is a theoretical arrival time: nanoseconds of the store's clock and
// part/of of one.
type mark struct{ at, part, of int64 }

// used is how far the mark is ahead of now.
func (l Limit) used(m mark, now int64) span {
	switch {
	case m.at < now:
		return span{}
	case m.of == l.N:
		return span{m.at - now, m.part}
	case m.part > 0: // the limit has changed
		return span{whole: m.at - now + 1}
	default:
		return span{whole: m.at - now}
	}
}

// mark is what used is stored as.
func (l Limit) mark(used span, now int64) mark { return mark{now + used.whole, used.part, l.N} }

func unsigned(v int64) uint64 { return uint64(max(v, 0)) }

func signed(v uint64) int64 { return int64(min(v, math.MaxInt64)) }
