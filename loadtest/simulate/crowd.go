package simulate

import (
	"slices"
	"strconv"
	"time"
)

// validate says what is wrong with how somebody asks in a run that ends at end.
func (l *Load) validate(f *faults, key string, end time.Duration) {
	given := 0
	for _, is := range [...]bool{l.Rate != 0, l.Outstanding != 0, l.Backlog != 0} {
		if is {
			given++
		}
	}
	if given != 1 {
		f.add(key, "exactly one of rate, outstanding and backlog is needed")
	}
	if l.Rate != 0 {
		f.within(key+".rate", l.Rate, leastRate, mostRate)
	}
	f.within(key+".outstanding", float64(l.Outstanding), 0, mostWaiting)
	f.within(key+".backlog", float64(l.Backlog), 0, mostWaiting)
	if l.Once && l.Rate == 0 {
		f.add(key+".once", "it goes with rate only")
	}
	l.Think.validate(f, key+".think")
	l.times(f, key, end)
}

// times checks when more and when less is asked.
func (l *Load) times(f *faults, key string, end time.Duration) {
	if l.From < 0 || l.From > 0 && l.From >= end {
		f.add(key+".from", "%s is not in the run, which takes %s with its warm-up", l.From, end)
	}
	if l.Until < 0 || l.Until > 0 && l.Until <= l.From {
		f.add(key+".until", "%s is not after from, which is %s", l.Until, l.From)
	}
	if n := len(l.Shape); n > mostFactor {
		f.add(key+".shape", "%d factors are too many: %d are the most", n, mostFactor)
	}
	for i, x := range l.Shape[:min(len(l.Shape), mostFactor)] {
		f.within(key+".shape["+strconv.Itoa(i)+"]", x, 0, mostFactor)
	}
	if len(l.Shape) > 0 && slices.Max(l.Shape) == 0 {
		f.add(key+".shape", "nobody would ask: one factor has to be more than 0")
	}
	if b := l.Bursts; b != nil {
		f.span(key+".bursts.every", b.Every, time.Millisecond, longestRun)
		f.span(key+".bursts.for", b.For, time.Nanosecond, max(b.Every, time.Nanosecond))
		f.within(key+".bursts.times", b.Times, 0, mostFactor)
	}
}

// most is the highest factor of the rate.
func (l *Load) most() float64 {
	most := 1.0
	if len(l.Shape) > 0 {
		most = slices.Max(l.Shape)
	}
	if l.Bursts != nil {
		most *= max(l.Bursts.Times, 1)
	}
	return most
}

// crowd is all who ask.
type crowd struct {
	people, requests, atOnce float64
	told                     bool
}

// add counts a user and says if that is too much for the memory, once. Of rates it
// counts what they would come to if they always were as high as they ever are.
func (c *crowd) add(f *faults, key string, u *User, end time.Duration) {
	l, n := &u.Load, float64(max(u.Count, 1))
	until := end
	if l.Until > 0 {
		until = min(end, l.Until)
	}
	asked := n * l.Rate * l.most() * max(until-l.From, 0).Seconds()
	c.people += n
	if l.Once {
		c.people += asked
	}
	c.requests += asked
	c.atOnce += n * float64(max(l.Outstanding, l.Backlog))
	if c.told {
		return
	}
	c.told = true
	const advice = "lower rates or counts, or shorten the duration"
	switch {
	case c.people > mostPeople:
		f.add(key, "with it there are %.3g people, and %d are the most: %s", c.people, mostPeople, advice)
	case c.requests > mostRequests:
		f.add(key+".load", "%.3g requests are asked for with it at the highest rate, and %d are the most: %s", c.requests, mostRequests, advice)
	case c.atOnce > mostWaiting:
		f.add(key+".load", "with it %.3g requests are asked for at once, and %d are the most: lower outstanding, backlog or counts", c.atOnce, mostWaiting)
	default:
		c.told = false
	}
}
