package turn

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/fairqueue"
)

// street is one backend on virtual time, in steps: a prompt is read at a rate, then
// a sequence makes tokens at a pace. People stand before it.
type street struct {
	t       *testing.T
	d       *Decider
	now     time.Time
	clock   func(time.Duration) time.Duration // what the decider's clock is off by; nil: right
	begun   time.Time
	flying  []*job
	people  []*person
	work    map[string]float64 // tokens read and, twice, made
	started map[string]int
	longest map[string]time.Duration // that one of somebody waited
	waits   map[string][]time.Duration
	dt      time.Duration // of a step
	n       int
}

const (
	streetURL  = "http://gpu"
	promptRate = 20_000 // tokens a second, of one sequence
	tokenRate  = 100
)

// person always has some requests waiting, unless it asks at times of its own.
type person struct {
	name    string
	class   string // "": all
	weight  float64
	waiting int // that it keeps waiting
	every   time.Duration
	last    time.Time
	next    func(n int) job
	asked   int
}

// job is one request, and what becomes of it.
type job struct {
	e        *scheduler.Entry
	out      int                                     // tokens that it makes
	leaves   bool                                    // before the first byte
	leavesAt int                                     // tokens; 0: never
	usage    func(u scheduler.Usage) scheduler.Usage // that the backend tells
	of       *person
	asked    time.Time
	run      Run
	read     float64
	made     float64
	req      *reqOf
}

func newStreet(t *testing.T, slots int, people ...*person) *street {
	t.Helper()
	return streetOf(t, slots, Policy{}, people...)
}

