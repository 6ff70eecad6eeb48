package dispatcher

import (
	"cmp"
	"math"
	"slices"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
)

// trail is what becomes of one request, for its receipt.
type trail struct {
	arrived  *scheduler.Standing // nil: it began at once
	expected scheduler.Expectation
	tookOver bool

	since   time.Time // it waits since then; zero: it does not
	mark    durations // what there was of each obstacle then
	blocked durations
	spans   []span

	attempts []scheduler.AttemptReceipt
	settled  float64
	usage    scheduler.Usage
	end      string
}

// receipts writes the leader's half of every request's receipt. It belongs to the
// leader's goroutine; where nobody keeps receipts it does nothing.
type receipts struct {
	l      *leader
	give   func(*scheduler.Receipt) // nil: nobody keeps them
	blocks blocks
	users  map[string]*own

	classes   []scheduler.ClassStanding // of the last look; not to be changed
	classesAt time.Time
}

func newReceipts(l *leader, give func(*scheduler.Receipt), now time.Time) receipts {
	return receipts{l: l, give: give, blocks: blocks{since: now}, users: map[string]*own{}}
}

// of is a request's trail; nil: nobody wants one.
func (r *receipts) of(it *item) *trail {
	if r.give != nil && it.trail == nil {
		it.trail = &trail{}
	}
	return it.trail
}

// count follows what a user runs and waits for, if there is a bound on it.
func (r *receipts) count(e *scheduler.Entry, now time.Time, running, waiting int) time.Duration {
	if e.MaxRunning <= 0 {
		return 0
	}
	o := r.users[e.User]
	if o == nil {
		o = &own{}
		r.users[e.User] = o
	}
	o.note(now, e.MaxRunning, running, waiting)
	if o.running <= 0 && o.waiting <= 0 {
		delete(r.users, e.User)
	}
	return o.look(now)
}

// joins notes that a request waits from now on.
func (r *receipts) joins(it *item) {
	t := r.of(it)
	if t == nil {
		return
	}
	t.since = time.Now()
	t.mark = r.blocks.look(t.since)
	t.mark[maxRunning] = r.count(it.entry, t.since, 0, 1)
}

// leaves notes that a request waits no longer, and what was in its way.
func (r *receipts) leaves(it *item) {
	t := it.trail
	if t == nil || t.since.IsZero() {
		return
	}
	now := time.Now()
	met := r.blocks.look(now)
	met[maxRunning] = r.count(it.entry, now, 0, -1)
	for o := range met {
		t.blocked[o] += met[o] - t.mark[o]
	}
	if now.Sub(t.since) >= leastSpan {
		t.spans = append(t.spans, r.blocks.within(t.since, now)...)
	}
	t.since = time.Time{}
}

// stands notes how a request stands that has to wait.
func (r *receipts) stands(it *item) {
	t := r.of(it)
	if t == nil || t.arrived != nil || t.tookOver {
		return
	}
	s := r.standing(it, time.Now())
	t.arrived = &s
}

// standing is how a request stands now.
func (r *receipts) standing(it *item, now time.Time) scheduler.Standing {
	s := scheduler.Standing{Blocked: r.blocks.by.name(), Classes: r.look(now)}
	if it.run != nil {
		return s
	}
	o, waiting := r.l.outlook(it)
	s.Position, s.Own, s.OwnCost = o.Position, o.AheadInFlow, tokens(o.AheadCost)
	s.Other, s.OtherCost = max(o.Position-1-o.AheadInFlow, 0), tokens(o.OtherCost)
	if eta, _, known := r.l.drain.Wait(o, waiting); known {
		s.ETAMS = float64(eta.Milliseconds())
	}
	if u := r.users[it.entry.User]; u != nil && !u.since.IsZero() {
		s.Blocked = maxRunning.name()
	}
	return s
}

func tokens(c fairqueue.Cost) float64 {
	return math.Round(float64(c)/float64(fairqueue.Token)*10) / 10
}

// look is how the classes stand, taken at most every 10 ms: those that come together
// find the same.
func (r *receipts) look(now time.Time) []scheduler.ClassStanding {
	const fresh = 10 * time.Millisecond
	if r.classes != nil && now.Sub(r.classesAt) < fresh {
		return r.classes
	}
	r.classes, r.classesAt = nil, now
	for name, c := range r.l.classes {
		running := r.l.turn.Running(name)
		if c.queued > 0 || running > 0 {
			r.classes = append(r.classes, scheduler.ClassStanding{Class: name, Weight: r.l.turn.Policy().Weight(name), Waiting: c.queued, Running: running})
		}
	}
	slices.SortFunc(r.classes, func(a, b scheduler.ClassStanding) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.Class, b.Class))
	})
	return r.classes
}

