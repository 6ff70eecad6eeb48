package limit

import (
	"slices"
	"sync"
	"time"
)

const (
	deniedFor   = time.Second // at most
	mostDenials = 1 << 14     // that are remembered
)

// denials remember for a moment who was refused, so that somebody who only
// knocks harder costs the server nothing. A limit that has changed since is
// another one, and is asked for anew.
type denials struct {
	now func() time.Time

	mu  sync.Mutex
	all map[Key]denial
}

// denial is a refusal by one charge, with the levels of all of them.
type denial struct {
	at     time.Time
	until  time.Time
	charge []Charge
	used   []span // in microseconds
	result Result
}

func newDenials(now func() time.Time) *denials { return &denials{now: now, all: map[Key]denial{}} }

// remember keeps a refusal under the key that refuses.
func (d *denials) remember(charges []Charge, r *Result, used []span) {
	now := d.now()
	kept := denial{at: now, until: now.Add(min(r.RetryAfter, deniedFor)), charge: slices.Clone(charges), used: used, result: *r}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.all) >= mostDenials {
		clear(d.all)
	}
	d.all[charges[r.Refused].Key] = kept
}

// look finds a refusal of the same charges that still holds.
func (d *denials) look(charges []Charge) (Result, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.all) == 0 {
		return Result{}, false
	}
	now := d.now()
	for i := range charges {
		kept, ok := d.all[charges[i].Key]
		switch {
		case !ok:
		case !now.Before(kept.until):
			delete(d.all, charges[i].Key)
		case kept.same(charges):
			return kept.after(now), true
		}
	}
	return Result{}, false
}

// same tells whether the answer would be the same: it is if no other bucket is
// asked for more.
func (d *denial) same(charges []Charge) bool {
	if len(charges) != len(d.charge) {
		return false
	}
	for i := range charges {
		a, b := &charges[i], &d.charge[i]
		if a.Key != b.Key || a.Limit != b.Limit || a.Cost > b.Cost || i == d.result.Refused && a.Cost != b.Cost {
			return false
		}
	}
	return true
}

// after is the refusal as time has passed.
func (d *denial) after(now time.Time) Result {
	passed := now.Sub(d.at)
	r := d.result
	r.RetryAfter = max(time.Nanosecond, r.RetryAfter-passed)
	used := make([]span, len(d.used))
	for i, l := range d.charge {
		used[i] = l.Limit.inMicros().minus(d.used[i], span{whole: passed.Microseconds()})
	}
	r.Levels = levels(d.charge, used)
	return r
}

// forget drops what a grant or a correction has made wrong.
func (d *denials) forget(charges []Charge) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.all) == 0 {
		return
	}
	for i := range charges {
		delete(d.all, charges[i].Key)
	}
}
