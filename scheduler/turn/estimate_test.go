package turn

import (
	"testing"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/fairqueue"
)

// lessons is somebody from whom requests can be learned, one after the other.
type lessons struct {
	t *testing.T
	d *Decider
	n int
}

func newLessons(t *testing.T) *lessons {
	t.Helper()
	d, err := New(Config{Backends: capacity.Config{Backends: []capacity.BackendConfig{{URL: streetURL, Slots: 4}}}})
	if err != nil {
		t.Fatal(err)
	}
	d.Pool.Backend(streetURL).Up(time.Unix(0, 0))
	return &lessons{t: t, d: d}
}

func asks(user, class string) *scheduler.Entry {
	return &scheduler.Entry{User: user, Class: class, Endpoint: "chat", Stream: true, Sequences: 1, InputTokens: 1000}
}

// answered is a request that was completed so.
func (l *lessons) answered(e *scheduler.Entry, u scheduler.Usage) {
	l.t.Helper()
	now, r, run := l.start(e)
	u.Known = true
	l.d.Settle(now, r, run, u, true)
	l.d.Learn(now, e, run, u)
}

// brokenOff is one of which so many tokens were seen.
func (l *lessons) brokenOff(e *scheduler.Entry, seen int) {
	l.t.Helper()
	now, r, run := l.start(e)
	run.Generated = seen
	l.d.Settle(now, r, run, run.Spent(), false)
}

func (l *lessons) start(e *scheduler.Entry) (time.Time, *fairqueue.Request, *Run) {
	l.t.Helper()
	l.n++
	now := time.Unix(int64(l.n), 0)
	w := &waiting{e: *e}
	l.d.Push(&w.Request, w)
	turn := l.d.Next(now)
	if turn.Request != &w.Request {
		l.t.Fatal("it does not start")
	}
	return now, turn.Request, &turn.Run
}

func (l *lessons) expects(what string, e *scheduler.Entry, want int) {
	l.t.Helper()
	if got := l.d.Input(e).Expected; got != want {
		l.t.Errorf("%s: %d tokens are expected, want %d", what, got, want)
	}
}

// TestWhatIsExpectedOfAnAnswer: what its user's have been, but at least half of its
// class's, and never more than it may become.
func TestWhatIsExpectedOfAnAnswer(t *testing.T) {
	t.Parallel()
	l := newLessons(t)
	l.expects("nothing was learned", asks("ann", "std"), coldOutput)
	for range 100 {
		l.answered(asks("long", "std"), scheduler.Usage{Input: 10, Output: 1000})
	}
	l.expects("somebody new in a class", asks("ann", "std"), 1000)
	l.expects("a class that is new", asks("ann", "batch"), 1000)
	for range 3 {
		l.answered(asks("short", "std"), scheduler.Usage{Input: 10, Output: 1})
	}
	class := l.d.estimates.classes["std"].Value
	l.expects("who had one token each time", asks("short", "std"), int(class/2))
	l.expects("who had more", asks("long", "std"), 1000)

	bound := asks("long", "std")
	bound.MaxTokens = 50
	l.expects("max_tokens below that", bound, 50)
	bound.MaxTokens = 1 << 30
	l.expects("max_tokens above that", bound, 1000)
	vector := asks("long", "std")
	vector.Endpoint = "embeddings"
	l.expects("nothing is generated", vector, 0)

	four := asks("four", "std")
	four.Sequences = 4
	for range 16 {
		l.answered(four, scheduler.Usage{Input: 10, Output: 8000})
	}
	l.expects("one of four sequences", four, 2000)
}

// TestWhatIsExpectedInTheCache: what was found there of the prompts of a user in a
// prefix group, and nothing of anybody else's.
func TestWhatIsExpectedInTheCache(t *testing.T) {
	t.Parallel()
	l := newLessons(t)
	in := func(user string, group uint64) *scheduler.Entry {
		e := asks(user, "std")
		e.PrefixGroup = group
		return e
	}
	for range 4 {
		l.answered(in("ann", 1), scheduler.Usage{Input: 1000, Cached: 800, Output: 10, CachedKnown: true})
		l.answered(in("bob", 1), scheduler.Usage{Input: 1000, Cached: 200, Output: 10, CachedKnown: true})
		l.answered(in("ann", 0), scheduler.Usage{Input: 1000, Cached: 700, Output: 10, CachedKnown: true})
		l.answered(in("eve", 1), scheduler.Usage{Input: 1000, Cached: 900, Output: 10})
	}
	for _, x := range []struct {
		what string
		e    *scheduler.Entry
		want int
	}{
		{"ann's", in("ann", 1), 800},
		{"bob's, who has less in the same group", in("bob", 1), 200},
		{"ann's in another group", in("ann", 2), 0},
		{"ann's without a group", in("ann", 0), 0},
		{"somebody new in the group", in("new", 1), 0},
		{"of whom the backend does not tell", in("eve", 1), 0},
	} {
		if got := l.d.Input(x.e).Cached; got != x.want {
			t.Errorf("%s: %d of 1000 tokens are expected in the cache, want %d", x.what, got, x.want)
		}
	}
}

// TestWhatBreaksOffRaisesWhatIsExpected: it would have become at least as long. It
// lowers nothing, and what was not seen says nothing.
func TestWhatBreaksOffRaisesWhatIsExpected(t *testing.T) {
	t.Parallel()
	l := newLessons(t)
	for range 40 {
		l.answered(asks("other", "std"), scheduler.Usage{Input: 10, Output: 100})
	}
	l.brokenOff(asks("leaver", "std"), 20)
	l.expects("after 20 tokens", asks("leaver", "std"), 100)
	l.expects("to the others", asks("other", "std"), 100)

	whole := asks("leaver", "std")
	whole.Stream = false
	l.brokenOff(whole, 4000)
	l.expects("after what was not seen", asks("leaver", "std"), 100)

	two := asks("leaver", "std")
	two.Sequences = 2
	for range 40 {
		l.brokenOff(two, 8000)
	}
	l.expects("after 4000 tokens of each sequence, always", asks("leaver", "std"), 4000)
	if got := l.d.Input(asks("new", "std")).Expected; got < 3000 {
		t.Errorf("%d tokens are expected of who is new", got)
	}
	if got := l.d.Input(asks("new", "batch")).Expected; got < 3000 {
		t.Errorf("%d tokens are expected of a class that is new", got)
	}
	l.brokenOff(asks("leaver", "std"), 10)
	l.expects("after 10 tokens once", asks("leaver", "std"), 4000)
}

// TestWhoAlwaysLeavesMidAnswer is not taken for somebody of whom little is expected:
// what it is given at once is what it costs.
func TestWhoAlwaysLeavesMidAnswer(t *testing.T) {
	t.Parallel()
	leaver := &person{name: "leaver", waiting: 64, next: func(int) job { return job{out: 3000, leavesAt: 2000} }}
	s := newStreet(t, 16, leaver, honest("ann"), honest("bob"))
	s.live(30 * time.Minute)
	s.fair(0.02, "leaver")
	if got := s.d.Input(&scheduler.Entry{User: "leaver", Class: "all", Endpoint: "chat", Sequences: 1}).Expected; got < 1900 || got > 2010 { // a step makes 10
		t.Errorf("%d tokens are expected of who leaves after 2000", got)
	}
}