// starts notes an attempt.
func (r *receipts) starts(it *item, a *attempt) {
	t := r.of(it)
	if t == nil {
		return
	}
	r.count(it.entry, a.At, it.sequences(), 0)
	t.tookOver = t.tookOver || a.Adopted
	in := a.Input
	t.expected = scheduler.Expectation{Input: in.Tokens, Cached: in.Cached, Output: in.Sequences * in.Expected}
	t.attempts = append(t.attempts, scheduler.AttemptReceipt{Backend: a.Backend.URL(), At: a.At, Charged: tokens(it.req.Charged())})
}

// stops notes how an attempt ended. What is told first counts.
func (r *receipts) stops(it *item, end string) {
	t := it.trail
	if t == nil || len(t.attempts) == 0 {
		return
	}
	if a := &t.attempts[len(t.attempts)-1]; a.EndedAt.IsZero() {
		a.EndedAt, a.End = time.Now(), end
		r.count(it.entry, a.EndedAt, -it.sequences(), 0)
	}
}

// first notes the first byte of an answer's content.
func (r *receipts) first(it *item, now time.Time) {
	if t := it.trail; t != nil && len(t.attempts) > 0 {
		a := &t.attempts[len(t.attempts)-1]
		a.FirstMS = float64(now.Sub(a.At).Milliseconds())
	}
}

// settles notes what a request was charged in the end.
func (r *receipts) settles(it *item, cost fairqueue.Cost, u scheduler.Usage) {
	if t := it.trail; t != nil {
		t.settled, t.usage = tokens(cost), u
	}
}

// ends notes how a request ended; what is told first counts.
func (r *receipts) ends(it *item, end string) {
	if t := r.of(it); t != nil && t.end == "" {
		t.end = end
	}
}

// over notes how a request and its attempt ended.
func (r *receipts) over(it *item, end string) {
	r.stops(it, end)
	r.ends(it, end)
}

// write gives the receipt of a request away that is over here.
func (r *receipts) write(it *item) {
	if it.trail == nil {
		return
	}
	half := r.half(it, time.Now())
	half.Queue.EndedAt, half.Queue.End = time.Now(), it.trail.end
	it.trail = nil
	r.give(half)
}

// half is what is known of a request.
func (r *receipts) half(it *item, now time.Time) *scheduler.Receipt {
	e, t := it.entry, it.trail
	q := &scheduler.QueueReceipt{
		TookOver: t.tookOver, Expected: t.expected, Attempts: slices.Clone(t.attempts), Settled: t.settled, Usage: t.usage,
	}
	for i := range q.Attempts { // not when it starts, for which somebody waits
		q.Attempts[i].Backend = hostOf(q.Attempts[i].Backend)
	}
	if t.arrived != nil {
		q.Arrived = *t.arrived
	}
	blocked, spans := t.blocked, t.spans
	if !t.since.IsZero() {
		met := r.blocks.look(now)
		met[maxRunning] = r.count(e, now, 0, 0)
		for o := range met {
			blocked[o] += met[o] - t.mark[o]
		}
		spans = append(slices.Clone(spans), r.blocks.within(t.since, now)...)
	}
	q.Blocked = blocked.list()
	for _, s := range spans {
		q.Times = append(q.Times, scheduler.BlockedSpan{By: s.by.name(), From: s.from, To: s.to})
	}
	return &scheduler.Receipt{CallID: e.ID, At: e.AcceptedAt, Pool: e.Pool, Class: e.Class, User: e.User, Chat: e.Chat, Queue: q}
}

// mostExplained is how many requests are explained at once if nobody says how many.
const mostExplained = 100

// explain tells of what waits and runs here, the oldest first.
func (r *receipts) explain(q scheduler.ReceiptQuery) []scheduler.Receipt {
	if r.give == nil {
		return nil
	}
	var asked []*item
	for _, it := range r.l.items {
		if it.trail != nil && wanted(it.entry, &q) {
			asked = append(asked, it)
		}
	}
	slices.SortFunc(asked, func(a, b *item) int {
		return cmp.Or(a.entry.AcceptedAt.Compare(b.entry.AcceptedAt), cmp.Compare(a.entry.ID, b.entry.ID))
	})
	now := time.Now()
	out := []scheduler.Receipt{}
	for _, it := range asked[:min(len(asked), cmp.Or(max(q.Limit, 0), mostExplained))] {
		half := r.half(it, now)
		half.Queue.Now = new(r.standing(it, now))
		out = append(out, *half)
	}
	return out
}

func wanted(e *scheduler.Entry, q *scheduler.ReceiptQuery) bool {
	return q.All || slices.Contains(q.IDs, e.ID) || slices.Contains(q.Users, e.User) || q.Chat != "" && e.Chat == q.Chat
}
