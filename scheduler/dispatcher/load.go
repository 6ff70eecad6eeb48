package dispatcher

import (
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/turn"
)

// weighEvery is how often the load is looked at, and told to the proxies.
const weighEvery = time.Second

// userState is somebody of whom requests wait.
type userState struct {
	waiting int
	since   time.Time // it waits for its turn
}

// userWaits counts a request that is in the queue from now on.
func (l *leader) userWaits(e *scheduler.Entry) {
	u := l.users[e.User]
	if u.waiting++; u.waiting == 1 {
		u.since = e.AcceptedAt
	}
	l.users[e.User] = u
}

// userWaited counts one that is not any more. Who was granted something waits for the
// next turn from now on.
func (l *leader) userWaited(e *scheduler.Entry, end string) {
	u := l.users[e.User]
	if u.waiting--; u.waiting <= 0 {
		delete(l.users, e.User)
		return
	}
	if end == "granted" {
		u.since = time.Now()
	}
	l.users[e.User] = u
}

// weigh looks at the load and tells it to all proxies. One that does not hear it goes
// on with what it heard last, and then with nothing.
func (l *leader) weigh(now time.Time) {
	if !l.open || now.Sub(l.loadAt) < weighEvery && !now.Before(l.loadAt) {
		return
	}
	l.loadAt = now
	if l.noneUp.IsZero() {
		marks := l.policy.Load
		if marks == (turn.Marks{}) {
			marks = turn.DefaultMarks()
		}
		l.load.Tick(now, marks, turn.Reading{KV: l.turn.KVUse(), Wait: l.turnWait(now), Short: l.short})
	}
	for proxy := range l.proxies {
		l.notices[proxy] = append(l.notices[proxy], scheduler.Notice{Kind: scheduler.NoticeLoad, Pool: l.cfg.Pool, Load: l.load.Level()})
	}
}

// turnWait is how long those who wait for capacity have waited for their turn, on
// average.
func (l *leader) turnWait(now time.Time) time.Duration {
	if !l.short || len(l.users) == 0 {
		return 0
	}
	var sum time.Duration
	for _, u := range l.users {
		sum += max(now.Sub(u.since), 0) / time.Duration(len(l.users))
	}
	return sum
}
