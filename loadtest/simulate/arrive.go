package simulate

import (
	"fmt"
	"strconv"

	"fairlane/scheduler"
	"fairlane/scheduler/arrivals"
	"fairlane/scheduler/fairqueue"
	"fairlane/scheduler/turn"
)

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
	p.count++
	p.m.asked(p.now, who)
	taken, why, after := p.edge.admit(p.s, who, &w, p.load.Level())
	if why == "" {
		if why = p.full(who); why != "" {
			p.edge.settle(taken, &scheduler.Usage{})
		}
	}
	if why != "" {
		p.m.refused(p.now, who, why)
		p.again(from, max(after, comesBack))
		return
	}
	j := p.fresh()
	j.who, j.from, j.want, j.at, j.left, j.taken = who, from, w, p.now, w.sequences, taken
	p.enter(j)
	if who.leaf == nil {
		who.leaf = p.tree.leaf(p.d.Policy(), &j.entry)
	}
	if who.busy++; who.busy == 1 {
		who.index = len(p.busy)
		p.busy = append(p.busy, who)
	}
	p.joins(j)
	if p.policy.parks() && !who.mayQueue(w.sequences) {
		j.parked = true
		who.parked = append(who.parked, j)
		return
	}
	p.queue(j)
	if why := p.hopeless(j); why != "" {
		p.refuse(j, why)
	}
}

// enter fills in what the queue is told of a request.
func (p *play) enter(j *job) {
	who, w := j.who, &j.want
	j.entry = scheduler.Entry{
		ID: "r", Endpoint: w.endpoint, Stream: w.stream, Class: who.class, Group: who.group, User: who.key, UserWeight: who.weight,
		MaxRunning: who.maxRunning, Priority: who.priority, AcceptedAt: p.time(), Sequences: w.sequences, InputTokens: w.estimate,
		MaxTokens: w.maxTokens, PrefixGroup: w.prefix,
	}
	if w.chat != 0 {
		j.entry.Chat = strconv.FormatUint(w.chat, 36)
	}
	if who.maxWait > 0 {
		j.entry.Deadline = j.entry.AcceptedAt.Add(who.maxWait)
	}
}

// full says which bound on what waits is met.
func (p *play) full(who *person) scheduler.Reason {
	switch most := p.s.MaxQueued[who.class]; {
	case who.maxQueued > 0 && who.waiting >= who.maxQueued:
		return scheduler.ReasonUserQueue
	case most > 0 && p.classes[who.class] >= most:
		return scheduler.ReasonClassQueue
	}
	return ""
}

// joins counts a request that waits from now on.
func (p *play) joins(j *job) {
	who := j.who
	p.lined++
	p.classes[who.class]++
	who.waiting++
	if who.waiting == 1 {
		who.since, who.turn = p.now, p.now
	}
	if who.maxWait > 0 {
		k := bound{who.maxWait, p.policy == Fair && p.d.Policy().Classes[who.class].Newest}
		p.waits[k] = append(p.waits[k], j)
	}
	if j.want.patience > 0 {
		p.tickets++
		j.ticket = p.tickets
		p.leavers[j.ticket] = j
		p.agenda.add(p.now+j.want.patience, leaves, j.ticket)
	}
}

// waited counts a request that does not wait any more.
func (p *play) waited(j *job) {
	p.lined--
	j.who.waiting--
	p.classes[j.who.class]--
	if !j.parked {
		p.waiting -= j.estimate
	}
}

// queue lets the queue have a request.
func (p *play) queue(j *job) {
	j.parked = false
	j.who.admitted += j.want.sequences
	p.d.Push(&j.req, j)
	j.estimate = j.req.Estimate
	p.waiting += j.estimate
}

// hopeless says why a request would wait in vain.
func (p *play) hopeless(j *job) scheduler.Reason {
	if p.policy != Fair || j.entry.Deadline.IsZero() || !p.drain.Sure() {
		return ""
	}
	o, more := p.d.Outlook(&j.req, j.entry.User)
	why, _, _ := p.drain.Hopeless(&o, p.waiting+more, j.who.maxWait)
	return why
}

// running are the requests in flight.
func (p *play) running(yield func(*scheduler.Entry, *turn.Run) bool) {
	for _, j := range p.flying {
		if !yield(&j.entry, &j.run) {
			return
		}
	}
}

// delivered counts what was served of a request.
func (p *play) delivered(j *job, c fairqueue.Cost) {
	p.drain.Delivered(c)
	p.m.deliver(p.now, j.who, c)
}

func (p *play) fresh() *job {
	if n := len(p.spare); n > 0 {
		j := p.spare[n-1]
		p.spare = p.spare[:n-1]
		return j
	}
	return &job{}
}
