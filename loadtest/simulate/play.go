package simulate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fairlane/scheduler/fairqueue"
	"fairlane/scheduler/gpumodel"
	"fairlane/scheduler/turn"
)

const (
	progressEvery = 250 * time.Millisecond // as workers tell it
	observeEvery  = time.Second
	// comesBack is when somebody who works at its own pace and was refused asks again.
	comesBack = time.Second
)

// play is one run.
type play struct {
	w       *Workload
	s       *Setup
	policy  Policy
	profile gpumodel.Profile
	d       *turn.Decider
	agenda  agenda
	now     time.Duration
	end     time.Duration

	sources  []*source
	machines []*machine
	byURL    map[string]*machine
	persons  map[string]*person
	busy     []*person // who have work
	tree     tree
	flying   []*job
	edge     edge
	drain    turn.Drain
	load     turn.Load
	short    bool             // somebody waits for capacity
	waiting  fairqueue.Cost   // estimated, of all that wait
	waits    map[bound][]*job // by how long they may wait, in order of arrival
	leavers  map[int]*job     // who may hang up, by ticket
	tickets  int
	classes  map[string]int // requests that wait, by class
	lined    int            // requests that wait
	count    int            // that came
	spare    []*job
	sequence uint64
	wakeAt   time.Duration
	m        measure
}

// The errors of a run.
var (
	ErrStuck   = errors.New("the simulation can't go on")
	ErrTooMuch = errors.New("the workload asks for too much")
)

// lookEvery is after how many events a run looks whether it may go on.
const lookEvery = 1024

// Run plays a workload against a setup under a policy. It ends with ctx, and with
// [ErrTooMuch] before it would fill the memory.
func Run(ctx context.Context, w *Workload, s *Setup, policy Policy) (*Result, error) {
	p, err := newPlay(w, s, policy)
	if err != nil {
		return nil, err
	}
	return p.run(ctx)
}

func (p *play) run(ctx context.Context) (*Result, error) {
	p.begin()
	for n := 0; p.now < p.end && (p.w.Requests == 0 || p.m.served < p.w.Requests); n++ {
		if n%lookEvery == 0 {
			if err := p.bounded(ctx); err != nil {
				return nil, err
			}
		}
		e := p.agenda.next()
		p.now = min(e.at, p.end)
		if e.at >= p.end {
			break
		}
		if err := p.handle(&e); err != nil { //nolint:contextcheck // buckets in memory wait for nobody
			return nil, fmt.Errorf("%w: %s after %s: %w", ErrStuck, p.w.Name, p.now, err)
		}
		p.dispatch() //nolint:contextcheck // as above
		p.drive()
	}
	return p.result(), nil
}

// bounded says why a run may not go on.
func (p *play) bounded(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s was ended after %s of %s: %w", p.w.Name, p.now.Round(time.Second), p.end, ctx.Err())
	case p.lined > mostWaiting:
		return fmt.Errorf("%w: after %s more than %d requests wait, for the GPU can't serve what is asked; give it lower rates, fewer people or a shorter duration, or bound what waits with a configuration's max_queued",
			ErrTooMuch, p.now.Round(time.Second), mostWaiting)
	case p.count > mostRequests:
		return fmt.Errorf("%w: more than %d requests came in %s; give it a shorter duration", ErrTooMuch, mostRequests, p.now.Round(time.Second))
	}
	return nil
}

