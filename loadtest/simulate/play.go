package simulate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/arrivals"
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
	waits    map[time.Duration][]*job // by how long they may wait, in order of arrival
	classes  map[string]int           // requests that wait, by class
	spare    []*job
	sequence uint64
	wakeAt   time.Duration
	m        measure
}

// ErrStuck is what a run fails with that can't go on.
var ErrStuck = errors.New("the simulation can't go on")

// Run plays a workload against a setup under a policy.
func Run(w *Workload, s *Setup, policy Policy) (*Result, error) {
	p, err := newPlay(w, s, policy)
	if err != nil {
		return nil, err
	}
	p.begin()
	for p.now < p.end && (w.Requests == 0 || p.m.served < w.Requests) {
		e := p.agenda.next()
		p.now = min(e.at, p.end)
		if e.at >= p.end {
			break
		}
		if err := p.handle(&e); err != nil {
			return nil, fmt.Errorf("%w: %s after %s: %w", ErrStuck, w.Name, p.now, err)
		}
		p.dispatch()
		p.drive()
	}
	return p.result(), nil
}

func newPlay(w *Workload, s *Setup, policy Policy) (*play, error) {
	profile, err := gpumodel.ProfileByName(w.GPU.Profile)
	if err != nil {
		return nil, err
	}
	if w.GPU.KVTokens > 0 {
		profile.KVTokens = w.GPU.KVTokens
	}
	p := &play{
		w: w, s: s, policy: policy, profile: profile, end: w.Warmup + w.Duration, sources: newSources(w),
		byURL: map[string]*machine{}, persons: map[string]*person{}, tree: tree{nodes: map[string]*node{}},
		waits: map[time.Duration][]*job{}, classes: map[string]int{}, wakeAt: -1,
	}
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
		p.expire()
	case second:
		p.agenda.add(p.now+observeEvery, second, 0)
		p.observe()
	case wakes:
		p.wakeAt = -1
	}
	return nil
}

// arrive takes the next request of a source.
func (p *play) arrive(i int) {
	s := p.sources[i]
	if s.user == nil {
		a := &s.record[s.count]
		if s.count++; s.count < len(s.record) {
			p.agenda.add(s.record[s.count].At.Sub(s.record[0].At), arrives, i)
		}
		p.push(s, p.recorded(a), wanted(a))
		return
	}
	if s.user.Load.Rate > 0 {
		p.nextOf(i)
	} else if u := s.user.Load.Until; u > 0 && p.now >= u {
		return
	}
	s.count++
	p.push(s, p.described(s), s.draw())
}

func (p *play) described(s *source) *person {
	if s.person != nil {
		return s.person
	}
	key := s.key
	if s.user.Load.Once {
		key = fmt.Sprintf("%s-%d", s.key, s.count)
	}
	who := &person{key: key, row: s.row, standing: p.s.described(s.user, key), index: -1}
	if !s.user.Load.Once {
		s.person = who
	}
	return who
}

// recorded is who came. With other rules somebody may have several standings.
func (p *play) recorded(a *arrivals.Arrival) *person {
	st := p.s.recorded(a)
	key := a.User + "\x00" + st.class
	who := p.persons[key]
	if who == nil {
		who = &person{key: a.User, row: p.m.rowOf(a.User, st.class), index: -1}
		p.persons[key] = who
	}
	who.standing = st
	return who
}

// push lets a request wait, or refuses it.
func (p *play) push(from *source, who *person, w want) {
	if most := p.s.MaxQueued[who.class]; who.maxQueued > 0 && who.waiting >= who.maxQueued || most > 0 && p.classes[who.class] >= most {
		p.m.refused(p.now, who)
		p.again(from, comesBack)
		return
	}
	j := p.fresh()
	j.who, j.from, j.want, j.at, j.left = who, from, w, p.now, w.sequences
	j.entry = scheduler.Entry{
		ID: "r", Endpoint: w.endpoint, Stream: w.stream, Class: who.class, Group: who.group, User: who.key, UserWeight: who.weight,
		MaxRunning: who.maxRunning, Priority: who.priority, AcceptedAt: p.time(), Sequences: w.sequences, InputTokens: w.estimate,
		MaxTokens: w.maxTokens, PrefixGroup: w.prefix,
	}
	if w.chat != 0 {
		j.entry.Chat = strconv.FormatUint(w.chat, 36)
	}
	if who.leaf == nil {
		who.leaf = p.tree.leaf(p.d.Policy(), &j.entry)
	}
	p.d.Push(&j.req, j)
	p.classes[who.class]++
	who.waiting++
	if who.waiting == 1 {
		who.since = p.now
	}
	if who.busy++; who.busy == 1 {
		who.index = len(p.busy)
		p.busy = append(p.busy, who)
	}
	if who.maxWait > 0 {
		p.waits[who.maxWait] = append(p.waits[who.maxWait], j)
	}
}

func (p *play) fresh() *job {
	if n := len(p.spare); n > 0 {
		j := p.spare[n-1]
		p.spare = p.spare[:n-1]
		return j
	}
	return &job{}
}

// done counts a request that is over, however it ended.
func (p *play) done(j *job) {
	who := j.who
	if who.busy--; who.busy == 0 {
		last := p.busy[len(p.busy)-1]
		p.busy[who.index], last.index = last, who.index
		p.busy, who.index = p.busy[:len(p.busy)-1], -1
	}
	from := j.from
	if who.maxWait == 0 { // else it still stands among those that may wait so long
		*j = job{}
		p.spare = append(p.spare, j)
	}
	if from.user != nil {
		p.again(from, from.think())
	}
}

// again lets somebody who works at its own pace ask once more.
func (p *play) again(s *source, after time.Duration) {
	if s.user != nil && s.user.Load.Outstanding > 0 {
		p.agenda.add(p.now+max(after, 0), arrives, s.index)
	}
}

// dispatch lets everybody start who may.
func (p *play) dispatch() {
	now := p.time()
	for {
		t := p.d.Next(now)
		if j, ok := t.Never.(*job); ok {
			p.unqueue(j)
			p.m.refused(p.now, j.who)
			p.done(j)
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
	j.who.waiting--
	p.classes[j.who.class]--
	p.m.granted(p.now, j)
	j.machine = p.byURL[run.Backend.URL()]
	j.ids = p.sequence
	for range j.want.sequences {
		p.sequence++
	}
	j.index = len(p.flying)
	p.flying = append(p.flying, j)
	j.machine.coming = append(j.machine.coming, j)
	p.agenda.add(p.now+p.profile.APIOverhead, enters, j.machine.index)
}

// unqueue takes a request out that will not run.
func (p *play) unqueue(j *job) {
	p.d.Remove(p.time(), &j.req, nil)
	j.over = true
	j.who.waiting--
	p.classes[j.who.class]--
}

// expire ends what waited for too long.
func (p *play) expire() {
	for _, most := range slices.Sorted(maps.Keys(p.waits)) {
		line, n := p.waits[most], 0
		for n < len(line) && (line[n].over || p.now-line[n].at >= most) {
			if j := line[n]; !j.over {
				p.unqueue(j)
				p.m.expired(p.now, j.who)
				p.done(j)
			}
			line[n] = nil
			n++
		}
		p.waits[most] = line[n:]
	}
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