func streetOf(t *testing.T, slots int, p Policy, people ...*person) *street {
	t.Helper()
	d, err := New(Config{Policy: p, Backends: capacity.Config{Backends: []capacity.BackendConfig{{URL: streetURL, Slots: slots, KVTokens: 100_000_000}}}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_000_000_000, 0)
	d.Pool.Backend(streetURL).Up(now)
	for _, p := range people {
		p.last = now
	}
	return &street{t: t, d: d, now: now, begun: now, people: people, work: map[string]float64{}, started: map[string]int{}, longest: map[string]time.Duration{}, waits: map[string][]time.Duration{}, dt: 100 * time.Millisecond}
}

// at is the time as the decider sees it.
func (s *street) at() time.Time {
	if s.clock == nil {
		return s.now
	}
	return s.now.Add(s.clock(s.now.Sub(s.begun)))
}

func (s *street) live(d time.Duration) {
	s.t.Helper()
	for end := s.now.Add(d); s.now.Before(end); s.now = s.now.Add(s.dt) {
		for _, p := range s.people {
			s.ask(p)
		}
		for s.grant() {
		}
		s.flying = slices.DeleteFunc(s.flying, s.step)
	}
	if err := s.d.Queue.Check(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *street) ask(p *person) {
	for {
		switch {
		case p.every > 0 && s.now.Sub(p.last) >= p.every:
			p.last = p.last.Add(p.every)
		case p.every == 0 && p.waiting > 0:
			p.waiting--
		default:
			return
		}
		j := p.next(p.asked)
		p.asked++
		s.n++
		if j.e == nil {
			j.e = &scheduler.Entry{}
		}
		e := j.e
		e.ID, e.Class, e.Endpoint, e.Stream, e.AcceptedAt = strconv.Itoa(s.n), cmp.Or(p.class, "all"), "chat", true, s.at()
		if e.User == "" {
			e.User = p.name
		}
		e.UserWeight, e.Sequences, e.InputTokens = max(p.weight, 1), max(e.Sequences, 1), max(e.InputTokens, 1)
		j.of, j.asked, j.req = p, s.now, &reqOf{}
		j.req.j = &j
		s.d.Push(&j.req.r, j.req)
	}
}

func (s *street) grant() bool {
	t := s.d.Next(s.at())
	if t.Request == nil {
		return false
	}
	o, _ := t.Request.Value.(*reqOf)
	j := o.j
	j.run = t.Run
	s.flying = append(s.flying, j)
	s.started[j.of.name]++
	wait := s.now.Sub(j.asked)
	s.longest[j.of.name] = max(s.longest[j.of.name], wait)
	s.waits[j.of.name] = append(s.waits[j.of.name], wait)
	j.of.waiting++
	return true
}

// step serves a request for a moment, and tells whether that was its last.
func (s *street) step(j *job) (over bool) {
	left, name := s.dt.Seconds(), j.of.name
	if read := min(float64(j.e.InputTokens)-j.read, left*promptRate); read > 0 {
		j.read += read
		s.work[name] += read
		left -= read / promptRate
		if j.leaves && j.read >= float64(j.e.InputTokens)/2 { // vLLM reads what it has begun
			s.work[name] += float64(j.e.InputTokens) - j.read
			s.d.Settle(s.at(), &j.req.r, &j.run, j.run.Spent(), false)
			return true
		}
	}
	if left <= 1e-9 {
		return false
	}
	if !j.run.First {
		s.d.FirstToken(s.at(), &j.run, s.at().Sub(j.run.At))
	}
	made := min(float64(j.out)-j.made, left*tokenRate*float64(j.e.Sequences))
	j.made += made
	s.work[name] += 2 * made
	j.run.Generated = int(j.made)
	if j.leavesAt > 0 && j.run.Generated >= j.leavesAt {
		s.d.Settle(s.at(), &j.req.r, &j.run, j.run.Spent(), false)
		return true
	}
	if j.made < float64(j.out) {
		s.d.Progress(s.at(), &j.req.r, &j.run)
		return false
	}
	u := scheduler.Usage{Input: j.e.InputTokens, Output: j.out, Known: true}
	if j.usage != nil {
		u = j.usage(u)
	}
	s.d.Settle(s.at(), &j.req.r, &j.run, u, true)
	s.d.Learn(s.at(), j.e, &j.run, u)
	return true
}

// fair fails unless everybody had at least their part of the work, and nobody of
// the abusers more, but for a small error.
func (s *street) fair(slack float64, abusers ...string) {
	s.t.Helper()
	sum, weights := 0.0, 0.0
	for _, p := range s.people {
		sum += s.work[p.name]
		weights += max(p.weight, 1)
	}
	for _, p := range s.people {
		got, want := s.work[p.name]/sum, max(p.weight, 1)/weights
		if got < want-slack && !slices.Contains(abusers, p.name) || got > want+slack && slices.Contains(abusers, p.name) {
			s.t.Errorf("%s got %.3f of the work and is entitled to %.3f: %v", p.name, got, want, s.work)
		}
	}
}

// honest has a chat with answers that are not all the same.
func honest(name string) *person {
	return &person{name: name, waiting: 20, next: func(n int) job {
		return job{e: &scheduler.Entry{InputTokens: 200 + n*37%400}, out: 50 + n*n*31%500}
	}}
}

// reqOf joins a request with its job.
type reqOf struct {
	r fairqueue.Request
	j *job
}

func (o *reqOf) Entry() *scheduler.Entry { return o.j.e }

// TestMixedSizesGameNoEstimate: many of one token teach that answers are short, and
// then come those of 100,000.
func TestMixedSizesGameNoEstimate(t *testing.T) {
	mixed := &person{name: "mixed", waiting: 64, next: func(n int) job {
		if n%40 == 39 {
			return job{out: 100_000}
		}
		return job{out: 1}
	}}
	s := newStreet(t, 16, mixed, honest("ann"), honest("bob"), honest("eve"))
	s.live(5 * time.Hour)
	s.fair(0.02, "mixed")
	for _, name := range []string{"ann", "bob", "eve"} {
		if s.longest[name] > 3*time.Minute {
			t.Errorf("%s waited %v behind 20 of its own", name, s.longest[name])
		}
	}
}

// TestWhoHangsUpBeforeTheFirstBytePays for the whole prompt, each time.
func TestWhoHangsUpBeforeTheFirstBytePays(t *testing.T) {
	leaver := &person{name: "leaver", waiting: 200, next: func(int) job {
		return job{e: &scheduler.Entry{InputTokens: 20_000}, out: 300, leaves: true}
	}}
	s := newStreet(t, 16, leaver, honest("ann"), honest("bob"))
	s.live(30 * time.Minute)
	s.fair(0.02, "leaver")
}

// TestNewcomersStarveNobody: each asks once, at 1.1 × what can be served, so that ever
// more have a claim; somebody who asks for little goes on to be served beside them.
func TestNewcomersStarveNobody(t *testing.T) {
	const slots = 8
	each := 200.0/promptRate + 200.0/tokenRate // seconds of a slot
	crowd := &person{name: "crowd", every: time.Duration(each / slots / 1.1 * float64(time.Second)), next: func(n int) job {
		return job{e: &scheduler.Entry{User: fmt.Sprint("new", n), InputTokens: 200}, out: 200}
	}}
	steady := &person{name: "steady", every: 30 * time.Second, next: func(int) job {
		return job{e: &scheduler.Entry{InputTokens: 200}, out: 200}
	}}
	s := newStreet(t, slots, crowd, steady)
	s.live(30 * time.Minute)
	if s.started["steady"] < steady.asked/4 {
		t.Errorf("%d of %d were started, the longest wait was %v", s.started["steady"], steady.asked, s.longest["steady"])
	}
	if busy := float64(s.started["crowd"]) * each / slots / (30 * time.Minute).Seconds(); busy < 0.9 {
		t.Errorf("only %.2f of the slots were used", busy)
	}
}

// TestALieInMaxTokensGainsNothing: not one that says little, of a body of which the
// backend believes another field, and not one that says much.
func TestALieInMaxTokensGainsNothing(t *testing.T) {
	for name, most := range map[string]int{"little": 1, "much": 1 << 30} {
		t.Run(name, func(t *testing.T) {
			liar := &person{name: "liar", waiting: 64, next: func(n int) job {
				return job{e: &scheduler.Entry{MaxTokens: most}, out: 100 + n*n*31%1000}
			}}
			s := newStreet(t, 16, liar, honest("ann"), honest("bob"))
			s.live(30 * time.Minute)
			s.fair(0.02, "liar")
		})
	}
}

// TestManySequencesCountAsMany of output and slots.
func TestManySequencesCountAsMany(t *testing.T) {
	four := &person{name: "four", waiting: 64, next: func(int) job {
		return job{e: &scheduler.Entry{Sequences: 4}, out: 1200}
	}}
	s := newStreet(t, 16, four, honest("ann"), honest("bob"))
	s.live(30 * time.Minute)
	s.fair(0.02, "four")
}

// TestClockSteps: the clock of who decides, and of who accepts, jumps an hour ahead
// and back again; nobody gains, and nothing stands still.
func TestClockSteps(t *testing.T) {
	s := newStreet(t, 16, honest("ann"), honest("bob"), honest("eve"))
	s.clock = func(d time.Duration) time.Duration {
		switch {
		case d < 5*time.Minute:
			return 0
		case d < 10*time.Minute:
			return time.Hour
		case d < 15*time.Minute:
			return -2 * time.Hour
		default:
			return 0
		}
	}
	s.live(5 * time.Minute)
	before := s.work["ann"]
	s.live(15 * time.Minute)
	s.fair(0.01)
	if part := (s.work["ann"] - before) / before / 3; math.Abs(part-1) > 0.05 {
		t.Errorf("%.2f of the pace from before", part)
	}
}

// TestAFewWrongUsagesAreWorkedOff: who is told once to have made far too much has
// its part again after a while.
func TestAFewWrongUsagesAreWorkedOff(t *testing.T) {
	unlucky := honest("unlucky")
	plain := unlucky.next
	unlucky.next = func(n int) job {
		j := plain(n)
		if n == 5 {
			j.usage = func(u scheduler.Usage) scheduler.Usage { u.Output = 20_000; return u }
		}
		return j
	}
	s := newStreet(t, 16, unlucky, honest("ann"), honest("bob"))
	s.live(time.Hour)
	s.fair(0.02)
}
