package refusals

import (
	"cmp"
	"slices"
	"time"
)

const (
	slots = 12
	// mostUsers is how many users a tally holds.
	mostUsers = 4096
)

// Refused is somebody who was refused.
type Refused struct {
	UserKey  string    `json:"user_key"`
	UserName string    `json:"user_name"`
	Email    string    `json:"email"`
	Refusals int       `json:"refusals"`
	Reason   string    `json:"reason"` // of the last one
	Limit    string    `json:"limit"`  // as the admin wrote it; empty: a bound of the queue
	Last     time.Time `json:"last"`
}

// Tally counts the refusals of users over the last window. It belongs to one
// goroutine, or is locked.
type Tally struct {
	slot  time.Duration
	most  int
	users map[string]*entry
}

type entry struct {
	Refused
	counts [slots]int
	at     int64     // number of the slot of the last count
	told   time.Time // until when nobody is to be told
}

// NewTally makes an empty one.
func NewTally(window time.Duration) *Tally {
	return &Tally{slot: max(1, window/slots), most: mostUsers, users: map[string]*entry{}}
}

// Add counts what somebody was refused by now.
func (t *Tally) Add(r *Refused, now time.Time) *entry {
	e := t.users[r.UserKey]
	if e == nil {
		e = t.enter(r.UserKey, now)
	}
	t.roll(e, now)
	counts, told := e.counts, e.told
	*e = entry{Refused: *r, counts: counts, at: t.number(now), told: told}
	e.counts[e.at%slots] += r.Refusals
	e.Last = now
	e.Refusals = e.sum()
	return e
}

// enter makes room for somebody new.
func (t *Tally) enter(user string, now time.Time) *entry {
	if len(t.users) >= t.most {
		t.forget(now)
	}
	e := &entry{at: t.number(now)}
	t.users[user] = e
	return e
}

// forget drops who has none in the window any more, and if there is nobody like that
// the one with the fewest.
func (t *Tally) forget(now time.Time) {
	least, fewest := "", 0
	for user, e := range t.users {
		t.roll(e, now)
		switch {
		case e.Refusals == 0:
			delete(t.users, user)
		case least == "" || e.Refusals < fewest:
			least, fewest = user, e.Refusals
		}
	}
	if len(t.users) >= t.most {
		delete(t.users, least)
	}
}

func (t *Tally) number(now time.Time) int64 { return now.UnixNano() / int64(t.slot) }

// roll forgets what is older than the window.
func (t *Tally) roll(e *entry, now time.Time) {
	n := t.number(now)
	for e.at < n {
		e.at = max(e.at+1, n-slots)
		e.counts[e.at%slots] = 0
	}
	e.Refusals = e.sum()
}

func (e *entry) sum() int {
	n := 0
	for _, c := range e.counts {
		n += c
	}
	return n
}

// Top are those with the most refusals in the window, the most first.
func (t *Tally) Top(n int, now time.Time) []Refused {
	all := make([]Refused, 0, len(t.users))
	for _, e := range t.users {
		if t.roll(e, now); e.Refusals > 0 {
			all = append(all, e.Refused)
		}
	}
	slices.SortFunc(all, func(a, b Refused) int {
		return cmp.Or(cmp.Compare(b.Refusals, a.Refusals), cmp.Compare(a.UserKey, b.UserKey))
	})
	return all[:min(n, len(all))]
}