func newPlay(w *Workload, s *Setup, policy Policy) (*play, error) {
	profile, err := w.GPU.model()
	if err != nil {
		return nil, err
	}
	p := &play{
		w: w, s: s, policy: policy, profile: profile, end: w.Warmup + w.Duration, sources: newSources(w),
		byURL: map[string]*machine{}, persons: map[string]*person{}, tree: tree{nodes: map[string]*node{}},
		waits: map[bound][]*job{}, leavers: map[int]*job{}, classes: map[string]int{}, wakeAt: -1,
	}
	p.edge = newEdge(p.time, profile.MaxModelLen)
	cfg := turn.Config{Policy: s.Turn.WithDefaults(), Backends: s.backends(w)}
	cfg.Manner = policy.manner(&cfg.Policy)
	if p.d, err = turn.New(cfg); err != nil {
		return nil, err
	}
	for i, b := range p.d.Pool.Backends() {
		m, err := newMachine(i, b.URL(), gpumodel.Config{Profile: profile})
		if err != nil {
			return nil, err
		}
		m.backend = b
		p.machines, p.byURL[b.URL()] = append(p.machines, m), m
		b.Up(p.time())
		b.Observe(p.time(), m.sample(p.time(), &profile))
	}
	p.m.begin(w)
	return p, nil
}

func (p *play) time() time.Time { return time.Unix(0, 0).UTC().Add(p.now) }

// begin puts the first event of everything on the agenda.
func (p *play) begin() {
	p.agenda.add(progressEvery, quarter, 0)
	p.agenda.add(observeEvery, second, 0)
	for i, s := range p.sources {
		switch {
		case s.user == nil:
			p.agenda.add(0, arrives, i)
		case s.user.Load.Rate > 0:
			p.nextOf(i)
		default:
			for range max(s.user.Load.Outstanding, s.user.Load.Backlog) {
				p.agenda.add(s.user.Load.From, arrives, i)
			}
		}
	}
}

// nextOf puts the next request of a rate on the agenda.
func (p *play) nextOf(i int) {
	if gap, more := p.sources[i].gap(p.now, p.end); more {
		p.agenda.add(p.now+gap, arrives, i)
	}
}

func (p *play) handle(e *event) error {
	switch e.kind {
	case arrives:
		p.arrive(e.who)
	case enters:
		return p.machines[e.who].enter()
	case steps:
		p.stepped(p.machines[e.who])
	case quarter:
		p.agenda.add(p.now+progressEvery, quarter, 0)
		p.progress()
		p.drain.Expect(p.d.Foresee(p.running))
		p.drain.Tick(p.time(), p.short)
		p.expire()
	case second:
		p.agenda.add(p.now+observeEvery, second, 0)
		p.observe()
		p.weigh()
	case wakes:
		p.wakeAt = -1
	case leaves:
		p.leave(e.who)
	}
	return nil
}

// dispatch lets everybody start who may.
func (p *play) dispatch() {
	now := p.time()
	for {
		t := p.d.Next(now)
		p.short = t.Short()
		if j, ok := t.Never.(*job); ok {
			p.refuse(j, tooLarge)
			continue
		}
		if t.Request == nil {
			break
		}
		if j, ok := t.Request.Value.(*job); ok {
			p.start(j, t.Run)
		}
	}
	if at := p.d.Pool.Wake(now); !at.IsZero() {
		if then := max(at.Sub(time.Unix(0, 0)), p.now+time.Nanosecond); p.wakeAt < 0 || then < p.wakeAt {
			p.wakeAt = then
			p.agenda.add(then, wakes, 0)
		}
	}
}

func (p *play) start(j *job, run turn.Run) {
	j.run, j.over = run, true
	p.waited(j)
	j.who.turn = p.now
	p.m.granted(p.now, j)
	j.machine = p.byURL[run.Backend.URL()]
	j.ids = p.sequence
	for range j.want.sequences {
		p.sequence++
	}
	j.index = len(p.flying)
	p.flying = append(p.flying, j)
	j.machine.coming, j.coming = append(j.machine.coming, j), true
	p.agenda.add(p.now+p.profile.APIOverhead, enters, j.machine.index)
}

// drive lets idle engines do their next step.
func (p *play) drive() {
	for _, m := range p.machines {
		if m.busy {
			continue
		}
		if took, more := m.step(p.agenda.first() - p.now); more {
			p.agenda.add(p.now+took, steps, m.index)
		}
	}
}
